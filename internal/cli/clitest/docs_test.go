package clitest_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestExamplesAreValid: the API takes every whole object of Umbel that the docs and the examples show, and knows every field of it.
func TestExamplesAreValid(t *testing.T) {
	f := newFleet(t)
	const root = "../../../"
	shown := map[string]bool{}
	for _, pattern := range []string{"docs/kinds/*.md", "docs/operate/*.md", "examples/sources/*.yaml", "examples/packages.yaml"} {
		paths, err := filepath.Glob(root + pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %d files (%v)", pattern, len(paths), err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			blocks := []string{strings.ReplaceAll(string(text), "REPOSITORY", "file:///fleet")}
			if strings.HasSuffix(path, ".md") {
				blocks = yamlBlocks(string(text))
			}
			for _, block := range blocks {
				for _, object := range decode(t, path, block) {
					f.takes(t, path, object)
					shown[object.GetKind()] = true
				}
			}
		}
	}
	for _, kind := range []string{"MemberCluster", "Package", "Placement", "Release", "Plan", "Scope", "AgentUpgrade"} {
		if !shown[kind] {
			t.Errorf("no page shows a whole %s", kind)
		}
	}
}

// yamlBlocks are the blocks of a page that are YAML and begin with an object of Umbel's; those that elide something are not whole.
func yamlBlocks(page string) (blocks []string) {
	for i, part := range strings.Split(page, "```") {
		block, isYAML := strings.CutPrefix(part, "yaml\n")
		if i%2 == 1 && isYAML && strings.HasPrefix(block, "apiVersion: umbel.dev/") && !strings.Contains(block, "  # source, placementRef") {
			blocks = append(blocks, block)
		}
	}
	return blocks
}

// decode returns the objects of Umbel in a stream of YAML.
func decode(t *testing.T, path, text string) (objects []*unstructured.Unstructured) {
	t.Helper()
	for documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(text)), 4096); ; {
		object := &unstructured.Unstructured{}
		err := documents.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if object.GroupVersionKind().Group == v1alpha1.GroupVersion.Group {
			objects = append(objects, object)
		}
	}
}

// takes asks the API whether it would create the object, as `kubectl create` does, which refuses fields that it does not know.
func (f *fleet) takes(t *testing.T, path string, object *unstructured.Unstructured) {
	t.Helper()
	object.SetName("example-of-" + strings.ToLower(object.GetName())) // what there is already is no matter
	if object.GetKind() == "AgentUpgrade" {
		object.SetName("agents")
	}
	if object.GetNamespace() != "" {
		object.SetNamespace(metav1.NamespaceDefault)
	}
	if err := f.api.Create(t.Context(), object, kube.DryRunAll, kube.FieldValidation(metav1.FieldValidationStrict)); err != nil {
		t.Errorf("%s: %s %s: %v", filepath.Base(path), object.GetKind(), object.GetName(), err)
	}
}
