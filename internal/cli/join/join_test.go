package join

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestManifests(t *testing.T) {
	boot := v1alpha1.Bootstrap{Cluster: "dev", Address: "192.0.2.1:7443", CA: "-----BEGIN CERTIFICATE-----\n", Token: "secret"}
	common := []string{"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ClusterRoleBinding", "Secret"}
	for _, test := range []struct {
		reason string
		to     installation
		want   []string
	}{
		{"with an image there is a Deployment", installation{boot: boot, image: "hub/umbel/agent:v1"}, []string{"Deployment"}},
		{"with a class there is a volume", installation{boot: boot, image: "hub/umbel/agent:v1", class: "fast"}, []string{"PersistentVolumeClaim", "Deployment"}},
		{"without an image somebody else runs the agent", installation{boot: boot}, nil},
	} {
		t.Run(test.reason, func(t *testing.T) {
			objects, err := test.to.manifests()
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, o := range objects {
				kinds = append(kinds, o.GetKind())
				if o.GetKind() != "Secret" {
					continue
				}
				data := o.Object["stringData"].(map[string]any)["bootstrap.json"].(string)
				var got v1alpha1.Bootstrap
				if err := json.Unmarshal([]byte(data), &got); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(boot, got); diff != "" {
					t.Errorf("the agent would not find its hub:\n%s", diff)
				}
			}
			if diff := cmp.Diff(append(common[:len(common):len(common)], test.want...), kinds); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestThePodLeavesANodeThatIsGone: what Kubernetes puts on such a node must not be tolerated for ever, or nothing would
// ever evict the pod; and the pod has to find a node all the same.
func TestThePodLeavesANodeThatIsGone(t *testing.T) {
	const never, always = 0, -1
	pod := deployed(t, installation{image: "hub/umbel/agent:v1"}).Spec.Template.Spec
	for _, c := range []struct {
		taint corev1.Taint
		want  int64 // seconds
	}{
		{corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute}, 30},
		{corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoExecute}, 30},
		{corev1.Taint{Key: corev1.TaintNodeOutOfService, Effect: corev1.TaintEffectNoExecute}, never},
		{corev1.Taint{Key: "example.com/being-emptied", Effect: corev1.TaintEffectNoExecute}, never},
		{corev1.Taint{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}, always},
		{corev1.Taint{Key: corev1.TaintNodeDiskPressure, Effect: corev1.TaintEffectNoSchedule}, always},
		{corev1.Taint{Key: "example.com/dedicated", Value: "web", Effect: corev1.TaintEffectNoSchedule}, always},
	} {
		got := int64(never)
		for _, toleration := range pod.Tolerations {
			if !toleration.ToleratesTaint(klog.Background(), &c.taint, false) {
				continue
			}
			got = always
			if toleration.TolerationSeconds != nil {
				got = *toleration.TolerationSeconds
			}
		}
		if got != c.want {
			t.Errorf("%s:%s is tolerated for %d seconds, want %d (%d is for ever)", c.taint.Key, c.taint.Effect, got, c.want, always)
		}
	}
}

// deployed returns the Deployment of an installation.
func deployed(t *testing.T, to installation) *appsv1.Deployment {
	t.Helper()
	objects, err := to.manifests()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.GetKind() != "Deployment" {
			continue
		}
		deployment := &appsv1.Deployment{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, deployment); err != nil {
			t.Fatal(err)
		}
		return deployment
	}
	t.Fatal("there is no Deployment")
	return nil
}

// mustSay reports when an error is missing words; no words mean that there must be none.
func mustSay(t *testing.T, err error, words ...string) {
	t.Helper()
	if len(words) == 0 && err != nil {
		t.Errorf("got error %v, want none", err)
	}
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("got error %v, want it to say %q", err, word)
		}
	}
}
