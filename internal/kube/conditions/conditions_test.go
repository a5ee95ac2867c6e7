package conditions_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/conditions"
)

func condition(conditionType string, status metav1.ConditionStatus, generation int64) metav1.Condition {
	return metav1.Condition{
		Type: conditionType, Status: status, ObservedGeneration: generation,
		Reason: "Reason" + conditionType, Message: "message of " + conditionType,
	}
}

func TestDeriveReady(t *testing.T) {
	const (
		yes     = metav1.ConditionTrue
		no      = metav1.ConditionFalse
		unknown = metav1.ConditionUnknown
	)
	for _, tc := range []struct {
		reason string
		list   []metav1.Condition
		want   string
	}{
		{reason: "nothing is known", want: "Unknown Pending A has not been observed yet"},
		{reason: "one is missing", list: []metav1.Condition{condition("A", yes, 2)}, want: "Unknown Pending B has not been observed yet"},
		{reason: "all are true: the furthest step speaks", list: []metav1.Condition{condition("A", yes, 2), condition("B", yes, 2)}, want: "True ReasonB message of B"},
		{reason: "the order of the list does not matter", list: []metav1.Condition{condition("B", yes, 2), condition("A", yes, 2)}, want: "True ReasonB message of B"},
		{reason: "one is false", list: []metav1.Condition{condition("A", yes, 2), condition("B", no, 2)}, want: "False ReasonB message of B"},
		{reason: "the first that is false speaks", list: []metav1.Condition{condition("A", no, 2), condition("B", no, 2)}, want: "False ReasonA message of A"},
		{reason: "false goes before unknown", list: []metav1.Condition{condition("A", unknown, 2), condition("B", no, 2)}, want: "False ReasonB message of B"},
		{reason: "unknown goes before true", list: []metav1.Condition{condition("A", yes, 2), condition("B", unknown, 2)}, want: "Unknown ReasonB message of B"},
		{reason: "the first unknown speaks", list: []metav1.Condition{condition("A", unknown, 2), condition("B", unknown, 2)}, want: "Unknown ReasonA message of A"},
		{reason: "one speaks of an older spec", list: []metav1.Condition{condition("A", yes, 1), condition("B", yes, 2)}, want: "Unknown Pending A has not been observed yet"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			conditions.DeriveReady(&tc.list, 2, "A", "B")
			ready := meta.FindStatusCondition(tc.list, v1alpha1.ConditionReady)
			if got := string(ready.Status) + " " + ready.Reason + " " + ready.Message; got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if ready.ObservedGeneration != 2 {
				t.Errorf("observed generation %d, want 2", ready.ObservedGeneration)
			}
		})
	}
}

func TestDeriveReadyAgainChangesNothing(t *testing.T) {
	list := []metav1.Condition{condition("A", metav1.ConditionTrue, 1)}
	conditions.DeriveReady(&list, 1, "A")
	list[1].LastTransitionTime = metav1.NewTime(time.Unix(1, 0))
	before := append([]metav1.Condition(nil), list...)
	conditions.DeriveReady(&list, 1, "A")
	if diff := cmp.Diff(before, list); diff != "" {
		t.Errorf("the second time changed (-before +after):\n%s", diff)
	}
}
