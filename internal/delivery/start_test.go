package delivery_test

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// refuse has the API refuse every change of a Package.
func (h *hub) refuse(name string) {
	h.t.Helper()
	rule := map[string]any{"apiGroups": []any{"umbel.dev"}, "apiVersions": []any{"*"}, "resources": []any{"packages"}, "operations": []any{"UPDATE"}}
	policy := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
		"metadata": map[string]any{"name": h.namespace},
		"spec": map[string]any{
			"matchConstraints": map[string]any{"resourceRules": []any{rule}},
			"matchConditions":  []any{map[string]any{"name": "it", "expression": "object.metadata.namespace == '" + h.namespace + "' && object.metadata.name == '" + name + "'"}},
			"validations":      []any{map[string]any{"expression": "false"}},
		},
	}}
	binding := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
		"metadata": map[string]any{"name": h.namespace},
		"spec":     map[string]any{"policyName": h.namespace, "validationActions": []any{"Deny"}},
	}}
	h.must(h.Create(h.t.Context(), policy))
	h.must(h.Create(h.t.Context(), binding))
	h.eventually("the refusal", func() string {
		p := h.pkg(name)
		base := client.MergeFrom(p.DeepCopy())
		p.Labels = map[string]string{"try": "it"}
		if err := h.Patch(h.t.Context(), p, base); !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) {
			return "it may be changed"
		}
		return ""
	})
}

// TestAStartWithAPackageThatCannotBeTouched: a hub that starts answers for all other Packages.
func TestAStartWithAPackageThatCannotBeTouched(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	h.stop()
	for _, name := range []string{"ill", "web"} {
		h.must(h.Create(t.Context(), h.inline(name, "prod", item(name, "a"))))
	}
	h.refuse("ill")
	h.start()
	h.waitTold(eu, v1alpha1.KeyOf(h.namespace, "web"), `"name":"web"`)
	if got := h.told(eu, v1alpha1.KeyOf(h.namespace, "ill")); got != "keep" {
		t.Errorf("of the other one the cluster is told %s", got)
	}
	if len(h.pkg("ill").Finalizers) != 0 {
		t.Error("it could be changed: nothing was tried")
	}
}
