package view

import (
	"cmp"
	"fmt"
	"strings"

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

// RolloutCounts says what became of the clusters of a rollout.
func RolloutCounts(r *v1alpha1.Rollout) string {
	s := &r.Status
	text := fmt.Sprintf("%d of %d moved: %d healthy, %d not healthy (%d of them failed), %d offline",
		s.Moved, s.Clusters, s.Available, s.Unavailable, s.Failed, s.Offline)
	blocked := 0
	if !r.Over() {
		for _, group := range s.Blocked {
			blocked += len(group.Clusters)
		}
	}
	if blocked > 0 {
		text += fmt.Sprintf("; %d blocked", blocked)
	}
	return text
}

// RolloutBlockedHeaders are those of RolloutBlocked.
var RolloutBlockedHeaders = []string{"BLOCKED", "CLUSTERS", "MESSAGE"}

// RolloutBlocked lists the clusters that would not take the release now, by what they wait for. A rollout that is over waits for
// nobody. Names beyond a few are counted, unless all are wanted.
func RolloutBlocked(r *v1alpha1.Rollout, all bool) (rows [][]output.Cell) {
	if r.Over() {
		return nil
	}
	for _, group := range r.Status.Blocked {
		rows = append(rows, output.Cells(fmt.Sprint(len(group.Clusters)), Names(group.Clusters, all), group.Message))
	}
	return rows
}

// Names lists a few clusters and counts the others, or lists all of them.
func Names(of []v1alpha1.ClusterName, all bool) string {
	shown := len(of)
	if few := 5; !all {
		shown = min(shown, few)
	}
	var texts []string
	for _, name := range of[:shown] {
		texts = append(texts, string(name))
	}
	if rest := len(of) - shown; rest > 0 {
		texts = append(texts, fmt.Sprintf("… and %d more", rest))
	}
	return strings.Join(texts, ", ")
}

// RolloutMessage says what a rollout does or waits for.
func RolloutMessage(r *v1alpha1.Rollout) string {
	if c := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionProgressing); c != nil {
		return c.Message
	}
	return "the hub has not begun it yet"
}

// RolloutHandle is how a rollout is named to `umbel rollout`: by its package, of which the newest counts, or itself.
func RolloutHandle(r *v1alpha1.Rollout) string {
	if r.Spec.Kubernetes != nil {
		return "rollout/" + r.Name
	}
	return r.Spec.PackageRef.Name
}
