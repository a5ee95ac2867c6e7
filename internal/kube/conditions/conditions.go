// Package conditions derives the Ready condition of an object from its other conditions: is it as its spec asks?
//
// Setting and finding a condition is apimachinery's business (k8s.io/apimachinery/pkg/api/meta). Ready is computed
// here, for every kind by the same rule and never set by hand:
//
//   - False as soon as one of the conditions it is made of is False,
//   - otherwise Unknown as soon as one is Unknown, missing, or speaks of an older generation,
//   - otherwise True.
//
// Reason and message are those of the first condition that decided it, in the order given, so that the first thing
// that went wrong is what people read. When all are True they are those of the last, the furthest step.
package conditions

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// reasonPending is Ready's reason while a condition that it is made of has not been set.
const reasonPending = "Pending"

// DeriveReady computes Ready for a generation of the object's spec from the conditions named, and puts it into the
// list. The time of Ready's last transition changes with its status only.
func DeriveReady(list *[]metav1.Condition, generation int64, from ...string) {
	ready := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionUnknown,
		Reason: reasonPending, Message: "nothing has been observed yet", ObservedGeneration: generation,
	}
	for i, conditionType := range from {
		seen := observed(*list, conditionType, generation)
		switch {
		case seen.Status == metav1.ConditionFalse && ready.Status != metav1.ConditionFalse,
			seen.Status == metav1.ConditionUnknown && (i == 0 || ready.Status == metav1.ConditionTrue),
			seen.Status == metav1.ConditionTrue && (i == 0 || ready.Status == metav1.ConditionTrue):
			ready.Status, ready.Reason, ready.Message = seen.Status, seen.Reason, seen.Message
		}
	}
	meta.SetStatusCondition(list, ready)
}

// observed returns the condition, or an Unknown one when it is missing or speaks of an older generation.
func observed(list []metav1.Condition, conditionType string, generation int64) metav1.Condition {
	seen := meta.FindStatusCondition(list, conditionType)
	if seen == nil || seen.ObservedGeneration < generation {
		return metav1.Condition{
			Type: conditionType, Status: metav1.ConditionUnknown,
			Reason: reasonPending, Message: fmt.Sprintf("%s has not been observed yet", conditionType),
		}
	}
	return *seen
}
