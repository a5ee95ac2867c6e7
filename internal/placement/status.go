package placement

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/conditions"
	"umbel.dev/umbel/internal/placement/decide"
)

// outcome is what a status is to say.
type outcome struct {
	// Decision is none where nothing could be decided.
	decide.Decision
	// status has the clusters of before: who came and who left is in the decision, so that one change of ten thousand names
	// costs one.
	status v1alpha1.PlacementStatus
}

// clusters are the selected ones.
func (o outcome) clusters() []v1alpha1.ClusterName {
	if len(o.Came)+len(o.Left) == 0 {
		return o.status.Clusters
	}
	return o.Decision.Clusters()
}

// outcomeOf returns one that says what the status says already. The Placement is not changed through it.
func outcomeOf(placement *v1alpha1.Placement) outcome {
	status := placement.Status
	status.Conditions = slices.Clone(status.Conditions)
	return outcome{status: status}
}

// undecided says why there is no decision. The one before stands.
func undecided(placement *v1alpha1.Placement, problem error) outcome {
	o := outcomeOf(placement)
	meta.SetStatusCondition(&o.status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionDecided, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInvalidSelector,
		ObservedGeneration: placement.Generation,
		Message:            fmt.Sprintf("%s; the last decision stands (%s)", problem, count(len(placement.Status.Clusters))),
	})
	conditions.DeriveReady(&o.status.Conditions, placement.Generation, v1alpha1.ConditionDecided)
	return o
}

// decided says what was decided.
func decided(placement *v1alpha1.Placement, plan *decide.Plan, d decide.Decision) outcome {
	o := outcomeOf(placement)
	o.Decision = d
	status := &o.status
	status.Selected, status.Leaving, status.Undecided = int32(d.Selected()), d.Leaving, d.Undecided
	status.ObservedGeneration = placement.Generation
	message := "selects " + count(d.Selected())
	if len(d.Undecided) > 0 {
		message += fmt.Sprintf("; of %d it cannot be told whether they meet the spec, and they keep what they hold: %s", len(d.Undecided), v1alpha1.Few(d.Undecided, most))
	}
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionDecided, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDecided,
		ObservedGeneration: placement.Generation, Message: message,
	})
	from := []string{v1alpha1.ConditionDecided}
	if plan.Seats() {
		from = append(from, v1alpha1.ConditionSatisfied)
		meta.SetStatusCondition(&status.Conditions, satisfied(placement.Generation, plan, d))
	} else if meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionSatisfied) != nil {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionSatisfied)
	}
	conditions.DeriveReady(&status.Conditions, placement.Generation, from...)
	return o
}

func satisfied(generation int64, plan *decide.Plan, d decide.Decision) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionSatisfied, Status: metav1.ConditionTrue, ObservedGeneration: generation,
		Reason: v1alpha1.ReasonSatisfied, Message: fmt.Sprintf("%d of %s", d.Selected(), v1alpha1.Counted(plan.Number(), "cluster"))}
	if d.Shortfall.Reason != "" {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, d.Shortfall.Reason, d.Shortfall.Message
	}
	return c
}
