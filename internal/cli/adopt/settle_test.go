package adopt

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/delivery/bundle"
)

// TestUnlike: order, files and spaces do not count; an object that is in one alone does, and each value.
func TestUnlike(t *testing.T) {
	entry := func(file, object string) bundle.Entry {
		return bundle.Entry{File: file, Object: json.RawMessage(object)}
	}
	a := entry("a.yaml", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"x"},"data":{"k":"1"}}`)
	b := entry("b.yaml", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b","namespace":"x"}}`)
	for _, c := range []struct {
		reason        string
		before, after []bundle.Entry
		want          []string
	}{
		{"the same", []bundle.Entry{a, b}, []bundle.Entry{b, entry("z", `{"data": {"k": "1"}, "kind": "ConfigMap", "apiVersion": "v1", "metadata": {"namespace": "x", "name": "a"}}`)}, nil},
		{"another value", []bundle.Entry{a}, []bundle.Entry{entry("a", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"x"},"data":{"k":"2"}}`)}, []string{"ConfigMap x/a"}},
		{"one is gone", []bundle.Entry{a, b}, []bundle.Entry{a}, []string{"ConfigMap x/b"}},
		{"one is new", []bundle.Entry{a}, []bundle.Entry{a, b}, []string{"ConfigMap x/b"}},
		{"nothing is left", []bundle.Entry{a}, nil, []string{"ConfigMap x/a"}},
	} {
		got, err := unlike(c.before, c.after)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
	if _, err := unlike([]bundle.Entry{a}, []bundle.Entry{entry("bad.yaml", "{")}); err == nil {
		t.Error("what cannot be read was taken for the same")
	}
}
