package decide

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// Action is what a cluster is told of a Package.
type Action int

const (
	// Keep: nothing. The cluster keeps what it holds, be it something or nothing. It is what everything unknown means.
	Keep Action = iota
	// Deliver: the cluster is to hold a variant of the Release.
	Deliver
	// Remove: the cluster is to prune what it holds of the Package.
	Remove
)

// Assign decides what the cluster is told of a Package, and for Deliver which variant of the Release it gets.
//
//   - A cluster that leaves the fleet keeps what it holds, and so does one that is observed.
//   - A Package that is being deleted is removed everywhere.
//   - One that its Namespace keeps from being delivered is not told either.
//   - What is in doubt after a restore is not told.
//   - One that waits for another Package, or for a Plan, keeps what it holds.
//   - A Release that is not verified, and has to be, is not told.
//   - Otherwise there has to be a Placement with a decision about its current spec. A cluster that it does not select
//     removes, if the decision stands and is about it, and not too many would at once; one that it selects gets its variant of
//     the Release, when there is one. Which Release that is says the Rollout, when the Package has a strategy.
func Assign(seen Seen, cluster Cluster) (Action, *v1alpha1.Variant) {
	if cluster.Frozen() {
		return Keep, nil
	}
	if seen.Deleting {
		return Remove, nil
	}
	decision := decisionOf(seen.Placement)
	if decision == undecided || seen.Bar != (Bar{}) {
		return Keep, nil
	}
	if !selects(seen.Placement, cluster.Name) {
		if decision == decided && seen.Doubt == NoDoubt && !doubts(seen.Placement, cluster.Name) && !seen.Withheld.Has(cluster.Name) {
			return Remove, nil
		}
		return Keep, nil
	}
	release := seen.releaseFor(cluster.Name)
	if release == nil || seen.Doubt == DoubtAll || seen.Waits[cluster.Name] != "" {
		return Keep, nil
	}
	variant := VariantFor(&release.Spec, cluster)
	if variant == nil {
		return Keep, nil
	}
	return Deliver, variant
}

type decision int

const (
	undecided decision = iota // nothing is known of what the current spec selects
	standing                  // the current spec selects nothing that can be told: the last decision stands
	decided                   // status.clusters is what the current spec selects
)

func decisionOf(placement *v1alpha1.Placement) decision {
	if placement == nil {
		return undecided
	}
	condition := meta.FindStatusCondition(placement.Status.Conditions, v1alpha1.ConditionDecided)
	switch {
	case condition == nil || condition.ObservedGeneration != placement.Generation:
		return undecided
	case condition.Status == metav1.ConditionTrue && placement.Status.ObservedGeneration == placement.Generation:
		return decided
	case condition.Status == metav1.ConditionFalse && placement.Status.ObservedGeneration > 0:
		return standing
	default:
		return undecided
	}
}

func selects(placement *v1alpha1.Placement, cluster v1alpha1.ClusterName) bool {
	_, selected := slices.BinarySearch(placement.Status.Clusters, cluster)
	return selected
}

// doubts says whether the Placement could not tell of the cluster: then it is not selected, which is no decision.
func doubts(placement *v1alpha1.Placement, cluster v1alpha1.ClusterName) bool {
	_, doubted := slices.BinarySearch(placement.Status.Undecided, cluster)
	return doubted
}
