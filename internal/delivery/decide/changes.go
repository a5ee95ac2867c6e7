package decide

import (
	"slices"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/budget"
)

// Move is what becomes of clusters that had something before: the content that they all get, and the different ones that they had.
type Move struct {
	To  *v1alpha1.Variant // of the Release that moves them
	Had []*v1alpha1.Variant
}

// Moves says what a Release does to the clusters, class by class, in a fixed order. Clusters that had nothing before do not count, nor do
// those for which the Release has nothing.
func Moves(release, before *v1alpha1.ReleaseSpec, clusters []Cluster) []Move {
	byName := make(map[v1alpha1.ClusterName]Cluster, len(clusters))
	for _, cluster := range clusters {
		byName[cluster.Name] = cluster
	}
	classes, _ := Classes(release.Variables, clusters)
	var all []Move
	for _, class := range classes {
		m := Move{To: variantOf(release, class.Values)}
		for _, name := range class.Clusters {
			had := VariantFor(before, byName[name])
			same := func(v *v1alpha1.Variant) bool { return v.Digest == had.Digest }
			if had != nil && !slices.ContainsFunc(m.Had, same) {
				m.Had = append(m.Had, had)
			}
		}
		if m.To != nil && len(m.Had) > 0 {
			all = append(all, m)
		}
	}
	return all
}

// Expect says what a Release does, from the hub's knowledge, and whether agents will hold its deletes back: so that whoever
// moves clusters to it can stop before the first.
func Expect(release *v1alpha1.Release, deletes *v1alpha1.PackageDeletes) *v1alpha1.PackageChanges {
	if release == nil || release.Spec.Against == "" {
		return nil
	}
	limit := budget.Default()
	if deletes != nil && deletes.Budget != nil {
		limit = budgetOf(deletes.Budget)
	}
	var expected *v1alpha1.PackageChanges
	for _, variant := range release.Spec.Variants {
		changes := variant.Changes
		if changes == nil {
			continue
		}
		if expected == nil {
			expected = &v1alpha1.PackageChanges{Against: release.Spec.Against, Changes: *changes}
		}
		if changes.Deleted > expected.Deleted {
			expected.Changes = *changes
		}
		over := changes.Protected > 0 || int(changes.Deleted) > budget.Allows(limit, int(variant.Objects+changes.Deleted))
		expected.OverBudget = expected.OverBudget || over && !approvedEverywhere(release.Name, changes, deletes)
	}
	return expected
}

// approvedEverywhere says whether an approval lets a Release delete as much on every cluster.
func approvedEverywhere(release string, changes *v1alpha1.Changes, deletes *v1alpha1.PackageDeletes) bool {
	return deletes != nil && slices.ContainsFunc(deletes.Approved, func(a v1alpha1.DeleteApproval) bool {
		return a.Release == release && len(a.Clusters) == 0 && a.Objects >= changes.Deleted && a.Protected >= changes.Protected
	})
}
