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
func Plan(cluster v1alpha1.ClusterName, set string, there []Property) []Write {
	var writes []Write
	for _, want := range []Property{{Name: ClusterProperty, Value: string(cluster)}, {Name: ClusterSetProperty, Value: set}} {
		i := slices.IndexFunc(there, func(p Property) bool { return p.Name == want.Name })
		switch {
		case want.Value == "":
		case i < 0:
			writes = append(writes, Write{Name: want.Name, Value: want.Value, Create: true})
		case there[i].Ours && there[i].Value != want.Value:
			writes = append(writes, Write{Name: want.Name, Value: want.Value})
		}
	}
	return writes
}

// Report returns the properties that the hub is told: those that fit, in the order of their names. Of too many, the two that
// say where the cluster belongs come first.
func Report(there []Property) *wire.ClusterProperties {
	rank := func(p Property) int {
		if p.Name == ClusterProperty || p.Name == ClusterSetProperty {
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
