package gateway

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// The API server notes who set which field of a MemberCluster when somebody has applied it, and otherwise does not.
func TestManagedFields(t *testing.T) {
	h := newHub(t)
	h.joined("made")
	if noted := h.member("made").ManagedFields; len(noted) > 0 {
		t.Errorf("after joining, the API server notes %v", noted)
	}
	h.change("made", func(m *v1alpha1.MemberCluster) { m.Labels = map[string]string{"env": "prod"} })
	if noted := h.member("made").ManagedFields; len(noted) > 0 {
		t.Errorf("after a label was set, the API server notes %v", noted)
	}

	apply := func(labels map[string]any) {
		t.Helper()
		object := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "applied", "labels": labels}}}
		object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MemberCluster"))
		if err := h.client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("flux")); err != nil {
			t.Fatal(err)
		}
	}
	apply(map[string]any{"env": "prod", "region": "eu"})
	h.eventually("the hub holds the MemberCluster", func() (bool, string) {
		finalizers := h.member("applied").Finalizers
		return len(finalizers) > 0, fmt.Sprint(finalizers)
	})
	apply(map[string]any{"region": "eu"})
	if labels := h.member("applied").Labels; len(labels) != 1 || labels["region"] != "eu" {
		t.Errorf("the label env did not leave with the manifest: %v", labels)
	}
}
