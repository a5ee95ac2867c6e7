package join

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	ours   = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	theirs = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
)

func TestDecide(t *testing.T) {
	fresh := found{}
	installed := found{boot: v1alpha1.Bootstrap{Cluster: "prod-eu"}, deployment: &appsv1.Deployment{}, fingerprint: ours}
	elsewhere := found{boot: v1alpha1.Bootstrap{Cluster: "dev", Address: "192.0.2.1:7443"}, deployment: &appsv1.Deployment{}, fingerprint: theirs}
	beside := found{boot: v1alpha1.Bootstrap{Cluster: "dev"}, fingerprint: theirs} // its agent is a process
	waiting := &v1alpha1.MemberCluster{}
	pinned := &v1alpha1.MemberCluster{Status: v1alpha1.MemberClusterStatus{Identity: &v1alpha1.MemberIdentity{KeyFingerprint: ours}}}
	leaving := pinned.DeepCopy()
	leaving.DeletionTimestamp = &metav1.Time{}
	*leaving.DeletionTimestamp = metav1.Now()
	for _, c := range []struct {
		reason string
		member *v1alpha1.MemberCluster
		here   found
		want   course
		says   []string
	}{
		{"a new member", nil, fresh, admit, nil},
		{"its agent was installed for a hub that knows nothing of it any more", nil, installed, admit, nil},
		{"no agent has come", waiting, fresh, admit, nil},
		{"no agent has come, though it is installed", waiting, installed, admit, nil},
		{"its key is pinned: the agent is who it says", pinned, installed, renew, nil},
		{"another cluster has the name", pinned, fresh, "", []string{"prod-eu", "taken", ours[:12], "umbel leave prod-eu --force"}},
		{"another member wants the name too", pinned, elsewhere, "", []string{"taken"}},
		{"a member wants a second name", nil, elsewhere, "", []string{`"dev"`, "192.0.2.1:7443", "umbel leave dev"}},
		{"a cluster whose agents are processes may have several", nil, beside, admit, nil},
		{"it is leaving", leaving, installed, "", []string{"leaving", "umbel describe cluster prod-eu"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got, err := decide("prod-eu", c.member, c.here)
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			mustSay(t, err, c.says...)
		})
	}
}

func TestChooseProxy(t *testing.T) {
	has := found{boot: v1alpha1.Bootstrap{Proxy: "http://before:3128"}}
	for _, c := range []struct {
		reason string
		asked  *string
		here   found
		want   string
	}{
		{"none", nil, found{}, ""},
		{"one that is asked for", new("http://proxy:3128"), found{}, "http://proxy:3128"},
		{"the one of before", nil, has, "http://before:3128"},
		{"another one", new("http://proxy:3128"), has, "http://proxy:3128"},
		{"none any more", new(""), has, ""},
	} {
		if got := chooseProxy(c.asked, c.here); got != c.want {
			t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
		}
	}
}

func TestChooseImage(t *testing.T) {
	const hubs = "192.0.2.9:7443/umbel/agent:v2"
	has := func(image string) found {
		return found{boot: v1alpha1.Bootstrap{Address: "192.0.2.1:7443"}, deployment: deployed(t, installation{image: image})}
	}
	for _, c := range []struct {
		reason string
		asked  *string
		here   found
		want   string
	}{
		{"the hub's", nil, found{}, hubs},
		{"one that is asked for", new("registry.example.com/agent:v1"), found{}, "registry.example.com/agent:v1"},
		{"joined again: the hub's, of now and where it is now", nil, has("192.0.2.1:7443/umbel/agent:v1"), hubs},
		{"joined again: one that was asked for before", nil, has("registry.example.com/agent:v1"), "registry.example.com/agent:v1"},
		{"joined again: another one", new("registry.example.com/agent:v2"), has("registry.example.com/agent:v1"), "registry.example.com/agent:v2"},
		{"joined again: back to the hub's", new(""), has("registry.example.com/agent:v1"), hubs},
	} {
		if got := chooseImage(c.asked, hubs, c.here); got != c.want {
			t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
		}
	}
}

func TestChooseClass(t *testing.T) {
	class := func(name, isDefault string, age time.Duration) storagev1.StorageClass {
		return storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{
			Name: name, Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": isDefault},
			CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-age)),
		}}
	}
	classes := []storagev1.StorageClass{class("slow", "true", time.Hour), class("fast", "true", time.Minute), class("odd", "false", 0)}
	claim := &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: new("slow")}}
	runs := func(to installation) *appsv1.Deployment {
		to.image = "hub/umbel/agent:v1"
		return deployed(t, to)
	}
	for _, c := range []struct {
		reason string
		asked  *string
		here   found
		want   string
		says   []string
	}{
		{"no class: a folder of the node", nil, found{}, "", nil},
		{"the default class, of two the newer", nil, found{classes: classes}, "fast", nil},
		{"no default class", nil, found{classes: classes[2:]}, "", nil},
		{"the one that is asked for", new("odd"), found{classes: classes}, "odd", nil},
		{"none", new("none"), found{classes: classes}, "", nil},
		{"nothing is none", new(""), found{classes: classes}, "", nil},
		{"one that is not there", new("gold"), found{classes: classes}, "", []string{`"gold"`, "fast, odd, slow", "none"}},
		{"joined again: where it is", nil, found{classes: classes, claim: claim, deployment: runs(installation{class: "slow"})}, "slow", nil},
		{"joined again: in its folder, though there is a class by now", nil, found{classes: classes, deployment: runs(installation{})}, "", nil},
		{"joined again after the Deployment was lost: on the volume that is there", nil, found{classes: classes, claim: claim}, "slow", nil},
		{"from a volume to a folder", new("none"), found{classes: classes, claim: claim}, "", nil},
		{"from one class to another", new("fast"), found{classes: classes, claim: claim}, "", []string{`"slow"`, "--storage-class none first"}},
		{"the same class again", new("slow"), found{classes: classes, claim: claim}, "slow", nil},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got, err := chooseClass(c.asked, c.here)
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			mustSay(t, err, c.says...)
		})
	}
}

func waitingFor(reason, message string) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "umbel-agent-1", UID: "1"},
		Spec:       corev1.PodSpec{NodeName: "node-1"},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Image: "hub/umbel/agent:v1",
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}},
	}
}

func TestStuck(t *testing.T) {
	event := func(uid, message string) corev1.Event {
		e := corev1.Event{Reason: "Failed", Message: message}
		e.InvolvedObject.UID = "1"
		if uid != "" {
			e.InvolvedObject.UID = "2"
		}
		return e
	}
	unscheduled := corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "pod has unbound immediate PersistentVolumeClaims",
	}}}}
	refused := &appsv1.Deployment{Status: appsv1.DeploymentStatus{Conditions: []appsv1.DeploymentCondition{{
		Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: "violates PodSecurity",
	}}}}
	for _, c := range []struct {
		reason string
		seen   sight
		want   string
	}{
		{
			"the node says why", sight{pods: []corev1.Pod{waitingFor("ErrImagePull", "x509: unknown authority")}},
			"node node-1 cannot get the image hub/umbel/agent:v1: ErrImagePull: x509: unknown authority",
		},
		{
			"in between two attempts newer nodes repeat it",
			sight{pods: []corev1.Pod{waitingFor("ImagePullBackOff", `Back-off pulling image "hub/umbel/agent:v1": ErrImagePull: x509`)}},
			`node node-1 cannot get the image hub/umbel/agent:v1: ImagePullBackOff: Back-off pulling image "hub/umbel/agent:v1": ErrImagePull: x509`,
		},
		{
			"older ones leave it in an event, the latest of this pod",
			sight{
				pods: []corev1.Pod{waitingFor("ImagePullBackOff", `Back-off pulling image "hub/umbel/agent:v1"`)},
				events: []corev1.Event{
					event("", "Failed to pull image: timeout"), event("", "Failed to pull image: x509"), event("", "Error: ErrImagePull"),
					event("other", "Failed to pull image: not ours"),
				},
			},
			"node node-1 cannot get the image hub/umbel/agent:v1: ImagePullBackOff: Failed to pull image: x509",
		},
		{"no pod", sight{deployment: &appsv1.Deployment{}}, "it has no pod: does the cluster have a controller manager and nodes?"},
		{"no pod is let in", sight{deployment: refused}, "the cluster refuses its pod: violates PodSecurity"},
		{
			"no volume", sight{pods: []corev1.Pod{unscheduled}},
			"its pod is not PodScheduled: pod has unbound immediate PersistentVolumeClaims; with `--storage-class none` it keeps its state in a folder of its node",
		},
		{"it crashes", sight{pods: []corev1.Pod{waitingFor("CrashLoopBackOff", "back-off 10s")}}, "its pod waits: CrashLoopBackOff back-off 10s"},
		{"nothing is wrong", sight{pods: []corev1.Pod{{}}}, ""},
	} {
		t.Run(c.reason, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.seen.stuck()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestVigil is the story of joining that waits: it neither believes too early nor gives up too early.
func TestVigil(t *testing.T) {
	start := time.Unix(1e9, 0)
	says := func(status metav1.ConditionStatus) *v1alpha1.MemberCluster {
		m := &v1alpha1.MemberCluster{}
		m.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionConnected, Status: status, Message: "said " + string(status)}}
		return m
	}
	pulling, backingOff := sight{pods: []corev1.Pod{waitingFor("ContainerCreating", "")}}, sight{pods: []corev1.Pod{waitingFor("ErrImagePull", "no")}}
	expect := func(v *vigil, after time.Duration, reason string, wantConnected, wantHopeless bool) {
		t.Helper()
		if connected, hopeless := v.over(start.Add(after)); connected != wantConnected || hopeless != wantHopeless {
			t.Errorf("%s: connected %t, hopeless %t, want %t and %t", reason, connected, hopeless, wantConnected, wantHopeless)
		}
	}
	t.Run("a new agent", func(t *testing.T) {
		v := &vigil{}
		v.hear(says(metav1.ConditionFalse))
		expect(v, 0, "it is not there", false, false)
		v.hear(says(metav1.ConditionTrue))
		expect(v, 0, "it is there", true, false)
	})
	t.Run("an image that cannot be pulled", func(t *testing.T) {
		v := &vigil{}
		v.look(backingOff, start)
		expect(v, pullPatience-1, "once is no reason to give up", false, false)
		v.look(pulling, start.Add(pullPatience-1))
		v.look(backingOff, start.Add(pullPatience))
		expect(v, pullPatience+1, "it was tried anew in between", false, false)
		v.look(backingOff, start.Add(2*pullPatience))
		expect(v, 2*pullPatience, "again and again", false, true)
		if !strings.Contains(v.why, "node-1") {
			t.Errorf("it says %q", v.why)
		}
	})
	t.Run("an agent that is replaced", func(t *testing.T) {
		v := &vigil{replaced: 2}
		v.hear(says(metav1.ConditionTrue))
		before := &appsv1.Deployment{Status: appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1}}
		v.look(sight{deployment: before}, start)
		expect(v, time.Hour, "the hub speaks of the one before", false, false)
		after := before.DeepCopy()
		after.Status.ObservedGeneration = 2
		v.look(sight{deployment: after}, start)
		expect(v, time.Second, "and may do so for a moment", false, false)
		v.look(sight{deployment: after}, start.Add(lastWord-1))
		expect(v, lastWord, "then it is the new one", true, false)
	})
}
