package placement

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/conditions"
	"umbel.dev/umbel/internal/placement/decide"
)

// undecided says why there is no decision. The one before stands.
func undecided(placement *v1alpha1.Placement, problem error) {
	condition := metav1.Condition{
		Type: v1alpha1.ConditionDecided, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInvalidSelector,
		ObservedGeneration: placement.Generation,
		Message:            fmt.Sprintf("%s; the last decision stands (%s)", problem, count(len(placement.Status.Clusters))),
	}
	meta.SetStatusCondition(&placement.Status.Conditions, condition)
	conditions.DeriveReady(&placement.Status.Conditions, placement.Generation, v1alpha1.ConditionDecided)
}

// decided puts a decision into the status.
func decided(placement *v1alpha1.Placement, plan *decide.Plan, d decide.Decision) {
	status := &placement.Status
	status.Clusters, status.Selected = d.Clusters, int32(len(d.Clusters))
	status.Leaving, status.Undecided = d.Leaving, d.Undecided
	status.ObservedGeneration = placement.Generation
	message := "selects " + count(len(d.Clusters))
	if len(d.Undecided) > 0 {
		message += fmt.Sprintf("; of %d it cannot be told whether they meet the spec, and they keep what they hold: %s", len(d.Undecided), few(d.Undecided))
	}
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionDecided, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDecided,
		ObservedGeneration: placement.Generation, Message: message,
	})
	from := []string{v1alpha1.ConditionDecided}
	if plan.Seats() {
		from = append(from, v1alpha1.ConditionSatisfied)
		meta.SetStatusCondition(&status.Conditions, satisfied(placement.Generation, plan, d))
	} else {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionSatisfied)
	}
	conditions.DeriveReady(&status.Conditions, placement.Generation, from...)
}

func satisfied(generation int64, plan *decide.Plan, d decide.Decision) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionSatisfied, Status: metav1.ConditionTrue, ObservedGeneration: generation,
		Reason: v1alpha1.ReasonSatisfied, Message: fmt.Sprintf("%d of %d clusters", len(d.Clusters), plan.Number())}
	if d.Shortfall.Reason != "" {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, d.Shortfall.Reason, d.Shortfall.Message
	}
	return c
}

// unchanged says whether a status does not have to be written. Ten thousand names are compared as what they are.
func unchanged(before, after *v1alpha1.PlacementStatus) bool {
	return before.ObservedGeneration == after.ObservedGeneration && before.Selected == after.Selected &&
		slices.Equal(before.Clusters, after.Clusters) && slices.Equal(before.Undecided, after.Undecided) &&
		equality.Semantic.DeepEqual(before.Leaving, after.Leaving) && equality.Semantic.DeepEqual(before.Conditions, after.Conditions)
}
