package decide

import (
	"fmt"
	"slices"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/budget"
)

// Withheld are the clusters that are not selected any more and keep the Package all the same, because too many would lose it
// at once: a selector with a typo reads just like a decision. The zero value withholds nothing.
type Withheld struct {
	// clusters are sorted by name.
	clusters []v1alpha1.ClusterName
	// holds is how many clusters hold the Package, and allowed how many of them may lose it.
	holds, allowed int
}

// Has says whether a cluster keeps what it is not to have.
func (w Withheld) Has(cluster v1alpha1.ClusterName) bool {
	_, withheld := slices.BinarySearch(w.clusters, cluster)
	return withheld
}

// equal says whether the same clusters keep it.
func (w Withheld) equal(other Withheld) bool { return slices.Equal(w.clusters, other.clusters) }

// Clusters are those that keep it, sorted.
func (w Withheld) Clusters() []v1alpha1.ClusterName { return slices.Clone(w.clusters) }

func (w Withheld) describe() string {
	return fmt.Sprintf("the placement does not select %d of %s that hold it any more, and %d may lose it at once, so none does: %s",
		len(w.clusters), v1alpha1.Counted(w.holds, "cluster"), w.allowed, Names(w.clusters))
}

// Withhold says which clusters keep the Package although the Placement does not select them. Those that somebody approved
// for this very Placement, as its spec is now, may lose it; of the others, as many as the budget allows, or none. That the
// Package is being deleted is a word by itself.
func Withhold(seen Seen, members []Member, deletes *v1alpha1.PackageDeletes) Withheld {
	if seen.Deleting || decisionOf(seen.Placement) != decided {
		return Withheld{}
	}
	limit, approved := budget.Default(), map[v1alpha1.ClusterName]bool{}
	if deletes != nil && deletes.ClusterBudget != nil {
		limit = budgetOf(deletes.ClusterBudget)
	}
	if deletes != nil && isFor(deletes.ApprovedRemoval, seen.Placement) {
		for _, cluster := range deletes.ApprovedRemoval.Clusters {
			approved[cluster] = true
		}
	}
	var w Withheld
	for _, member := range members {
		if member.Holds == nil || member.Frozen() {
			continue
		}
		w.holds++
		if selects(seen.Placement, member.Name) || doubts(seen.Placement, member.Name) || approved[member.Name] {
			continue
		}
		w.clusters = append(w.clusters, member.Name)
	}
	w.allowed = budget.Allows(limit, w.holds)
	if len(w.clusters) <= w.allowed {
		return Withheld{}
	}
	slices.Sort(w.clusters)
	return w
}

// isFor says whether an approval is for a Placement as its spec is now.
func isFor(approval *v1alpha1.RemovalApproval, placement *v1alpha1.Placement) bool {
	return approval != nil && approval.Placement == placement.Name && approval.Generation == placement.Generation
}
