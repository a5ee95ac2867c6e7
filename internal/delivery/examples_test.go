package delivery_test

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// TestExamplesOfSources: the API takes each of them, and knows every field.
func TestExamplesOfSources(t *testing.T) {
	h := newHub(t)
	files, err := filepath.Glob("../../examples/sources/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("found %d examples, %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		object := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(raw, &object.Object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		strict := &client.CreateOptions{DryRun: []string{"All"}}
		if err := client.WithFieldValidation(h.Client, "Strict").Create(t.Context(), object, strict); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
