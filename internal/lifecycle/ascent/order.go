package ascent

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/util/version"

	"umbel.dev/umbel/api/v1alpha1"
)

// Ordered returns the Rollout that a cluster is to follow now; nil when there is none. Of several that have moved it, each to a version
// later than it has, the one with the earliest of them has its turn, and of two of the same the older one: whoever goes on to a later
// one needs that step too, and nobody goes back.
func Ordered(cluster v1alpha1.ClusterName, has string, rollouts []v1alpha1.Rollout) *v1alpha1.Rollout {
	now, err := version.ParseGeneric(has)
	if err != nil {
		return nil
	}
	var due []*v1alpha1.Rollout
	for i := range rollouts {
		r := &rollouts[i]
		if _, restored := r.Annotations[v1alpha1.RestoredAnnotation]; restored || r.Spec.Kubernetes == nil || !r.DeletionTimestamp.IsZero() {
			continue // one that came out of a backup says how things were at another time
		}
		to, err := version.ParseGeneric(r.Orders().For(cluster))
		if err == nil && now.LessThan(to) {
			due = append(due, r)
		}
	}
	if len(due) == 0 {
		return nil
	}
	return slices.MinFunc(due, func(a, b *v1alpha1.Rollout) int {
		return cmp.Or(Compare(a.Spec.Release, b.Spec.Release), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
}

// Compare says which of two versions, or minors, of Kubernetes is earlier, as cmp.Compare does.
func Compare(a, b string) int {
	left, err := version.ParseGeneric(a)
	right, errRight := version.ParseGeneric(b)
	switch {
	case err != nil || errRight != nil:
		return cmp.Compare(a, b)
	case left.LessThan(right):
		return -1
	case right.LessThan(left):
		return 1
	}
	return 0
}
