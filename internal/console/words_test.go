package console

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/view"
)

var update = flag.Bool("update", false, "write what the page knows of the API anew")

// TestThePageKnowsTheAPI: the types that the page is compiled with are those of the kinds and answers, field by field.
func TestThePageKnowsTheAPI(t *testing.T) {
	path := filepath.Join("..", "..", "console", "src", "api", "types.ts")
	w := &typeWriter{done: map[string]string{}}
	for _, root := range []any{
		Ways{}, Me{}, Fleet{}, ClusterPage{}, ClusterDetails{}, PackagePage{}, PackageDetails{}, PlacementPage{}, AlertPage{}, CapacityPage{}, PlanSight{}, DriftPage{}, LossPage{}, Hit{}, FoundLine{}, ForeseenPage{}, Manifest{}, Written{}, DashboardPage{}, Dashboard{}, v1alpha1.Scope{},
	} {
		w.name(reflect.TypeOf(root))
	}
	w.done["Health"] = union("Health", view.Healths)
	w.done["State"] = union("State", stateOrder)
	got := "// Written by `go test ./internal/console -update` from the kinds in api/ and the answers in internal/console. Not to be edited.\n"
	for _, name := range slices.Sorted(mapKeys(w.done)) {
		got += "\n" + w.done[name]
	}
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("what the page knows of the API is not what it is; `go test ./internal/console -update` writes it (-file +API):\n%s", diff)
	}
}

func mapKeys(of map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range of {
			if !yield(key) {
				return
			}
		}
	}
}

func union[T ~string](name string, of []T) string {
	var values []string
	for _, value := range of {
		values = append(values, fmt.Sprintf("'%s'", value))
	}
	return "export type " + name + " = " + strings.Join(values, " | ") + "\n"
}

// typeWriter writes Go's types as TypeScript, as they look in JSON.
type typeWriter struct{ done map[string]string }

func (w *typeWriter) name(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime](), reflect.TypeFor[time.Time](), reflect.TypeFor[metav1.Duration]():
		return "string"
	case reflect.TypeFor[intstr.IntOrString]():
		return "(number | string)"
	case reflect.TypeFor[metav1.FieldsV1](), reflect.TypeFor[v1alpha1.InlineObject]():
		return "unknown"
	case reflect.TypeFor[view.Health]():
		return "Health"
	case reflect.TypeFor[view.State]():
		return "State"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return w.name(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Float64:
		return "number"
	case reflect.Slice:
		return w.name(t.Elem()) + "[]"
	case reflect.Map:
		return "Record<string, " + w.name(t.Elem()) + ">"
	case reflect.Struct:
		w.write(t)
		return t.Name()
	}
	return "unknown"
}

func (w *typeWriter) write(t reflect.Type) {
	if _, done := w.done[t.Name()]; done {
		return
	}
	w.done[t.Name()] = ""
	w.done[t.Name()] = "export interface " + t.Name() + " {\n" + w.fields(t) + "}\n"
}

func (w *typeWriter) fields(t reflect.Type) string {
	text := ""
	for field := range t.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "-" || !field.IsExported():
			continue
		case name == "" && field.Anonymous:
			text += w.fields(field.Type)
			continue
		case name == "managedFields":
			continue
		}
		if strings.Contains(name, "-") {
			name = "'" + name + "'"
		}
		optional := ""
		if strings.Contains(options, "omit") {
			optional = "?"
		}
		text += fmt.Sprintf("  %s%s: %s\n", name, optional, w.name(field.Type))
	}
	return text
}
