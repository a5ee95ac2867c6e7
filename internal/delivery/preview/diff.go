package preview

import (
	"encoding/json"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// hidden stands for the value of a Secret.
const hidden = "(not shown)"

// Difference is the unified diff of an object as it is and as it would be; empty when nothing that people say differs.
func Difference(now, then *unstructured.Unstructured) (string, error) {
	before, after := bare(now), bare(then)
	if equality.Semantic.DeepEqual(before, after) {
		return "", nil
	}
	if now.GetKind() == "Secret" && now.GroupVersionKind().Group == "" {
		hide(before, after)
	}
	was, err := yaml.Marshal(before)
	if err != nil {
		return "", err
	}
	is, err := yaml.Marshal(after)
	if err != nil {
		return "", err
	}
	text := udiff.Unified("now", "then", string(was), string(is))
	_, text, _ = strings.Cut(text, "\n") // --- now
	_, text, _ = strings.Cut(text, "\n") // +++ then
	return text, nil
}

// bare is an object without what the API server writes.
func bare(o *unstructured.Unstructured) map[string]any {
	fields := o.DeepCopy().Object
	delete(fields, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"} {
		unstructured.RemoveNestedField(fields, "metadata", field)
	}
	return fields
}

// hide takes the values out of two versions of a Secret. Those that differ stay different.
func hide(before, after map[string]any) {
	for _, field := range []string{"data", "stringData"} {
		was, _ := before[field].(map[string]any)
		is, _ := after[field].(map[string]any)
		for key, value := range is {
			old, had := was[key]
			if is[key] = hidden; had && old != value {
				is[key] = hidden + " (another one)"
			}
		}
		for key := range was {
			was[key] = hidden
		}
	}
	hideApplied(before)
	hideApplied(after)
}

// hideApplied hides what `kubectl apply` keeps of a Secret in an annotation.
func hideApplied(o map[string]any) {
	const kept = "kubectl.kubernetes.io/last-applied-configuration"
	if _, has, _ := unstructured.NestedString(o, "metadata", "annotations", kept); has {
		_ = unstructured.SetNestedField(o, hidden, "metadata", "annotations", kept) // its parents are there
	}
}

// defines returns the kind that an object defines, when it is a CustomResourceDefinition.
func defines(object []byte) (schema.GroupKind, bool) {
	var definition struct {
		Kind string `json:"kind"`
		Spec struct {
			Group string `json:"group"`
			Names struct {
				Kind string `json:"kind"`
			} `json:"names"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(object, &definition); err != nil || definition.Kind != "CustomResourceDefinition" {
		return schema.GroupKind{}, false
	}
	return schema.GroupKind{Group: definition.Spec.Group, Kind: definition.Spec.Names.Kind}, true
}
