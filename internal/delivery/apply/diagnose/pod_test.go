package diagnose

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func pod(name string, change func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}, Status: corev1.PodStatus{Phase: corev1.PodPending}}
	change(&p)
	return p
}

func waiting(reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "app", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}
	}
}

func crashing(code int32, reason string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		waiting("CrashLoopBackOff", "back-off 40s restarting failed container")(p)
		p.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason}
	}
}

func TestDecide(t *testing.T) {
	unschedulable := pod("web-a", func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }. " +
			"no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."}}
	})
	well := pod("web-ok", func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		p.Status.Phase = corev1.PodRunning
	})
	running := pod("web-b", func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	})
	warning := func(about, reason, message string) corev1.Event {
		return corev1.Event{
			Type: corev1.EventTypeWarning, Reason: reason, Message: message, InvolvedObject: corev1.ObjectReference{Name: about},
			LastTimestamp: metav1.NewTime(time.Unix(int64(len(message)), 0)),
		}
	}
	leaving := pod("web-old", crashing(1, "Error"))
	leaving.DeletionTimestamp = &metav1.Time{}
	refused := map[string]any{"status": map[string]any{"conditions": []any{map[string]any{
		"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": `pods "web-" is forbidden: exceeded quota: small`,
	}}}}
	for _, tc := range []struct {
		reason string
		object map[string]any
		pods   []corev1.Pod
		events []corev1.Event
		want   string
	}{
		{reason: "all is well", pods: []corev1.Pod{well}},
		{reason: "an image that is not there", pods: []corev1.Pod{well, pod("web-abc", waiting("ImagePullBackOff", `Back-off pulling image "web:9"`))}, want: `pod web-abc: container app: ImagePullBackOff: Back-off pulling image "web:9"`},
		{reason: "no node takes it", pods: []corev1.Pod{unschedulable}, want: "pod web-a: 0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }."},
		{
			reason: "it ends again and again: its log is not read, the command is told", pods: []corev1.Pod{pod("web-b", crashing(1, "Error")), pod("web-a", crashing(137, "OOMKilled"))},
			want: "pod web-a: container app: CrashLoopBackOff, exit code 137 (OOMKilled); `kubectl logs -n shop web-a -c app --previous` shows why (and 1 more pod)",
		},
		{reason: "one that is on its way out tells nothing", pods: []corev1.Pod{leaving, well}},
		{reason: "a container that cannot start tells more than a node that is full", pods: []corev1.Pod{unschedulable, pod("web-z", waiting("CreateContainerConfigError", `secret "token" not found`))}, want: `pod web-z: container app: CreateContainerConfigError: secret "token" not found`},
		{
			reason: "a volume that cannot be mounted", pods: []corev1.Pod{pod("web-a", waiting("ContainerCreating", ""))},
			events: []corev1.Event{warning("web-a", "FailedMount", "no such secret"), warning("web-a", "FailedScheduling", "old"), warning("other", "FailedMount", "of another, and much longer")},
			want:   "pod web-a: FailedMount: no such secret",
		},
		{
			reason: "it runs and a probe fails", pods: []corev1.Pod{running}, events: []corev1.Event{warning("web-b", "Unhealthy", "Readiness probe failed: 503")},
			want: "pod web-b: Unhealthy: Readiness probe failed: 503",
		},
		{reason: "it runs and nobody knows why it is not ready", pods: []corev1.Pod{running}, want: "pod web-b: container app runs and is not ready"},
		{reason: "pods cannot be made", object: refused, want: `FailedCreate: pods "web-" is forbidden: exceeded quota: small`},
		{reason: "no pods, and an event that says why", events: []corev1.Event{warning("web", "FailedCreate", "no service account")}, want: "FailedCreate: no service account"},
		{reason: "it takes its time", pods: []corev1.Pod{pod("web-a", waiting("ContainerCreating", ""))}, want: "pod web-a: it is being started"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			object := &unstructured.Unstructured{Object: map[string]any{}}
			if tc.object != nil {
				object.Object = tc.object
			}
			object.SetName("web")
			if got := decide(object, tc.pods, tc.events); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}
