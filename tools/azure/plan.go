package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Question is what is asked, about one cluster.
type Question struct {
	// Cloud is the name of Azure's cloud, as an AzureCluster has it: empty for AzurePublicCloud.
	Cloud string `json:"cloud,omitempty"`
	// Tenant, Client and Secret are those of an application that may use Subscription.
	Tenant       string `json:"tenant"`
	Client       string `json:"client"`
	Secret       string `json:"secret"`
	Subscription string `json:"subscription"`
	// Location is the region, such as westeurope.
	Location string `json:"location,omitempty"`
	// Machines are those that the cluster is to have.
	Machines []Machines `json:"machines,omitempty"`
	// Cluster is its name, by which what was made for it is marked.
	Cluster string `json:"cluster,omitempty"`
}

// Machines are some of one size.
type Machines struct {
	Size   string `json:"size"`
	Number int64  `json:"number"`
}

// Answer is what was found out.
type Answer struct {
	// Problems are what Azure would refuse, in sentences.
	Problems []string `json:"problems,omitempty"`
	// Sizes are what one of each of the machines has, in the order of the question; nothing where the region does not offer it.
	Sizes []Size `json:"sizes,omitempty"`
	// Left are the IDs of what there is of a cluster, sorted.
	Left []string `json:"left,omitempty"`
}

// Size is what a machine has.
type Size struct {
	Cores     int64 `json:"cores"`
	MemoryMiB int64 `json:"memoryMiB"`
}

// offer is a size of machines in a region.
type offer struct {
	name, family string
	// cores is how many virtual CPUs it has, memory how many MiB.
	cores, memory int64
	// refused says why this subscription may not have it in this region, empty when it may.
	refused string
}

// use is what a subscription uses of what it may use in a region.
type use struct {
	// name is that of a family of sizes, cores for all of them, and virtualMachines.
	name, shown string
	used, limit int64
}

// sizes are what one of each of the machines has.
func sizes(q Question, offers []offer) []Size {
	var all []Size
	for _, m := range q.Machines {
		var s Size
		if i := slices.IndexFunc(offers, func(o offer) bool { return strings.EqualFold(o.name, m.Size) }); i >= 0 {
			s = Size{offers[i].cores, offers[i].memory}
		}
		all = append(all, s)
	}
	return all
}

const (
	allCores    = "cores"
	allMachines = "virtualMachines"
)

// problems says which machines the region does not offer, and which are more than the subscription may have.
func problems(q Question, offers []offer, uses []use) []string {
	var found []string
	need := map[string]int64{} // by the name of a use, in lower case: Azure writes them in two ways
	named := map[string]string{}
	for _, m := range q.Machines {
		i := slices.IndexFunc(offers, func(o offer) bool { return strings.EqualFold(o.name, m.Size) })
		if i < 0 {
			found = append(found, fmt.Sprintf("region %s has no machines of size %q (vmSize): `az vm list-skus --location %s --resource-type virtualMachines` lists those that it has", q.Location, m.Size, q.Location))
			continue
		}
		o := offers[i]
		if o.refused != "" {
			found = append(found, fmt.Sprintf("this subscription may have no machines of size %s in region %s (%s): take another vmSize or region, or ask Azure for it", o.name, q.Location, o.refused))
			continue
		}
		family := strings.ToLower(o.family)
		need[family] += m.Number * o.cores
		need[allCores] += m.Number * o.cores
		need[strings.ToLower(allMachines)] += m.Number
		named[family] = cmp.Or(named[family], o.name)
	}
	for _, name := range slices.Sorted(maps.Keys(need)) {
		for _, u := range uses {
			if strings.ToLower(u.name) != name || u.used+need[name] <= u.limit {
				continue
			}
			text := fmt.Sprintf("quota %q in region %s: %d of %d are used, and the machines need %d", cmp.Or(u.shown, u.name), q.Location, u.used, u.limit, need[name])
			if size := named[name]; size != "" {
				text += " (size " + size + ")"
			}
			found = append(found, text+": ask Azure for more (portal, Quotas), or take fewer or other machines")
		}
	}
	return found
}
