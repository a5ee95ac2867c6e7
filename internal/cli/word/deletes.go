package word

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
)

// Waiting is what a cluster holds back of the deletes of a release.
type Waiting struct {
	Cluster v1alpha1.ClusterName
	Release string
	Held    *v1alpha1.MemberDeletesHeld
}

// Held returns what clusters hold back of a package.
func Held(key v1alpha1.PackageKey, members []v1alpha1.MemberCluster) (all []Waiting) {
	for i := range members {
		for _, p := range members[i].Status.Packages {
			if p.Package == key && p.DeletesHeld != nil {
				all = append(all, Waiting{v1alpha1.ClusterName(members[i].Name), p.Release, p.DeletesHeld})
			}
		}
	}
	return all
}

// Leaving returns the clusters that keep a package because too many would lose it at once. placement is nil when there is none.
func Leaving(pkg *v1alpha1.Package, placement *v1alpha1.Placement, members []v1alpha1.MemberCluster) []v1alpha1.ClusterName {
	if placement == nil {
		return nil
	}
	seen := decide.Seen{Deleting: !pkg.DeletionTimestamp.IsZero(), Placement: placement}
	return decide.Withhold(seen, decide.MembersOf(members, v1alpha1.KeyOf(pkg.Namespace, pkg.Name)), pkg.Spec.Deletes).Clusters()
}

// ApproveDeletes approves what was shown, of one release: for no more on any cluster, and of clusters by their names where some were named.
func ApproveDeletes(pkg *v1alpha1.Package, held []Waiting, named bool, at metav1.MicroTime) (string, error) {
	if len(held) == 0 {
		return "", ErrAlreadySo
	}
	a := v1alpha1.DeleteApproval{Release: held[0].Release, At: at}
	for _, w := range held {
		if w.Release != a.Release {
			return "", fmt.Errorf("clusters hold back deletes of several releases: %s and %s", a.Release, w.Release)
		}
		a.Objects, a.Protected = max(a.Objects, w.Held.Objects), max(a.Protected, w.Held.Protected)
		if named {
			a.Clusters = append(a.Clusters, w.Cluster)
		}
	}
	deletes := deletesOf(pkg)
	kept := slices.DeleteFunc(deletes.Approved, func(b v1alpha1.DeleteApproval) bool {
		return b.Release == a.Release && equality.Semantic.DeepEqual(b.Clusters, a.Clusters)
	})
	kept = append(kept, a)
	deletes.Approved = kept[max(0, len(kept)-v1alpha1.MaxDeleteApprovals):]
	return fmt.Sprintf("deletes of release %s approved on %s", a.Release, v1alpha1.Counted(len(held), "cluster")), nil
}

// ApproveRemoval lets clusters that were shown lose a package which its placement, as it is, does not select any more.
func ApproveRemoval(pkg *v1alpha1.Package, placement *v1alpha1.Placement, leaving []v1alpha1.ClusterName, at metav1.MicroTime) (string, error) {
	if len(leaving) == 0 {
		return "", ErrAlreadySo
	}
	r := &v1alpha1.RemovalApproval{Placement: placement.Name, Generation: placement.Generation, Clusters: slices.Clone(leaving), At: at}
	deletes := deletesOf(pkg)
	if was := deletes.ApprovedRemoval; was != nil && was.Placement == r.Placement && was.Generation == r.Generation {
		r.Clusters = slices.Compact(slices.Sorted(slices.Values(append(r.Clusters, was.Clusters...))))
	}
	deletes.ApprovedRemoval = r
	return v1alpha1.Counted(len(leaving), "cluster") + " may lose it", nil
}

func deletesOf(pkg *v1alpha1.Package) *v1alpha1.PackageDeletes {
	if pkg.Spec.Deletes == nil {
		pkg.Spec.Deletes = &v1alpha1.PackageDeletes{}
	}
	return pkg.Spec.Deletes
}

// Deletions returns what a member lost, and what is becoming of it.
func Deletions(member *v1alpha1.MemberCluster) []v1alpha1.MemberDeletion {
	all := slices.Clone(member.Status.Deletions)
	for i := range all {
		if d := &all[i]; d.State == v1alpha1.DeletionKept && slices.Contains(member.Spec.Undo, d.ID) {
			d.State, d.Message = v1alpha1.DeletionUndoing, "its agent has not said yet that it knows"
		}
	}
	return all
}

// Undo asks a member to bring a deletion back, in the place of those that it brought back.
func Undo(member *v1alpha1.MemberCluster, id string) (string, error) {
	if slices.Contains(member.Spec.Undo, id) {
		return "", ErrAlreadySo
	}
	pending := slices.DeleteFunc(slices.Clone(member.Spec.Undo), func(wish string) bool {
		i := slices.IndexFunc(member.Status.Deletions, func(known v1alpha1.MemberDeletion) bool { return known.ID == wish })
		return i < 0 || member.Status.Deletions[i].State == v1alpha1.DeletionUndone
	})
	if len(pending) >= v1alpha1.MaxUndo {
		return "", fmt.Errorf("cluster %s has %d deletions to undo already, which is as many as are taken at a time", member.Name, len(pending))
	}
	member.Spec.Undo = append(pending, id)
	return "asked to come back", nil
}
