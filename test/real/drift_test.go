package real

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/internal/delivery/bundle"
)

const packageLabel = "umbel.dev/package"

// Manners of drifting, by what is done to an object.
const (
	deleted   = "deleted"
	changed   = "a field of its release changed"
	unlabeled = "its label of the Package taken off" // what is left where the API server lets nobody change anything else
)

// drift deletes every second object, and changes a field of each of the others, as kubectl edit would. It says what became
// of which.
func (m *member) drift(all []object) map[bundle.ID]string {
	m.t.Helper()
	done := map[bundle.ID]string{}
	for i, o := range all {
		if i%2 == 0 && !o.lasting() {
			m.must(o.at.Delete(m.t.Context(), o.Name, metav1.DeleteOptions{}))
			done[o.ID] = deleted
			continue
		}
		done[o.ID] = m.change(o)
	}
	return done
}

// change has another manager change the first field of the release that the API server lets it change.
func (m *member) change(o object) string {
	m.t.Helper()
	for _, f := range leaves(o.given) {
		for _, value := range others(f.value) {
			patch, err := json.Marshal([]map[string]any{{"op": "test", "path": f.path, "value": f.value}, {"op": "replace", "path": f.path, "value": value}})
			m.must(err)
			_, err = o.at.Patch(m.t.Context(), o.Name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: "somebody"})
			if err == nil {
				return changed
			}
			if refused := apierrors.APIStatus(nil); !errors.As(err, &refused) {
				m.must(err)
			}
		}
	}
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:null}}}`, packageLabel)
	_, err := o.at.Patch(m.t.Context(), o.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "somebody"})
	m.must(err)
	return unlabeled
}

// isBack waits until every object is as it was, as the one that it was or, where that was deleted, as another.
func (m *member) isBack(all []object, before map[bundle.ID]*unstructured.Unstructured, drift map[bundle.ID]string) {
	m.t.Helper()
	for _, o := range all {
		m.eventually(fmt.Sprintf("%s is back (%s)", o.ID, drift[o.ID]), func() error {
			live, err := o.at.Get(m.t.Context(), o.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			was := before[o.ID]
			if (live.GetUID() != was.GetUID()) != (drift[o.ID] == deleted) {
				return fmt.Errorf("uid %s, was %s", live.GetUID(), was.GetUID())
			}
			if diff := cmp.Diff(content(was), content(live)); diff != "" {
				return errors.New(diff)
			}
			return nil
		})
	}
}

// content is what an object says, without what its API server says of it.
func content(of *unstructured.Unstructured) map[string]any {
	object := of.DeepCopy().Object
	delete(object, "status")
	for _, name := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"} {
		unstructured.RemoveNestedField(object, "metadata", name)
	}
	if of.GetKind() == "Service" { // addresses and ports of nodes are given out anew
		for _, name := range []string{"clusterIP", "clusterIPs", "healthCheckNodePort"} {
			unstructured.RemoveNestedField(object, "spec", name)
		}
		ports, _, _ := unstructured.NestedSlice(object, "spec", "ports")
		for _, port := range ports {
			delete(port.(map[string]any), "nodePort")
		}
		_ = unstructured.SetNestedSlice(object, ports, "spec", "ports")
	}
	return object
}

// leaf is a value of an object that has no others in it, with its JSON pointer.
type leaf struct {
	path  string
	value any
}

// keys name the fields by which Kubernetes knows an item of a list: one with another key is an item of somebody else, and is
// left alone.
var keys = []string{"name", "containerPort", "port", "protocol", "mountPath", "devicePath", "ip", "key", "topologyKey", "whenUnsatisfiable", "type", "uid"}

func without(fields map[string]any, names []string) map[string]any {
	fields = maps.Clone(fields)
	for _, name := range names {
		delete(fields, name)
	}
	return fields
}

// leaves are those of a release's object that drift is about, metadata last.
func leaves(object map[string]any) []leaf {
	var all []leaf
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(value)) {
				walk(path+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(key), value[key])
			}
		case []any:
			for i, item := range value {
				if fields, ok := item.(map[string]any); ok && path != "/subjects" { // those of a binding are one value
					item = without(fields, keys)
				}
				walk(fmt.Sprintf("%s/%d", path, i), item)
			}
		case nil:
		default:
			all = append(all, leaf{path, value})
		}
	}
	walk("", object)
	var own, about []leaf
	for _, f := range all {
		switch {
		case strings.HasPrefix(f.path, "/metadata/labels/"), strings.HasPrefix(f.path, "/metadata/annotations/"):
			about = append(about, f)
		case f.path != "/apiVersion" && f.path != "/kind" && !strings.HasPrefix(f.path, "/metadata/") && !strings.HasPrefix(f.path, "/status/"):
			own = append(own, f)
		}
	}
	all = append(own, about...)
	return all[:min(len(all), 200)]
}

// others are values that may stand where one stands, and are not it.
func others(than any) []any {
	switch value := than.(type) {
	case bool:
		return []any{!value}
	case float64:
		return []any{value + 1, value - 1}
	case string:
		return []any{value + "x", "x" + value, "1"}
	}
	return nil
}

// TestLeaves: what is changed is what a release gives and a person may change, the object's own matters first.
func TestLeaves(t *testing.T) {
	object := map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "a", "labels": map[string]any{"app/x": "b"}},
		"data":     map[string]any{"k": "v"},
		"list":     []any{map[string]any{"n": 1.0, "name": "x"}},
		"status":   map[string]any{"ready": true},
	}
	want := []leaf{{"/data/k", "v"}, {"/list/0/n", 1.0}, {"/metadata/labels/app~1x", "b"}}
	if got := leaves(object); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
