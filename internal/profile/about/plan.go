package about

import (
	"cmp"
	"slices"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// The properties that an agent writes.
const (
	// ClusterProperty has the name of the cluster, which no other of the fleet has.
	ClusterProperty = "cluster.clusterset.k8s.io"
	// ClusterSetProperty has the name of the fleet.
	ClusterSetProperty = "clusterset.k8s.io"
)

// Property is a ClusterProperty as it stands in the cluster.
type Property struct {
	Name, Value string
	// Ours says that the agent wrote it, and that no Package has taken it over.
	Ours bool
}

// Write is a property that is to be written.
type Write struct {
	Name, Value string
	// Create says that there is none of the name.
	Create bool
}

// Plan returns what the agent of a cluster is to write. set is the name of the fleet, empty as long as it is not known.
// recipients are what to encrypt for, so that the cluster can open it; none as long as they are not known. ends says when the first
// certificate ends, and whose; empty as long as that is not known.
func Plan(cluster v1alpha1.ClusterName, set string, recipients []string, ends string, there []Property) []Write {
	var writes []Write
	for _, want := range []Property{
		{Name: ClusterProperty, Value: string(cluster)}, {Name: ClusterSetProperty, Value: set},
		{Name: v1alpha1.RecipientsProperty, Value: fitting(recipients)}, {Name: v1alpha1.CertificateProperty, Value: ends},
	} {
		i := slices.IndexFunc(there, func(p Property) bool { return p.Name == want.Name })
		switch {
		case want.Value == "":
		case i < 0:
			writes = append(writes, Write{Name: want.Name, Value: want.Value, Create: true})
		case there[i].Value == want.Value:
		case there[i].Ours || want.Name == v1alpha1.RecipientsProperty: // that one is nobody else's to say
			writes = append(writes, Write{Name: want.Name, Value: want.Value})
		}
	}
	return writes
}

// Would returns the properties as they were if what is to be written had been.
func Would(there []Property, writes []Write) []Property {
	would := slices.Clone(there)
	for _, w := range writes {
		i := slices.IndexFunc(would, func(p Property) bool { return p.Name == w.Name })
		if i < 0 {
			would = append(would, Property{Name: w.Name, Ours: true})
			i = len(would) - 1
		}
		would[i].Value = w.Value
	}
	return would
}

// fitting are as many of the recipients as a property has room for, the first ones.
func fitting(recipients []string) string {
	text := ""
	for _, recipient := range recipients {
		more := strings.TrimPrefix(text+"\n"+recipient, "\n")
		if len(more) > v1alpha1.MaxPropertyValue {
			break
		}
		text = more
	}
	return text
}

// Report returns the properties that the hub is told: those that fit, in the order of their names. Of too many, those that
// the agent itself has to say come first.
func Report(there []Property) *wire.ClusterProperties {
	rank := func(p Property) int {
		if p.Name == ClusterProperty || p.Name == ClusterSetProperty || p.Name == v1alpha1.RecipientsProperty || p.Name == v1alpha1.CertificateProperty {
			return 0
		}
		return 1
	}
	fitting := slices.DeleteFunc(slices.Clone(there), func(p Property) bool {
		return len(p.Name) > v1alpha1.MaxPropertyName || len(p.Value) > v1alpha1.MaxPropertyValue
	})
	slices.SortFunc(fitting, func(a, b Property) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.Name, b.Name))
	})
	fitting = fitting[:min(len(fitting), v1alpha1.MaxProperties)]
	slices.SortFunc(fitting, func(a, b Property) int { return strings.Compare(a.Name, b.Name) })
	report := &wire.ClusterProperties{}
	for _, p := range fitting {
		report.Items = append(report.Items, &wire.ClusterProperty{Name: p.Name, Value: p.Value})
	}
	return report
}
