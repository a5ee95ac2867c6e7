package preview

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/internal/delivery/apply/fields"
	"umbel.dev/umbel/internal/delivery/sealed"
)

// hidden stands for the value of a Secret.
const hidden = "(not shown)"

// Difference is the unified diff of an object as it is and as it would be; empty when nothing that people say differs.
func Difference(now, then *unstructured.Unstructured) (string, error) {
	before, after := Bare(now), Bare(then)
	if equality.Semantic.DeepEqual(before, after) {
		return "", nil
	}
	leaveOpen(now, then, after)
	if now.GetKind() == "Secret" && now.GroupVersionKind().Group == "" {
		hide(before, after)
	} else if encrypted(now) || encrypted(then) {
		hideValues(before, after)
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
	return tidy(text), nil
}

// tidy has lines that are taken and added again, at the beginning and the end of a change, stay: differences are found by letters, and shown by lines.
func tidy(diff string) string {
	var out, taken, added []string
	change := func() {
		var tail []string
		for len(taken) > 0 && len(added) > 0 && taken[0][1:] == added[0][1:] {
			out, taken, added = append(out, " "+taken[0][1:]), taken[1:], added[1:]
		}
		for len(taken) > 0 && len(added) > 0 && taken[len(taken)-1][1:] == added[len(added)-1][1:] {
			tail = append(tail, " "+taken[len(taken)-1][1:])
			taken, added = taken[:len(taken)-1], added[:len(added)-1]
		}
		slices.Reverse(tail)
		out = slices.Concat(out, taken, added, tail)
		taken, added = nil, nil
	}
	for line := range strings.Lines(diff) {
		switch {
		case line[0] == '-' && len(added) == 0:
			taken = append(taken, line)
		case line[0] == '+':
			added = append(added, line)
		default:
			change()
			if line[0] == '-' {
				taken = append(taken, line)
			} else {
				out = append(out, line)
			}
		}
	}
	change()
	return strings.Join(out, "")
}

// Shown is an object as YAML, as its API server has it but for who manages which field, and for the values of what is secret.
func Shown(o *unstructured.Unstructured) (string, error) {
	shown := o.DeepCopy()
	shown.SetManagedFields(nil)
	if o.GetKind() == "Secret" && o.GroupVersionKind().Group == "" {
		hide(map[string]any{}, shown.Object)
	} else if encrypted(o) {
		hideValues(map[string]any{}, shown.Object)
	}
	text, err := yaml.Marshal(shown.Object)
	return string(text), err
}

// Bare is an object without what the API server writes.
func Bare(o *unstructured.Unstructured) map[string]any {
	fields := o.DeepCopy().Object
	delete(fields, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"} {
		unstructured.RemoveNestedField(fields, "metadata", field)
	}
	for _, field := range []string{"labels", "annotations"} { // a dry run has empty ones, which are not stored
		if in, _, _ := unstructured.NestedMap(fields, "metadata", field); len(in) == 0 {
			unstructured.RemoveNestedField(fields, "metadata", field)
		}
	}
	return fields
}

// open stands for what the API server chooses when a Service is written: another value each time, also when it is only asked.
const open = "(the cluster chooses it)"

// leaveOpen takes out of a Service what it has now that it had not, and that nobody said: its ports on nodes, and its addresses.
func leaveOpen(now, then *unstructured.Unstructured, after map[string]any) {
	if then.GetKind() != "Service" || then.GroupVersionKind().Group != "" {
		return
	}
	said := func(p ...string) bool {
		entry, err := fields.ParseEntry(fields.Ours(then.GetManagedFields()))
		if err != nil {
			return false
		}
		owned, _ := entry.Release(then.Object, p)
		return owned
	}
	had, _, _ := unstructured.NestedMap(now.Object, "spec")
	has, _ := after["spec"].(map[string]any)
	for _, field := range []string{"clusterIP", "clusterIPs", "healthCheckNodePort"} {
		if value, is := has[field]; is && !equality.Semantic.DeepEqual(value, had[field]) && value != "None" && !said("spec", field) {
			has[field] = open
		}
	}
	was := nodePorts(had)
	ports, _ := has["ports"].([]any)
	for i, item := range ports {
		port, _ := item.(map[string]any)
		if value, is := port["nodePort"]; is && value != was[portOf(port)] && !said("spec", "ports", strconv.Itoa(i), "nodePort") {
			port["nodePort"] = open
		}
	}
}

// portOf is what a port of a Service is known by.
func portOf(port map[string]any) [2]any { return [2]any{port["port"], port["protocol"]} }

// nodePorts are the ports on nodes that a Service has.
func nodePorts(spec map[string]any) map[[2]any]any {
	found := map[[2]any]any{}
	ports, _ := spec["ports"].([]any)
	for _, item := range ports {
		if port, is := item.(map[string]any); is {
			found[portOf(port)] = port["nodePort"]
		}
	}
	return found
}

// encrypted says whether an object has, or had, values that came encrypted.
func encrypted(o *unstructured.Unstructured) bool {
	_, is := o.GetAnnotations()[sealed.EncryptedAnnotation]
	return is
}

// hideValues takes all values out of two versions of an object, but who it is. Those that differ stay different.
func hideValues(before, after map[string]any) {
	for _, fields := range []map[string]any{before, after} {
		hideApplied(fields)
	}
	for key := range after {
		if key != "apiVersion" && key != "kind" && key != "metadata" {
			after[key] = hideLeaves(after[key], before[key], before[key] != nil)
		}
	}
	for key := range before {
		if key != "apiVersion" && key != "kind" && key != "metadata" {
			before[key] = hideLeaves(before[key], nil, false)
		}
	}
}

// hideLeaves returns what is in place of a value, and says where it is another one than before.
func hideLeaves(value, was any, had bool) any {
	switch value := value.(type) {
	case map[string]any:
		then, _ := was.(map[string]any)
		shown := make(map[string]any, len(value))
		for key, item := range value {
			old, there := then[key]
			shown[key] = hideLeaves(item, old, there)
		}
		return shown
	case []any:
		then, _ := was.([]any)
		shown := make([]any, len(value))
		for i, item := range value {
			var old any
			if i < len(then) {
				old = then[i]
			}
			shown[i] = hideLeaves(item, old, i < len(then))
		}
		return shown
	}
	if had && !equality.Semantic.DeepEqual(value, was) {
		return hidden + " (another one)"
	}
	return hidden
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

// keepers are annotations in which `kubectl apply`, Fleet and kapp keep the whole object as they applied it.
var keepers = []string{
	"kubectl.kubernetes.io/last-applied-configuration", "objectset.rio.cattle.io/applied", "kapp.k14s.io/original", "kapp.k14s.io/original-diff",
}

// hideApplied hides what others keep of a Secret in annotations.
func hideApplied(o map[string]any) {
	for _, kept := range keepers {
		if _, has, _ := unstructured.NestedString(o, "metadata", "annotations", kept); has {
			_ = unstructured.SetNestedField(o, hidden, "metadata", "annotations", kept) // its parents are there
		}
	}
}

// definition is the kind of what defines kinds.
const definition = "CustomResourceDefinition"

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
