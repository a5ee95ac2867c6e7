package adopt

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/origin"
	"umbel.dev/umbel/internal/cli/adopt/owner"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// TestAClusterRemembers: how the other was before the first attempt, for the very Package that took over, and until it is forgotten.
func TestAClusterRemembers(t *testing.T) {
	config := kubetest.Start(t)
	api := kubernetes.NewForConfigOrDie(config)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AgentNamespace}}
	if _, err := api.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	m := memoryOf(dynamic.NewForConfigOrDie(config), "default/shop")
	knows := func(of types.UID, want *adoption) {
		t.Helper()
		got, err := m.recall(t.Context(), of)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("it remembers (-want +got):\n%s", diff)
		}
	}
	first := adoption{
		Package: "1", From: origin.Ref{Kind: origin.Kustomization, Namespace: "flux-system", Name: "one"}, Control: "tools",
		Managers: []owner.Manager{{Name: "kustomize-controller", Operation: metav1.ManagedFieldsOperationApply}}, Was: json.RawMessage(`{"suspend":false}`),
	}
	stopped := first
	stopped.Was = json.RawMessage(`{"suspend":true}`)
	knows("1", nil)
	for _, a := range []adoption{first, stopped} {
		if err := m.remember(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		knows("1", &first)
	}
	knows("2", nil) // of the same name, after the first was deleted
	stopped.Package = "2"
	if err := m.remember(t.Context(), stopped); err != nil {
		t.Fatal(err)
	}
	knows("1", nil)
	knows("2", &stopped)
	garbage := []byte(`{"data":{"adoption.json":"Z2FyYmFnZQ=="}}`)
	if _, err := api.CoreV1().Secrets(v1alpha1.AgentNamespace).Patch(t.Context(), m.name, types.MergePatchType, garbage, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.recall(t.Context(), "2"); err == nil || !strings.Contains(err.Error(), "secret umbel-agent/umbel-adoption.default.shop") {
		t.Errorf("garbage: %v", err)
	}
	for range 2 {
		if err := m.forget(t.Context()); err != nil {
			t.Fatal(err)
		}
		knows("2", nil)
	}
}
