package clitest

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbel.dev/umbel/api/v1alpha1"
)

// Rollouts are those of the package Shop, looked at from now: one that is complete, and one that is in its second stage, of which a cluster waits.
func Rollouts(now time.Time) []v1alpha1.Rollout {
	one := intstr.FromInt32(1)
	strategy := v1alpha1.RolloutStrategy{Stages: []v1alpha1.RolloutStage{
		{Name: "dev", ClusterSelector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "dev"}}},
		{Name: "prod", MaxUnavailable: &one, Approvals: []v1alpha1.ApprovalPoint{v1alpha1.ApproveBefore, v1alpha1.ApproveAfter}},
	}}
	ago := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(-d)} }
	first := v1alpha1.RolloutStatus{
		Phase: v1alpha1.RolloutCompleted, Began: ago(26 * time.Hour), Completed: ago(25 * time.Hour), Successor: "shop-2", Clusters: 3, Moved: 3, Available: 3,
		Stages: []v1alpha1.StageStatus{{Name: "dev", Step: v1alpha1.StageDone, Clusters: 1, Done: 1}, {Name: "prod", Step: v1alpha1.StageDone, Clusters: 2, Done: 2}},
		Conditions: []metav1.Condition{
			Condition(v1alpha1.ConditionProgressing, metav1.ConditionFalse, v1alpha1.ReasonComplete, "all 3 clusters were moved"),
		},
	}
	second := v1alpha1.RolloutStatus{
		Phase: v1alpha1.RolloutRunning, Began: ago(12 * time.Minute), Clusters: 3, Moved: 2, Available: 1, Unavailable: 1, Failed: 1,
		Failures: []v1alpha1.RolloutFailure{{Cluster: "prod-eu", Message: "Deployment.apps shop/web: image cannot be pulled"}},
		Conditions: []metav1.Condition{
			Condition(v1alpha1.ConditionProgressing, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval, "stage prod waits for somebody to approve that it begins: `umbel rollout approve`"),
		},
		Stages: []v1alpha1.StageStatus{
			{Name: "dev", Step: v1alpha1.StageDone, Clusters: 1, Done: 1, Moved: []v1alpha1.ClusterName{"dev"}},
			{Name: "prod", Step: v1alpha1.StageMoving, Clusters: 2, Done: 1, Moved: []v1alpha1.ClusterName{"prod-eu"}, Waiting: []v1alpha1.ClusterName{"prod-us"}},
		},
		Moving:  []v1alpha1.MovingClusters{{Since: *ago(time.Minute), Clusters: []v1alpha1.ClusterName{"prod-eu"}}},
		Blocked: []v1alpha1.BlockedClusters{{Message: "package default/database is not healthy on this cluster", Clusters: []v1alpha1.ClusterName{"prod-us"}}},
	}
	rollouts := []v1alpha1.Rollout{
		{Spec: v1alpha1.RolloutSpec{Release: "shop-00112233", Newest: "shop-00112233"}, Status: first},
		{Spec: v1alpha1.RolloutSpec{Release: Release, Newest: Release, Previous: "shop-00112233"}, Status: second},
	}
	for i := range rollouts {
		r := &rollouts[i]
		r.Spec.PackageRef.Name, r.Spec.Number, r.Spec.Purpose, r.Spec.Strategy = "shop", int64(i+1), v1alpha1.RolloutForward, strategy
		r.Spec.Intent = v1alpha1.IntentRun
		r.Status.Conditions[0].LastTransitionTime = *ago(time.Hour)
		r.ObjectMeta = meta("default", v1alpha1.RolloutName("shop", r.Spec.Number))
	}
	return rollouts
}

// Plan is what somebody has seen that the package Shop does.
func Plan() *v1alpha1.Plan {
	return &v1alpha1.Plan{
		ObjectMeta: meta("default", "shop-5d41402a"),
		Spec: v1alpha1.PlanSpec{
			PackageRef: v1alpha1.LocalReference{Name: "shop"}, Source: "apps/shop of https://git.example.com/fleet.git at 4f0c2a9e7b1d",
			Summary: "1 changed, 1 deleted", Clusters: 3,
			Contents: []v1alpha1.PlannedContent{
				{
					Digest: ShopRelease().Spec.Variants[0].Digest, Deletes: []string{"ConfigMap shop/old"},
					Clusters: []v1alpha1.PlannedCluster{{Name: "prod-eu", Changes: strings.Repeat("0a", 16)}, {Name: "prod-us", Changes: strings.Repeat("0a", 16)}},
				},
				{Digest: ShopRelease().Spec.Variants[1].Digest, Clusters: []v1alpha1.PlannedCluster{{Name: "dev", Changes: strings.Repeat("0b", 16)}}},
			},
		},
	}
}
