package rollout

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbel.dev/umbel/api/v1alpha1"
)

func number(n int) *intstr.IntOrString       { v := intstr.FromInt32(int32(n)); return &v }
func part(text string) *intstr.IntOrString   { v := intstr.FromString(text); return &v }
func lasts(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
func env(value string) metav1.LabelSelector {
	return metav1.LabelSelector{MatchLabels: map[string]string{"env": value}}
}

// TestOneLook: each case is a stage of ten clusters that hold a and are well with it, and one look.
func TestOneLook(t *testing.T) {
	for _, tc := range []struct {
		reason string
		stage  v1alpha1.RolloutStage
		change func(clusters []Cluster)
		moved  string
		waits  string
	}{
		{reason: "a tenth by default", moved: "c0", waits: v1alpha1.ReasonMoving},
		{reason: "a number", stage: v1alpha1.RolloutStage{MaxUnavailable: number(3)}, moved: "c0 c1 c2", waits: v1alpha1.ReasonMoving},
		{reason: "a part, rounded down", stage: v1alpha1.RolloutStage{MaxUnavailable: part("29%")}, moved: "c0 c1", waits: v1alpha1.ReasonMoving},
		{reason: "never less than one", stage: v1alpha1.RolloutStage{MaxUnavailable: part("1%")}, moved: "c0", waits: v1alpha1.ReasonMoving},
		{reason: "canaries are no more than may be unavailable", stage: v1alpha1.RolloutStage{MaxUnavailable: number(2), Canary: number(5)}, moved: "c0 c1", waits: v1alpha1.ReasonMoving},
		{reason: "no more than there are to be canaries", stage: v1alpha1.RolloutStage{MaxUnavailable: number(5), Canary: part("11%")}, moved: "c0 c1", waits: v1alpha1.ReasonMoving},
		{reason: "a sick cluster goes before one that serves, and takes a place of those that may be down",
			stage:  v1alpha1.RolloutStage{MaxUnavailable: number(2)},
			change: func(c []Cluster) { c[4].State = Failing }, moved: "c0 c4", waits: v1alpha1.ReasonMoving},
		{reason: "so many are down already: only they move", stage: v1alpha1.RolloutStage{MaxUnavailable: number(2)},
			change: func(c []Cluster) { c[4].State, c[5].State, c[6].State = Failing, Unwell, Unwell }, moved: "c4 c5", waits: v1alpha1.ReasonMoving},
		{reason: "a canary is one that is well", stage: v1alpha1.RolloutStage{MaxUnavailable: number(3), Canary: number(1)},
			change: func(c []Cluster) { c[0].State = Failing }, moved: "c1", waits: v1alpha1.ReasonMoving},
		{reason: "who is away or lacks a label is passed over", change: func(c []Cluster) { c[0].State, c[1].State = Away, Unfit }, moved: "c2", waits: v1alpha1.ReasonMoving},
		{reason: "all are away", change: func(c []Cluster) {
			for i := range c {
				c[i].State = Away
			}
		}, waits: v1alpha1.ReasonAwaitingClusters},
		{reason: "for whom nothing changes takes no place", change: func(c []Cluster) { c[3].Content, c[4].Content = true, true }, moved: "c0 c3 c4", waits: v1alpha1.ReasonMoving},
		{reason: "but is no canary while there is another", stage: v1alpha1.RolloutStage{Canary: number(1)},
			change: func(c []Cluster) { c[0].Content = true }, moved: "c1", waits: v1alpha1.ReasonMoving},
		{reason: "nobody approved", stage: v1alpha1.RolloutStage{Approvals: []v1alpha1.ApprovalPoint{v1alpha1.ApproveBefore}}, waits: v1alpha1.ReasonAwaitingApproval},
		{reason: "the window is closed", stage: v1alpha1.RolloutStage{Windows: []v1alpha1.MaintenanceWindow{{From: "22:00", To: "04:00", TimeZone: "Europe/Berlin"}}}, waits: v1alpha1.ReasonOutsideWindow},
		{reason: "the window is open", stage: v1alpha1.RolloutStage{Windows: []v1alpha1.MaintenanceWindow{{From: "22:00", To: "04:00", TimeZone: "Asia/Tokyo"}, {From: "11:00", To: "12:00", TimeZone: "Europe/Berlin"}}}, moved: "c0", waits: v1alpha1.ReasonMoving},
		{reason: "a window that cannot be read is no window", stage: v1alpha1.RolloutStage{Windows: []v1alpha1.MaintenanceWindow{{From: "22:00", To: "04:00", TimeZone: "Mars/Olympus"}}}, waits: v1alpha1.ReasonInvalidWindow},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			tc.stage.Name = "all"
			r := rolloutOf(&v1alpha1.RolloutStrategy{Stages: []v1alpha1.RolloutStage{tc.stage}})
			clusters := tenOn("a")
			if tc.change != nil {
				tc.change(clusters)
			}
			now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
			status, err := Begin(r, clusters, func(v1alpha1.ClusterName) string { return "a" }, now)
			if err != nil {
				t.Fatal(err)
			}
			r.Status = status
			got := Next(r, Seen{Clusters: clusters, Decided: true}, now)
			if moved := list(got.Status.Stages[0].Moved); moved != tc.moved {
				t.Errorf("moved %q, want %q", moved, tc.moved)
			}
			c := got.Status.Conditions[0]
			if c.Type != v1alpha1.ConditionProgressing || c.Reason != tc.waits {
				t.Errorf("waits %s (%s), want %s", c.Reason, c.Message, tc.waits)
			}
			r.Status = got.Status
			if again := Next(r, Seen{Clusters: clusters, Decided: true}, now); tc.moved != "" && len(again.News) > 0 {
				t.Errorf("the same again: %v", again.News)
			}
		})
	}
}

func rolloutOf(strategy *v1alpha1.RolloutStrategy) *v1alpha1.Rollout {
	r := &v1alpha1.Rollout{Spec: v1alpha1.RolloutSpec{
		PackageRef: v1alpha1.LocalReference{Name: "shop"}, Number: 1, Purpose: v1alpha1.RolloutForward,
		Release: "b", Previous: "a", Newest: "b", Strategy: *strategy, Intent: v1alpha1.IntentRun,
	}}
	r.Name = "shop-1"
	return r
}

func tenOn(release string) []Cluster {
	clusters := make([]Cluster, 10)
	for i := range clusters {
		clusters[i] = Cluster{Name: v1alpha1.ClusterName("c" + string(rune('0'+i))), State: Well, Holds: release}
	}
	return clusters
}

func list(names []v1alpha1.ClusterName) string {
	var text []string
	for _, name := range names {
		text = append(text, string(name))
	}
	slices.Sort(text)
	return strings.Join(text, " ")
}
