package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProblems(t *testing.T) {
	offers := []offer{
		{name: "Standard_D2s_v3", family: "standardDSv3Family", cores: 2},
		{name: "Standard_D4s_v3", family: "standardDSv3Family", cores: 4},
		{name: "Standard_NC6", family: "standardNCFamily", cores: 6, refused: "NotAvailableForSubscription"},
	}
	uses := []use{
		{name: "cores", shown: "Total Regional vCPUs", used: 4, limit: 20},
		{name: "virtualMachines", shown: "Virtual Machines", used: 2, limit: 25000},
		{name: "standardDSv3Family", shown: "Standard DSv3 Family vCPUs", used: 4, limit: 10},
	}
	for _, c := range []struct {
		reason   string
		machines []Machines
		uses     []use
		want     []string
	}{
		{reason: "what there is room for is no problem", machines: []Machines{{"Standard_D2s_v3", 3}}, uses: uses},
		{reason: "a cluster without machines needs nothing", uses: uses},
		{
			reason: "a family is full though the region is not", machines: []Machines{{"Standard_D2s_v3", 4}}, uses: uses,
			want: []string{`quota "Standard DSv3 Family vCPUs" in region westeurope: 4 of 10 are used, and the machines need 8 (size Standard_D2s_v3): ask Azure for more (portal, Quotas), or take fewer or other machines`},
		},
		{
			reason: "pools count together, whatever their size of one family", machines: []Machines{{"Standard_D2s_v3", 2}, {"Standard_D4s_v3", 1}}, uses: uses,
			want: []string{`quota "Standard DSv3 Family vCPUs" in region westeurope: 4 of 10 are used, and the machines need 8 (size Standard_D2s_v3): ask Azure for more (portal, Quotas), or take fewer or other machines`},
		},
		{
			reason: "a region is full though the family is not", machines: []Machines{{"Standard_D2s_v3", 1}},
			uses: []use{{name: "cores", shown: "Total Regional vCPUs", used: 19, limit: 20}, {name: "standarddsv3family", used: 0, limit: 10}},
			want: []string{`quota "Total Regional vCPUs" in region westeurope: 19 of 20 are used, and the machines need 2: ask Azure for more (portal, Quotas), or take fewer or other machines`},
		},
		{
			reason: "so many machines are more than it may have", machines: []Machines{{"Standard_D2s_v3", 1}},
			uses: []use{{name: "virtualMachines", used: 25000, limit: 25000}},
			want: []string{`quota "virtualMachines" in region westeurope: 25000 of 25000 are used, and the machines need 1: ask Azure for more (portal, Quotas), or take fewer or other machines`},
		},
		{
			reason: "a size that is not there, one that this subscription may not have, and both are said", machines: []Machines{{"Standard_Z9", 1}, {"standard_nc6", 1}}, uses: uses,
			want: []string{
				"region westeurope has no machines of size \"Standard_Z9\" (vmSize): `az vm list-skus --location westeurope --resource-type virtualMachines` lists those that it has",
				"this subscription may have no machines of size Standard_NC6 in region westeurope (NotAvailableForSubscription): take another vmSize or region, or ask Azure for it",
			},
		},
		{reason: "what is exactly used up is no problem", machines: []Machines{{"Standard_D2s_v3", 3}}, uses: []use{{name: "cores", used: 14, limit: 20}}},
	} {
		got := problems(Question{Location: "westeurope", Machines: c.machines}, offers, c.uses)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
}
