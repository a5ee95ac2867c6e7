package view

import (
	"cmp"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
)

// RolloutPhase says where a rollout is. Of one that has not ended nobody knows while the hub is silent.
func (m Moment) RolloutPhase(r *v1alpha1.Rollout) output.Cell {
	outcome := RolloutOutcome(r)
	tones := map[v1alpha1.RolloutPhase]output.Tone{
		v1alpha1.RolloutCompleted: output.Good, v1alpha1.RolloutHalted: output.Bad, v1alpha1.RolloutPaused: output.Doubtful,
		v1alpha1.RolloutAborted: output.Doubtful, v1alpha1.RolloutRolledBack: output.Doubtful,
	}
	if r.Status.Completed == nil && r.Status.Ended == nil && !m.fresh() {
		return output.Cell{Text: fmt.Sprintf("%s (was %s)", unknown, outcome), Tone: output.Doubtful}
	}
	return output.Cell{Text: outcome, Tone: tones[v1alpha1.RolloutPhase(outcome)]}
}

// RolloutOutcome is the phase of a rollout, or Completed for one that was and has a successor.
func RolloutOutcome(r *v1alpha1.Rollout) string {
	if r.Status.Completed != nil && r.Status.Phase != v1alpha1.RolloutRolledBack {
		return string(v1alpha1.RolloutCompleted)
	}
	return RolloutState(r)
}

// RolloutState is the phase of a rollout; Pending while it has none.
func RolloutState(r *v1alpha1.Rollout) string { return cmp.Or(string(r.Status.Phase), "Pending") }

// RolloutMessage says what a rollout does or waits for.
func RolloutMessage(r *v1alpha1.Rollout) string {
	if c := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionProgressing); c != nil {
		return c.Message
	}
	return "the hub has not begun it yet"
}
