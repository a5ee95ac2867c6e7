package word

import (
	"fmt"
	"slices"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
)

// Pause has a rollout move no further cluster.
func Pause(r *v1alpha1.Rollout) (string, error) { return intend(r, v1alpha1.IntentPause, "paused") }

// Abort ends a rollout where it is.
func Abort(r *v1alpha1.Rollout) (string, error) { return intend(r, v1alpha1.IntentAbort, "aborted") }

func intend(r *v1alpha1.Rollout, intent v1alpha1.RolloutIntent, done string) (string, error) {
	if r.Spec.Intent == intent {
		return "", ErrAlreadySo
	}
	r.Spec.Intent = intent
	return done, nil
}

// Resume goes on with a rollout that was paused, stopped, aborted or rolled back; with excuse, without the clusters that failed.
func Resume(r *v1alpha1.Rollout, excuse bool) (string, error) {
	if r.Spec.Kubernetes != nil && r.Status.Phase == v1alpha1.RolloutAborted {
		return "", fmt.Errorf("%s was aborted, and is over: `umbel cluster upgrade --clusters` begins another", r.Name)
	}
	before := r.Spec.DeepCopy()
	if excuse {
		for _, failure := range r.Status.Failures {
			if !slices.Contains(r.Spec.Excused, failure.Cluster) {
				r.Spec.Excused = append(r.Spec.Excused, failure.Cluster)
			}
		}
	}
	stopped := r.Status.Phase == v1alpha1.RolloutHalted || r.Status.Phase == v1alpha1.RolloutAborted
	returned := r.Spec.Purpose == v1alpha1.RolloutBack && r.Status.Completed != nil
	if stopped || returned || r.Spec.Intent == v1alpha1.IntentBack {
		r.Spec.Attempt++
	}
	r.Spec.Intent = v1alpha1.IntentRun
	if before.Intent == r.Spec.Intent && before.Attempt == r.Spec.Attempt && len(before.Excused) == len(r.Spec.Excused) {
		return "", ErrAlreadySo
	}
	return "resumed", nil
}

// Back has a rollout bring its clusters back to a release; empty means the last good one.
func Back(r *v1alpha1.Rollout, to string) (string, error) {
	if r.Spec.Kubernetes != nil {
		return "", fmt.Errorf("%s brings clusters to Kubernetes %s, which does not go back: `umbel rollout pause rollout/%s` or abort has no further cluster moved", r.Name, r.Spec.Release, r.Name)
	}
	if r.Spec.Intent == v1alpha1.IntentBack && r.Spec.BackTo == to {
		return "", ErrAlreadySo
	}
	aim := to
	if aim == "" {
		aim = r.Spec.Previous
	}
	if aim == "" || aim == r.Spec.Release {
		return "", fmt.Errorf("%s brings the clusters to %s, and no earlier release is known to be good: name one with --to", r.Name, r.Spec.Release)
	}
	r.Spec.Intent, r.Spec.BackTo = v1alpha1.IntentBack, to
	return "goes back to " + aim, nil
}

// Approve approves what a rollout waits for: of the stage whose turn it is, at the first point that is not approved, unless they are named.
func Approve(r *v1alpha1.Rollout, stage, point string) (string, error) {
	if r.Spec.Purpose == v1alpha1.RolloutBack {
		return "", fmt.Errorf("%s brings the clusters back to %s, and waits for no approval: the next release begins a rollout that does", r.Name, r.Spec.Release)
	}
	itsTurn := stage == ""
	if itsTurn {
		at := Current(r)
		if at == nil && len(r.Status.Stages) == 0 {
			return "", fmt.Errorf("%s has just been made, and is at no stage yet: try again in a moment, or name one with --stage", r.Name)
		}
		if at == nil {
			return "", fmt.Errorf("%s waits for no approval: every stage is done", r.Name)
		}
		stage = at.Name
	}
	if !slices.Contains(stages(r), stage) {
		return "", misuse("--stage: %s has no stage %q: its stages are %s", r.Name, stage, strings.Join(stages(r), ", "))
	}
	for _, wanted := range []v1alpha1.ApprovalPoint{v1alpha1.ApproveBefore, v1alpha1.ApproveAfter} {
		agreed := v1alpha1.RolloutApproval{Stage: stage, Point: wanted}
		asked := slices.Contains(r.Spec.Strategy.Stage(stage).Approvals, wanted) && (point == "" || point == string(wanted))
		if !asked || slices.Contains(r.Spec.Approvals, agreed) {
			continue
		}
		r.Spec.Approvals = append(r.Spec.Approvals, agreed)
		return fmt.Sprintf("approved: %s stage %s", strings.ToLower(string(wanted)), stage), nil
	}
	if point != "" && point != string(v1alpha1.ApproveBefore) && point != string(v1alpha1.ApproveAfter) {
		return "", misuse("--point is Before or After, not %q", point)
	}
	if ahead := awaited(r); itsTurn && ahead.Stage != "" {
		return "", fmt.Errorf("stage %s of %s waits for no approval; `--stage %s --point %s` approves ahead of time", stage, r.Name, ahead.Stage, ahead.Point)
	}
	return "", ErrAlreadySo
}

// awaited is the first approval that the rollout will wait for, and has not got; empty when there is none.
func awaited(r *v1alpha1.Rollout) v1alpha1.RolloutApproval {
	for _, stage := range r.Status.Stages {
		for _, point := range r.Spec.Strategy.Stage(stage.Name).Approvals {
			agreed := v1alpha1.RolloutApproval{Stage: stage.Name, Point: point}
			if stage.Step != v1alpha1.StageDone && !slices.Contains(r.Spec.Approvals, agreed) {
				return agreed
			}
		}
	}
	return v1alpha1.RolloutApproval{}
}

// stages are the names of the rollout's stages: those that it has set for itself, or will, when it has just been made.
func stages(r *v1alpha1.Rollout) []string {
	var names []string
	for _, stage := range r.Status.Stages {
		names = append(names, stage.Name)
	}
	if len(names) == 0 {
		for _, stage := range r.Spec.Strategy.Stages {
			names = append(names, stage.Name)
		}
	}
	return names
}

// Promote has a stage wait for nothing but its clusters: the one whose turn it is, unless one is named, or all that are not done.
func Promote(r *v1alpha1.Rollout, stage string, all bool) (string, error) {
	if stage != "" && all {
		return "", misuse("--stage names one, and --all means every stage: give one of them")
	}
	var names []string
	for _, s := range r.Status.Stages {
		if s.Name == stage || stage == "" && s.Step != v1alpha1.StageDone && (all || len(names) == 0) {
			names = append(names, s.Name)
		}
	}
	if len(r.Status.Stages) == 0 && slices.Contains(stages(r), stage) {
		names = []string{stage}
	}
	if len(names) == 0 && stage != "" {
		return "", misuse("--stage: %s has no stage %q", r.Name, stage)
	}
	before := len(r.Spec.Promoted)
	for _, name := range names {
		if !slices.Contains(r.Spec.Promoted, name) {
			r.Spec.Promoted = append(r.Spec.Promoted, name)
		}
	}
	if len(r.Spec.Promoted) == before {
		return "", ErrAlreadySo
	}
	return "promoted: " + strings.Join(names, ", "), nil
}

// Current is the stage whose turn it is; nil when all are done.
func Current(r *v1alpha1.Rollout) *v1alpha1.StageStatus {
	for i := range r.Status.Stages {
		if r.Status.Stages[i].Step != v1alpha1.StageDone {
			return &r.Status.Stages[i]
		}
	}
	return nil
}
