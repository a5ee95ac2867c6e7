package autoscale

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestWhatAPoolSays(t *testing.T) {
	deployment := func(annotations map[string]string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"replicas": int64(1), "template": map[string]any{
			"metadata": map[string]any{"labels": map[string]any{"node.cluster.x-k8s.io/size": "big", "stays": "here"}},
			"spec":     map[string]any{"taints": []any{map[string]any{"key": "size", "value": "big", "effect": "NoSchedule", "propagation": "Always"}}},
		}}}}
		o.SetName("dev-big")
		o.SetAnnotations(annotations)
		return o
	}
	of := func(least, most string, more ...string) map[string]string {
		a := map[string]string{v1alpha1.PoolMinAnnotation: least, v1alpha1.PoolMaxAnnotation: most}
		for _, text := range more {
			key, value, _ := strings.Cut(text, ": ")
			a[key] = value
		}
		return a
	}
	if _, ok, err := poolOf(deployment(map[string]string{v1alpha1.PoolMinAnnotation: "0"}), nil); ok || err != nil {
		t.Errorf("half of it: %v, %v", ok, err)
	}
	got, ok, err := poolOf(deployment(of("0", "3", optionAfter+": 30s", optionBelow+": 0.25", capacity+"cpu: 2", capacity+"maxPods: 110", capacity+"labels: zone=a,gpu=", capacity+"taints: gpu=yes:NoExecute")), []string{"x"})
	want := Pool{Name: "dev-big", Min: 0, Max: 3, Replicas: 1, Nodes: []string{"x"}, After: 30 * time.Second, Below: 0.25}
	want.Like.Name = "dev-big"
	want.Like.Labels = map[string]string{"kubernetes.io/os": "linux", "kubernetes.io/hostname": "dev-big", "zone": "a", "gpu": "", "node.cluster.x-k8s.io/size": "big"}
	want.Like.Spec.Taints = []corev1.Taint{{Key: "gpu", Value: "yes", Effect: "NoExecute"}, {Key: "size", Value: "big", Effect: "NoSchedule"}}
	want.Like.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourcePods: resource.MustParse("110")}
	if diff := cmp.Diff(want, got); diff != "" || !ok || err != nil {
		t.Errorf("%v, %v (-want +got):\n%s", ok, err, diff)
	}
	learn(&got, []corev1.Node{node("other", labelled("kubernetes.io/arch", "arm64")), node("x", labelled("kubernetes.io/arch", "amd64"))})
	if cpu := got.Like.Status.Allocatable.Cpu().String(); cpu != "2" || got.Like.Labels["kubernetes.io/arch"] != "amd64" || got.Like.Status.Allocatable.Memory().String() != "4Gi" {
		t.Errorf("of its own node it learned %v, %v", got.Like.Labels, got.Like.Status.Allocatable)
	}
	for _, c := range []struct {
		reason, want string
		annotations  map[string]string
	}{
		{"no number", v1alpha1.PoolMaxAnnotation + ` is "many"`, of("0", "many")},
		{"the wrong way round", "3 to 1 machines", of("3", "1")},
		{"less than none", "-1 to 1 machines", of("-1", "1")},
		{"no time", `scaledownunneededtime is "soon"`, of("0", "1", optionAfter+": soon")},
		{"no amount", `capacity.cluster-autoscaler.kubernetes.io/cpu is "much"`, of("0", "1", capacity+"cpu: much")},
	} {
		if _, _, err := poolOf(deployment(c.annotations), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.reason, err, c.want)
		}
	}
}
