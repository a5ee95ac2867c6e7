package adopt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/internal/kube/kubetest"
)

// The kinds of Flux and of Argo CD are read out of their own modules, as they are.
const (
	fluxKustomizations = "github.com/fluxcd/kustomize-controller@v1.9.6 config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml"
	fluxRepositories   = "github.com/fluxcd/source-controller@v1.9.6 config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml"
	argoApplications   = "github.com/argoproj/argo-cd/v3@v3.4.0 manifests/crds/application-crd.yaml"
)

// kind installs a CustomResourceDefinition on the member, of a file in a module.
func (w *world) kind(t *testing.T, from string) {
	t.Helper()
	module, file, _ := strings.Cut(from, " ")
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module)
	cmd.Dir = t.TempDir()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("downloading %s: %v: %s%s", module, err, out.String(), errs.String())
	}
	var found struct{ Dir string }
	if err := json.Unmarshal(out.Bytes(), &found); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(found.Dir, filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	w.define(t, string(raw))
}

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// define installs a CustomResourceDefinition, and waits until its kind is served.
func (w *world) define(t *testing.T, text string) {
	t.Helper()
	crd := object(t, text)
	_, err := w.dynamic.Resource(definitions).Create(t.Context(), crd, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	err = until("the kind is served", func() error {
		o, err := w.dynamic.Resource(definitions).Get(t.Context(), crd.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
		for _, c := range conditions {
			if c := c.(map[string]any); c["type"] == "Established" && c["status"] == "True" {
				return nil
			}
		}
		return fmt.Errorf("it says %v", conditions)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// object reads one object of YAML.
func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatalf("%v in %.200s", err, text)
	}
	return o
}

// create makes an object, with its status where the kind has that for itself.
func (w *world) create(t *testing.T, gvr schema.GroupVersionResource, o *unstructured.Unstructured) {
	t.Helper()
	namespace := object(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+o.GetNamespace()+"}")
	_, err := w.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Create(t.Context(), namespace, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	at := w.dynamic.Resource(gvr).Namespace(o.GetNamespace())
	made, err := at.Create(t.Context(), o, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if status, has := o.Object["status"]; has {
		made.Object["status"] = status
		if _, err := at.UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
}

// patch changes an object by a merge patch of YAML.
func (w *world) patch(t *testing.T, gvr schema.GroupVersionResource, namespace, name, change string) {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(change))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.dynamic.Resource(gvr).Namespace(namespace).Patch(t.Context(), name, types.MergePatchType, raw, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// field returns what is at a path of an object.
func (w *world) field(t *testing.T, gvr schema.GroupVersionResource, namespace, name string, path ...string) any {
	t.Helper()
	o, err := w.dynamic.Resource(gvr).Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	value, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
	return value
}

// engine applies a folder by the engine of somebody else (test/peers), and returns how many objects it says that it changed.
func (w *world) engine(t *testing.T, program, namespace, name, folder string) int {
	t.Helper()
	kube, err := kubetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(kube), program), "-kubeconfig", w.direct, "-namespace", namespace, "-name", name, folder)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s (`make peers` builds it): %v\n%s", program, err, errs.String())
	}
	var result struct{ Changed int }
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	return result.Changed
}
