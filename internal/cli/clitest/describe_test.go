package clitest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestDescribe(t *testing.T) {
	f := newFleet(t)
	shop := &v1alpha1.Package{}
	if err := f.api.Get(t.Context(), kube.ObjectKey{Namespace: "default", Name: "shop"}, shop); err != nil {
		t.Fatal(err)
	}
	f.create(t, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "default", Name: "shop.1"},
		InvolvedObject: corev1.ObjectReference{Kind: "Package", Namespace: "default", Name: "shop", UID: shop.UID},
		Type:           "Normal", Reason: "Released", Message: "Released shop-1a2b3c4d", LastTimestamp: metav1.NewTime(f.now.Add(-time.Minute)), Count: 2,
	})
	cases := []struct {
		reason string
		args   string
		want   []string // lines, with one blank where there are more
	}{
		{
			reason: "a package", args: "describe package shop",
			want: []string{
				"Git: https://git.example.com/fleet.git", "Clusters: 1 of 3 ready, 1 failing, 1 unknown", "Delivered False ClustersFailing",
				"dev Failing shop-1a2b3c4d 4f0c2a9e7b1d 3/4 2/4 0", "prod-eu Ready shop-1a2b3c4d 4f0c2a9e7b1d 4/4 4/4 2", "prod-us Unknown shop-1a2b3c4d",
				"dev apps/web.yaml Deployment.apps shop/web spec.replicas: Invalid value", "prod-eu Role shop/pod-reader: Deleted, put back",
				"60s Normal Released Released shop-1a2b3c4d (2 times)",
			},
		},
		{
			reason: "a cluster", args: "describe cluster prod-us",
			want: []string{"Labels: env=prod,region=us", "Connected: Unknown (4m ago)", "Synced Unknown (was True)", "default/shop Unknown"},
		},
		{
			reason: "a placement", args: "describe pl/shops",
			want: []string{"Selects: env in (dev,prod)", "Packages: shop", "prod-eu True True env=prod,region=eu"},
		},
		{
			reason: "a release", args: "describe release shop-1a2b3c4d",
			want: []string{"Current: yes", "prod 4 2Ki sha256:2c26b46b68ff", "dev prod-eu prod-us"},
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			got := f.run(t.Context(), strings.Fields(c.args)...)
			if got.Code != 0 || got.Err != "" {
				t.Fatalf("got code %d and %q", got.Code, got.Err)
			}
			text := strings.Join(strings.Fields(got.Out), " ")
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("got no %q in:\n%s", want, got.Out)
				}
			}
		})
	}
	if got := f.run(t.Context(), "describe", "package", "nope"); got.Code != 1 || !strings.Contains(got.Err, `there is no package "nope" in namespace "default"`) {
		t.Errorf("describing what does not exist: got %+v", got)
	}
	if got := f.run(t.Context(), "describe", "package"); got.Code != 2 {
		t.Errorf("describing nothing: got %+v, want code 2", got)
	}
}

func TestDescribeJSON(t *testing.T) {
	f := newFleet(t)
	var got struct {
		Package  v1alpha1.Package
		Clusters []struct{ Cluster, State string }
		Hub      struct{ Alive bool }
	}
	read(t, f.run(t.Context(), "describe", "package", "shop", "-o", "json"), &got)
	states := map[string]string{}
	for _, c := range got.Clusters {
		states[c.Cluster] = c.State
	}
	if diff := cmp.Diff(map[string]string{"dev": "Failing", "prod-eu": "Ready", "prod-us": "Unknown"}, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	if got.Package.Name != "shop" || got.Package.Kind != "Package" || !got.Hub.Alive {
		t.Errorf("got %+v, want the package and a hub that is alive", got)
	}
}

// TestDescribeClusterAsksForNodes through the hub, and says so when nobody tells.
func TestDescribeClusterAsksForNodes(t *testing.T) {
	f := newFleet(t)
	f.membersOf(t)
	says := func(cluster string, want ...string) {
		t.Helper()
		got := f.run(t.Context(), "describe", "cluster", cluster)
		text := strings.Join(strings.Fields(got.Out), " ")
		for _, line := range want {
			if got.Code != 0 || got.Err != "" || !strings.Contains(text, line) {
				t.Errorf("%q is not in:\n%s%s", line, got.Out, got.Err)
			}
		}
	}
	says("prod-eu", "Nodes: none: no pod can run")
	ago := metav1.NewTime(f.now.Add(-7 * time.Minute))
	node := func(name string, conditions ...corev1.NodeCondition) *corev1.Node {
		for i := range conditions {
			conditions[i].LastTransitionTime = ago
		}
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{Conditions: conditions}}
	}
	ready := corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue}
	f.create(t, node("n-1", ready, corev1.NodeCondition{Type: corev1.NodeDiskPressure, Status: corev1.ConditionFalse}))
	says("prod-eu", "Nodes: 1 of 1 ready")
	f.create(t, node("n-2", ready, corev1.NodeCondition{Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue, Reason: "KubeletHasDiskPressure", Message: "kubelet has disk pressure"}))
	says("prod-eu", "Nodes: 2 of 2 ready, and not all take pods", "n-2 DiskPressure 7m kubelet has disk pressure", "`umbel kubectl prod-eu -- describe node n-2` shows what it lacks")
	f.create(t, node("n-3", corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionUnknown, Message: "Kubelet stopped posting node status."}))
	says("prod-eu", "Nodes: 2 of 3 ready", "n-3 NotReady 7m Kubelet stopped posting node status.")
	says("lab", `Nodes: not known: user "ada" may not reach cluster "lab"`)
	got := f.run(t.Context(), "describe", "cluster", "prod-us") // its agent is gone: nobody is asked
	if strings.Contains(got.Out, "Nodes:") {
		t.Errorf("of a cluster that is not connected:\n%s", got.Out)
	}
	var about struct{ Nodes struct{ Nodes, Ready int } }
	read(t, f.run(t.Context(), "describe", "cluster", "prod-eu", "-o", "json"), &about)
	if about.Nodes.Nodes != 3 || about.Nodes.Ready != 2 {
		t.Errorf("as JSON: %+v", about)
	}
}
