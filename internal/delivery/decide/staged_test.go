package decide

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestStagedOf: what a Package says of where its rollout is; it says nothing once that has brought everybody to the newest release.
func TestStagedOf(t *testing.T) {
	one, two := release("one", nil, nil), release("two", nil, nil)
	done := &metav1.Time{}
	rollout := func(to string, purpose v1alpha1.RolloutPurpose, phase v1alpha1.RolloutPhase, completed *metav1.Time) *v1alpha1.Rollout {
		r := &v1alpha1.Rollout{Spec: v1alpha1.RolloutSpec{Release: to, Newest: "two", Purpose: purpose}, Status: v1alpha1.RolloutStatus{Phase: phase, Completed: completed}}
		r.Name = "web-3"
		r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionProgressing, Message: "1 of 3"}}
		return r
	}
	for _, c := range []struct {
		reason  string
		rollout *v1alpha1.Rollout
		back    bool
		want    string
	}{
		{"none has begun", nil, false, "RollingOut a rollout is about to begin; clusters keep what they hold"},
		{"under way", rollout("two", "", v1alpha1.RolloutRunning, nil), false, "RollingOut rollout web-3 of two: 1 of 3"},
		{"halted", rollout("two", "", v1alpha1.RolloutHalted, nil), false, "RolloutHalted rollout web-3 of two: 1 of 3"},
		{"complete", rollout("two", "", v1alpha1.RolloutCompleted, done), false, " "},
		{"complete, and a newer release has come", rollout("one", "", v1alpha1.RolloutCompleted, done), false, "RollingOut rollout web-3 of one: 1 of 3"},
		{"back, and complete", rollout("one", v1alpha1.RolloutBack, v1alpha1.RolloutCompleted, done), true, "RolledBack the clusters are back on one (rollout web-3), and not on two"},
	} {
		got := StagedOf(c.rollout, map[string]*v1alpha1.Release{"one": one, "two": two}, two)
		if text := got.Reason + " " + got.Message; text != c.want || got.Back != c.back {
			t.Errorf("%s: got %q (back: %v), want %q", c.reason, text, got.Back, c.want)
		}
	}
}
