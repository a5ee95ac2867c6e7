package render_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"umbel.dev/umbel/internal/delivery/render"
)

// TestWhatObjectsAskFor: a mistake in an annotation is refused with its file and object, also when it comes of a variable.
func TestWhatObjectsAskFor(t *testing.T) {
	asks := func(name, annotation, value string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: shop, annotations: {%s: %q}}\n", name, annotation, value)
	}
	for _, tc := range []struct {
		reason string
		files  []string
		want   []string
	}{
		{reason: "one after the other", files: []string{asks("a", "umbel.dev/depends-on", "ConfigMap b"), asks("b", "umbel.dev/drift", "report")}},
		{reason: "each after the other", files: []string{asks("a", "umbel.dev/depends-on", "ConfigMap b"), asks("b", "config.kubernetes.io/depends-on", "/namespaces/shop/ConfigMap/a")},
			want: []string{"app/0.yaml: ConfigMap shop/a: it depends on itself: ConfigMap shop/a → ConfigMap shop/b → ConfigMap shop/a", "app/1.yaml: ConfigMap shop/b"}},
		{reason: "after what is not there", files: []string{asks("a", "umbel.dev/depends-on", "Secret b")}, want: []string{"app/0.yaml: ConfigMap shop/a: it depends on Secret b, which is not in this package"}},
		{reason: "in a way that nobody knows", files: []string{asks("a", "umbel.dev/drift", "fix")}, want: []string{`app/0.yaml: ConfigMap shop/a: metadata.annotations: annotation umbel.dev/drift: "fix" has to be repair, report or ignore`}},
		{reason: "by a variable", files: []string{asks("a", "umbel.dev/depends-on", "ConfigMap ${cluster.name}")}, want: []string{"it depends on ConfigMap eu, which is not in this package"}},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			files := fstest.MapFS{}
			for i, text := range tc.files {
				files[fmt.Sprintf("app/%d.yaml", i)] = &fstest.MapFile{Data: []byte(text)}
			}
			rendered, err := render.Objects(files, "app")
			if err == nil {
				_, err = rendered.For([]string{"eu"}[:len(rendered.Variables)])
			}
			if len(tc.want) == 0 && err != nil {
				t.Errorf("got %v", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
}
