package rollout

import (
	"cmp"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// Chain is the rollouts of a Package, of which the newest counts.
type Chain struct {
	Package *v1alpha1.Package
	// Newest is the one with the highest number; nil when there is none.
	Newest *v1alpha1.Rollout
	// Settled says that the current Release of the Package is what the newest rollout knows as such, or the same with variants
	// for more clusters.
	Settled bool
	// Good guesses the last good Release where no rollout says which that is.
	Good func() string
}

// Step is what is due in a chain.
type Step int

const (
	// Rest: nothing.
	Rest Step = iota
	// Drive: Next says.
	Drive
	// Close: the newest rollout is to end for another one, or because the Package has no strategy any more.
	Close
	// Make: another rollout is to be made.
	Make
	// Start: the newest rollout is to begin.
	Start
)

// Due says what is due. Between any two steps the hub may die: each is found again from what is stored. A rollout is closed
// before its successor is made, so that nobody moves a cluster in it once the successor has looked.
func (c *Chain) Due() Step {
	newest := c.Newest
	if c.Package.Spec.Rollout == nil {
		if newest == nil || withdrawn(newest) {
			return Rest
		}
		return Close
	}
	switch {
	case doubtful(c.Package) || c.Package.Status.Release == "":
		return Rest
	case newest == nil || withdrawn(newest) || restored(newest) || newest.Status.Successor != "":
		return Make
	case newest.Status.Phase == "":
		return Start
	case !c.Settled || c.again():
		return Close
	case over(&newest.Status):
		return Rest
	}
	return Drive
}

// again says whether somebody wants the current Release to be tried once more that was given up.
func (c *Chain) again() bool {
	givenUp := c.Newest.Status.Phase == v1alpha1.RolloutAborted || c.Newest.Spec.Purpose == v1alpha1.RolloutBack
	return givenUp && c.Newest.Spec.Attempt > c.Newest.Status.Attempt
}

// Closed returns the status of the newest rollout once it is closed.
func (c *Chain) Closed(at metav1.Time) v1alpha1.RolloutStatus {
	status := *c.Newest.Status.DeepCopy()
	status.Successor = ""
	message := "the package has no rollout strategy any more: all clusters get its release at once"
	if c.Package.Spec.Rollout != nil {
		status.Successor = v1alpha1.RolloutName(c.Package.Name, c.Newest.Spec.Number+1)
		message = status.Successor + " took over"
	}
	if status.Successor == "" || status.Completed == nil && !over(&c.Newest.Status) {
		status.Phase = v1alpha1.RolloutSuperseded
	}
	if status.Ended == nil {
		status.Ended = &at
	}
	status.ObservedGeneration = c.Newest.Generation
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionProgressing, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonSuperseded, Message: message,
		ObservedGeneration: c.Newest.Generation, LastTransitionTime: at,
	})
	return status
}

// Spec is that of the rollout to be made.
func (c *Chain) Spec() v1alpha1.RolloutSpec {
	spec := v1alpha1.RolloutSpec{
		PackageRef: v1alpha1.LocalReference{Name: c.Package.Name}, Number: 1, Purpose: v1alpha1.RolloutForward,
		Release: c.Package.Status.Release, Newest: c.Package.Status.Release, Strategy: *c.Package.Spec.Rollout.DeepCopy(),
		Intent: v1alpha1.IntentRun,
	}
	before := c.Newest
	if before != nil {
		spec.Number = before.Spec.Number + 1
	}
	if before == nil || withdrawn(before) || restored(before) {
		spec.Previous = c.Good()
		return spec
	}
	spec.Previous = before.Spec.Previous
	if before.Status.Completed != nil || before.Spec.Purpose == v1alpha1.RolloutBack {
		spec.Previous = before.Spec.Release
	}
	if before.Status.Phase == v1alpha1.RolloutRolledBack {
		spec.Purpose, spec.Newest = v1alpha1.RolloutBack, before.Spec.Newest
		spec.Release = before.Spec.Previous
		if before.Spec.Intent == v1alpha1.IntentBack {
			spec.Release = cmp.Or(before.Spec.BackTo, before.Spec.Previous)
		}
		spec.Previous = spec.Release
	}
	return spec
}

// withdrawn says that the strategy of the Package was taken away: since then all clusters were told the same, at once.
func withdrawn(r *v1alpha1.Rollout) bool {
	return r.Status.Phase == v1alpha1.RolloutSuperseded && r.Status.Successor == ""
}

// restored says that a rollout came out of a backup: it says how things were at another time.
func restored(r *v1alpha1.Rollout) bool {
	_, is := r.Annotations[v1alpha1.RestoredAnnotation]
	return is
}

// doubtful says whether a Package was restored from a backup, and its source was not read since: clusters may hold a newer
// Release than the hub knows.
func doubtful(pkg *v1alpha1.Package) bool {
	_, restored := pkg.Annotations[v1alpha1.RestoredAnnotation]
	return restored && !meta.IsStatusConditionTrue(pkg.Status.Conditions, v1alpha1.ConditionRendered)
}

// mostHeld is the Release that most clusters hold, and are well with; of two the one whose name comes first.
func mostHeld(clusters []Cluster, but string) string {
	count := map[string]int{}
	for _, c := range clusters {
		if c.State == Well && c.Holds != but {
			count[c.Holds]++
		}
	}
	best := ""
	for _, release := range slices.Sorted(maps.Keys(count)) {
		if best == "" || count[release] > count[best] {
			best = release
		}
	}
	return best
}
