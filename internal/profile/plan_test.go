package profile

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestHealth: nothing is said of a control plane but what was heard of it.
func TestHealth(t *testing.T) {
	for _, c := range []struct {
		reason string
		status metav1.ConditionStatus
		why    string
		want   metav1.ConditionStatus
	}{
		{"it answers", metav1.ConditionTrue, v1alpha1.ReasonProbeAnswered, metav1.ConditionTrue},
		{"the agent says that it is ill", metav1.ConditionFalse, v1alpha1.ReasonAPIUnreachable, metav1.ConditionFalse},
		{"its agent is kept out", metav1.ConditionFalse, v1alpha1.ReasonSuspended, metav1.ConditionUnknown},
		{"no agent has come", metav1.ConditionFalse, v1alpha1.ReasonAwaitingAgent, metav1.ConditionUnknown},
		{"it is not heard of any more", metav1.ConditionUnknown, v1alpha1.ReasonProbeTimeout, metav1.ConditionUnknown},
	} {
		m := &v1alpha1.MemberCluster{}
		m.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionConnected, Status: c.status, Reason: c.why}}
		if got := conditions(m)[0]; got.Status != c.want || got.Reason != c.why {
			t.Errorf("%s: got %s %s, want %s", c.reason, got.Status, got.Reason, c.want)
		}
	}
}

// TestObserved: a property is as old as the last word of its member.
func TestObserved(t *testing.T) {
	at := func(hour int) metav1.Time { return metav1.NewTime(time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC)) }
	lost, connected := &v1alpha1.MemberCluster{}, &v1alpha1.MemberCluster{}
	seen := at(5)
	lost.Status.LastSeen, connected.Status.LastSeen = &seen, &seen
	connected.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionConnected, Status: metav1.ConditionTrue}}
	for _, c := range []struct {
		reason string
		member *v1alpha1.MemberCluster
		since  metav1.Time
		want   metav1.Time
	}{
		{"connected: it is seen now, and when it was heard first stands", connected, at(3), at(3)},
		{"lost: when the member was heard last", lost, at(3), at(5)},
		{"heard of after an earlier loss", lost, at(7), at(7)},
	} {
		if got := observed(c.member, c.since); !got.Equal(&c.want) {
			t.Errorf("%s: got %s", c.reason, got)
		}
	}
}
