package rollout

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbel.dev/umbel/api/v1alpha1"
)

// madeHere is a cluster that the hub makes, connected and at work at v1.35.4, which can have v1.36.3 next.
func madeHere(name string, change ...func(*v1alpha1.MemberCluster)) v1alpha1.MemberCluster {
	m := v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{"env": "prod"}, Annotations: map[string]string{v1alpha1.ManagedAnnotation: "default/" + name},
	}}
	m.Status.Lifecycle = &v1alpha1.MemberLifecycle{Version: "v1.35.4", Next: []string{"v1.36.3"}, Phase: v1alpha1.LifecycleReady}
	m.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionConnected, Status: metav1.ConditionTrue}}
	for _, c := range change {
		c(&m)
	}
	return m
}

func toKubernetes(release string) *v1alpha1.Rollout {
	r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes-" + release}}
	r.Spec = v1alpha1.RolloutSpec{
		Kubernetes: &v1alpha1.KubernetesRollout{ClusterSelector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}},
		Number:     1, Purpose: v1alpha1.RolloutForward, Intent: v1alpha1.IntentRun, Release: release,
		Strategy: v1alpha1.RolloutStrategy{Stages: []v1alpha1.RolloutStage{{Name: "all", MaxUnavailable: new(intstr.FromInt32(1))}}},
	}
	return r
}

func away(m *v1alpha1.MemberCluster) { m.Status.Conditions[0].Status = metav1.ConditionUnknown }

func lifecycle(version string, phase v1alpha1.LifecyclePhase, message, refused string, next ...string) func(*v1alpha1.MemberCluster) {
	return func(m *v1alpha1.MemberCluster) {
		m.Status.Lifecycle = &v1alpha1.MemberLifecycle{Version: version, Phase: phase, Message: message, Refused: refused, Next: next}
	}
}

// TestWhatIsSeenOfAClustersKubernetes, before its turn, while it is under way, and once it has been well with the version.
func TestWhatIsSeenOfAClustersKubernetes(t *testing.T) {
	const ready, working = v1alpha1.LifecycleReady, v1alpha1.LifecycleWorking
	before := func(*v1alpha1.Rollout) {}
	underway := func(r *v1alpha1.Rollout) {
		r.Status.Stages = []v1alpha1.StageStatus{{Name: "all", Moved: []v1alpha1.ClusterName{"dev"}}}
		r.Status.Moving = []v1alpha1.MovingClusters{{Clusters: []v1alpha1.ClusterName{"dev"}}}
	}
	been := func(r *v1alpha1.Rollout) {
		r.Status.Stages = []v1alpha1.StageStatus{{Name: "all", Moved: []v1alpha1.ClusterName{"dev"}}}
	}
	for _, c := range []struct {
		reason  string
		moved   func(*v1alpha1.Rollout)
		change  []func(*v1alpha1.MemberCluster)
		state   State
		content bool
		says    string
	}{
		{"it can be brought there", before, nil, Well, false, ""},
		{"it is not connected", before, []func(*v1alpha1.MemberCluster){away}, Away, false, ""},
		{"it has it already", before, []func(*v1alpha1.MemberCluster){lifecycle("v1.36.3", ready, "", "")}, Well, true, ""},
		{"somebody upgrades it by hand", before, []func(*v1alpha1.MemberCluster){lifecycle("v1.36.3", working, "1 of 2 machines", "")}, Blocked, false, "1 of 2 machines"},
		{"it is not at work", before, []func(*v1alpha1.MemberCluster){lifecycle("v1.35.4", working, "1 of 2 machines", "", "v1.36.3")}, Blocked, false, "not at work as it is: 1 of 2 machines"},
		{"two minors", before, []func(*v1alpha1.MemberCluster){lifecycle("v1.34.1", ready, "", "", "v1.35.4")}, Blocked, false, "it follows once it has 1.35"},
		{"its class lacks the version", before, []func(*v1alpha1.MemberCluster){lifecycle("v1.35.4", ready, "", "", "v1.36.9")}, Blocked, false, "its class has only v1.36.9"},
		{"its class has nothing later", before, []func(*v1alpha1.MemberCluster){lifecycle("v1.35.4", ready, "", "")}, Blocked, false, "no later version"},
		{"its class does not say which it has", before, []func(*v1alpha1.MemberCluster){lifecycle("v1.35.4", ready, "", "", "v1.35", "v1.36")}, Well, false, ""},
		{"it is of no class", before, []func(*v1alpha1.MemberCluster){lifecycle("", working, "it is of no class", "")}, Blocked, false, "no class"},
		{"nobody has said anything of it", before, []func(*v1alpha1.MemberCluster){func(m *v1alpha1.MemberCluster) { m.Status.Lifecycle = nil }}, Blocked, false, "umbel provider list"},
		{"its turn has come, and nothing was done yet", underway, nil, Unwell, false, ""},
		{"it is on its way", underway, []func(*v1alpha1.MemberCluster){lifecycle("v1.36.3", working, "it serves v1.35.4", "")}, Unwell, false, "it serves"},
		{"it is on its way, and its agent is away for it", underway, []func(*v1alpha1.MemberCluster){lifecycle("v1.36.3", working, "it serves v1.35.4", ""), away}, Unwell, false, "it serves"},
		{"all is new, but its agent", underway, []func(*v1alpha1.MemberCluster){lifecycle("v1.36.3", ready, "", ""), away}, Unwell, false, "has not come back"},
		{"it is there", underway, []func(*v1alpha1.MemberCluster){lifecycle("v1.36.3", ready, "", "")}, Well, true, ""},
		{"it was refused", underway, []func(*v1alpha1.MemberCluster){lifecycle("v1.35.4", ready, "in use are v1 old", "v1.36.3")}, Failing, false, "in use are v1 old"},
		{"another version was refused", underway, []func(*v1alpha1.MemberCluster){lifecycle("v1.35.4", ready, "in use are v1 old", "v1.36.9")}, Unwell, false, ""},
		{"it was well with it, and its site is away", been, []func(*v1alpha1.MemberCluster){lifecycle("v1.36.3", ready, "", ""), away}, Away, false, ""},
		{"it was well with it, and is not any more", been, []func(*v1alpha1.MemberCluster){lifecycle("v1.36.3", working, "1 of 2 machines", "")}, Unwell, false, "1 of 2 machines"},
	} {
		r := toKubernetes("v1.36.3")
		c.moved(r)
		got, err := KubernetesOf(r, []v1alpha1.MemberCluster{madeHere("dev", c.change...)})
		if err != nil || len(got) != 1 {
			t.Fatalf("%s: got %v, %v", c.reason, got, err)
		}
		if got[0].State != c.state || got[0].Content != c.content || !strings.Contains(got[0].Message, c.says) || c.state == Blocked && got[0].Message == "" {
			t.Errorf("%s: got state %d, content %t, %q; want %d, %t, %q", c.reason, got[0].State, got[0].Content, got[0].Message, c.state, c.content, c.says)
		}
		if c.state == Failing && got[0].Holds != "v1.36.3" {
			t.Errorf("%s: it holds %s, so that it is not what failed", c.reason, got[0].Holds)
		}
	}
}

// TestAClusterThatIsObservedWaits, for a Kubernetes and for a release; one that was moved before, or has the release, does not.
func TestAClusterThatIsObservedWaits(t *testing.T) {
	m := madeHere("dev", func(m *v1alpha1.MemberCluster) { m.Spec.Level = v1alpha1.LevelObserved })
	r := toKubernetes("v1.36.3")
	got, err := KubernetesOf(r, []v1alpha1.MemberCluster{m})
	if err != nil || len(got) != 1 || got[0].State != Blocked || !strings.Contains(got[0].Message, "observed") {
		t.Errorf("for a Kubernetes it is %+v, %v", got, err)
	}
	for _, c := range []struct {
		reason string
		before Cluster
		state  State
	}{
		{"it would get the release", Cluster{State: Well}, Blocked},
		{"it has it", Cluster{State: Well, Content: true}, Well},
		{"it is not connected", Cluster{State: Away}, Away},
	} {
		one := c.before
		if one.hold(&m, ""); one.State != c.state {
			t.Errorf("%s: it is %d, want %d", c.reason, one.State, c.state)
		}
	}
}

// TestWhichClustersAKubernetesIsFor: those that are selected, are Clusters of the very namespace, stay, and are not past it.
func TestWhichClustersAKubernetesIsFor(t *testing.T) {
	gone := metav1.NewTime(time.Unix(1, 0))
	got, err := KubernetesOf(toKubernetes("v1.36.3"), []v1alpha1.MemberCluster{
		madeHere("mine"),
		madeHere("dev", func(m *v1alpha1.MemberCluster) { m.Labels["env"] = "dev" }),
		madeHere("attached", func(m *v1alpha1.MemberCluster) { m.Annotations = nil }),
		madeHere("elsewhere", func(m *v1alpha1.MemberCluster) { m.Annotations[v1alpha1.ManagedAnnotation] = "team/elsewhere" }),
		madeHere("leaving", func(m *v1alpha1.MemberCluster) { m.DeletionTimestamp = &gone }),
		madeHere("past", lifecycle("v1.37.0", v1alpha1.LifecycleReady, "", "")),
	})
	if err != nil || len(got) != 1 || got[0].Name != "mine" {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestAKubernetesWaitsAsAReleaseDoes: for an approval, a window and a bake; and it halts, but offers no way back.
func TestAKubernetesWaitsAsAReleaseDoes(t *testing.T) {
	now := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC) // a Tuesday
	r := toKubernetes("v1.36.3")
	stage := &r.Spec.Strategy.Stages[0]
	stage.Approvals, stage.Canary = []v1alpha1.ApprovalPoint{v1alpha1.ApproveBefore}, new(intstr.FromInt32(1))
	stage.Bake = &metav1.Duration{Duration: time.Minute}
	stage.Windows = []v1alpha1.MaintenanceWindow{{From: "22:00", To: "04:00"}}
	members := []v1alpha1.MemberCluster{madeHere("a"), madeHere("b"), madeHere("c")}
	step := func(want string) {
		t.Helper()
		clusters, err := KubernetesOf(r, members)
		if err != nil {
			t.Fatal(err)
		}
		if r.Status.Phase == "" {
			if r.Status, err = Begin(r, clusters, func(v1alpha1.ClusterName) string { return "" }, now); err != nil {
				t.Fatal(err)
			}
		}
		r.Status = Next(r, Seen{Clusters: clusters, Decided: true}, now).Status
		if got := r.Status.Conditions[0].Message; !strings.Contains(got, want) {
			t.Fatalf("it says %q, want %q", got, want)
		}
	}
	step("to approve")
	r.Spec.Approvals = []v1alpha1.RolloutApproval{{Stage: "all", Point: v1alpha1.ApproveBefore}}
	step("waits for its maintenance window, which opens Tue 2026-11-03 22:00 UTC")
	now = now.Add(11 * time.Hour)
	step("at work: a")
	if orders := r.Orders(); orders.For("a") != "v1.36.3" || orders.For("b") != "" {
		t.Errorf("a is told %q, and b %q", orders.For("a"), orders.For("b"))
	}
	lifecycle("v1.36.3", v1alpha1.LifecycleReady, "", "")(&members[0])
	step("bakes")
	now = now.Add(30 * time.Second)
	step("bakes")
	now = now.Add(31 * time.Second)
	step("at work: b")
	lifecycle("v1.35.4", v1alpha1.LifecycleReady, "in use are v1 old", "v1.36.3", "v1.36.3")(&members[1])
	step("at work: b")
	now = now.Add(stands + time.Second)
	step("halted, since b failed: in use are v1 old; `umbel rollout resume` tries again, with --excuse it goes on without")
	r.Spec.Excused, r.Spec.Attempt = []v1alpha1.ClusterName{"b"}, 1
	step("at work: c")
	lifecycle("v1.36.3", v1alpha1.LifecycleReady, "", "")(&members[2])
	step("bakes")
	now = now.Add(31 * time.Second)
	step("bakes")
	now = now.Add(31 * time.Second)
	step("every cluster has v1.36.3")
	for name, want := range map[v1alpha1.ClusterName]string{"a": "", "b": "", "c": "", "new": ""} {
		if got := r.Orders().For(name); got != want {
			t.Errorf("when it is complete %s is told %q", name, got)
		}
	}
}
