package render

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInline(t *testing.T) {
	const good = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"${cluster.name}","uid":"1"},"data":{"n":"${cluster.labels.x}"}}`
	rendered, err := Inline([][]byte{[]byte(good), []byte(`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"b"}}]}`)})(Choice{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"cluster.labels.x", "cluster.name"}, rendered.Variables); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	entries, err := rendered.For([]string{"y", "eu"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(entries[0].Object), `{"apiVersion":"v1","data":{"n":"y"},"kind":"ConfigMap","metadata":{"name":"a","namespace":"eu"}}`; got != want || entries[0].File != "spec.source.inline.objects[0]" {
		t.Errorf("got %s from %s, want %s", got, entries[0].File, want)
	}
	for _, tc := range []struct{ reason, manifest, want string }{
		{"no JSON", `{`, "spec.source.inline.objects[0]: unexpected EOF"},
		{"a text", `"x"`, "spec.source.inline.objects[0]: holds a string where an object has to be"},
		{"nothing", `null`, "spec.source.inline.objects[0]: holds nothing where"},
		{"no kind", `{"apiVersion":"v1"}`, "spec.source.inline.objects[0]: kind is missing: it has to be a Kubernetes manifest"},
		{"no name", `{"apiVersion":"v1","kind":"X","metadata":{}}`, "spec.source.inline.objects[0]: X : metadata.name: is missing"},
	} {
		if _, err := Inline([][]byte{[]byte(tc.manifest)})(Choice{}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q in it", tc.reason, err, tc.want)
		}
	}
	if _, err := Inline(nil)(Choice{}); !errors.Is(err, ErrEmpty) {
		t.Errorf("no object: got %v", err)
	}
}

// FuzzInline: whatever two manifests are that stand in a Package, they are objects that make a bundle, the same each time, or an error that
// names the field.
func FuzzInline(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"n":"${cluster.name}"}}`), []byte(`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"b"}}]}`))
	f.Add([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`), []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`))
	f.Add([]byte(`{"apiVersion":"clusterregistry.k8s.io/v1","kind":"ClusterSelector","metadata":{"name":"s"},"spec":{"selector":{"matchLabels":{"a":"b"}}}}`),
		[]byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","annotations":{"configmanagement.gke.io/cluster-selector":"s"}},"sops":{"mac":"x"}}`))
	f.Add([]byte(`{"kind":"List","items":[null,[],{"kind":"List"}]}`), []byte(`[1e999, "\ud800"]`))
	f.Add([]byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","annotations":{"helm.sh/hook":"test","umbel.dev/depends-on":"Pod x"}},"a":1.0,"a":-0}`), []byte("{}"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		rendered := drawnOf(Inline([][]byte{one, two})(Choice{}))
		if again := drawnOf(Inline([][]byte{one, two})(Choice{})); again != rendered {
			t.Errorf("it gives %+v, and then %+v", rendered, again)
		}
		if rendered.err != "" && !strings.Contains(rendered.err, inlineField) && !strings.Contains(rendered.err, ErrNothing.Error()) && !strings.Contains(rendered.err, "no object") {
			t.Errorf("an error that names no field: %s", rendered.err)
		}
	})
}
