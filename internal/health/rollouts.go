package health

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// patience is how long a rollout may wait for clusters, or for what they measure, before that is told of.
const patience = 15 * time.Minute

// resting says how bad it is that a rollout does not move, by the reason of its condition Progressing.
var resting = map[string]Level{
	v1alpha1.ReasonHalted: Failing, v1alpha1.ReasonInvalidWindow: Failing, v1alpha1.ReasonEmptyStage: Failing, v1alpha1.ReasonPlacementUnsettled: Failing,
	v1alpha1.ReasonAwaitingClusters: Failing, v1alpha1.ReasonAwaitingGate: Failing, v1alpha1.ReasonPaused: Waiting, v1alpha1.ReasonAwaitingApproval: Waiting,
	v1alpha1.ReasonBaking: "", v1alpha1.ReasonOutsideWindow: "", v1alpha1.ReasonComplete: "", v1alpha1.ReasonSuperseded: "", v1alpha1.ReasonAborted: "",
}

// Stuck says whether a rollout stands still for longer than it should, why, and how bad that is. One that moves, bakes, or waits for its hour does not.
func Stuck(r *v1alpha1.Rollout, now time.Time) (c *metav1.Condition, level Level) {
	if r.Over() {
		return nil, ""
	}
	c = meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionProgressing)
	if c == nil || c.Status != metav1.ConditionFalse {
		return nil, ""
	}
	level, known := resting[c.Reason]
	switch {
	case !known:
		level = Warning
	case (c.Reason == v1alpha1.ReasonAwaitingClusters || c.Reason == v1alpha1.ReasonAwaitingGate) && now.Sub(c.LastTransitionTime.Time) < patience:
		level = ""
	}
	if level == "" {
		return nil, ""
	}
	return c, level
}

func (f *Fleet) rollouts() (found []Finding) {
	for i := range f.Rollouts {
		r := &f.Rollouts[i]
		handle := r.Spec.PackageRef.Name
		if r.Spec.Kubernetes != nil {
			handle = "rollout/" + r.Name
		}
		status := "umbel rollout status " + handle + in(r.Namespace)
		if c, level := Stuck(r, f.Now); c != nil {
			if c.Reason == v1alpha1.ReasonAwaitingApproval {
				status = "umbel rollout approve " + handle + in(r.Namespace)
			}
			found = append(found, condition(level, Rollout, r, c, status))
			continue
		}
		if r.Over() || r.Status.Completed != nil || r.Status.Failed == 0 {
			continue
		}
		finding := Finding{
			Level: Warning, Kind: Rollout, Namespace: r.Namespace, Name: r.Name, Reason: "ClustersFailed", Command: status,
			Message: fmt.Sprintf("%d of %s failed, which the rollout bears", r.Status.Failed, v1alpha1.Counted(r.Status.Clusters, "cluster")),
		}
		if len(r.Status.Failures) > 0 {
			first := r.Status.Failures[0]
			finding.Message += fmt.Sprintf(": %s: %s", first.Cluster, first.Message)
		}
		found = append(found, finding)
	}
	return found
}
