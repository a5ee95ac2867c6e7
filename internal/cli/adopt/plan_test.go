package adopt

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/member"
	"umbel.dev/umbel/internal/cli/adopt/origin"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/delivery/bundle"
)

func configMap(t *testing.T, name, value string, labels map[string]string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	raw, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name, "labels": labels}, "data": map[string]any{"a": value}})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

func keyOf(name string) bundle.Key {
	return bundle.Key{Kind: "ConfigMap", Namespace: "shop", Name: name}
}

func TestJudge(t *testing.T) {
	seen := func(name string, then string, labels map[string]string) member.Seen {
		return member.Seen{Key: keyOf(name), File: "a.yaml", Now: configMap(t, name, "1", labels), Then: configMap(t, name, then, map[string]string{v1alpha1.PackageLabel: "default.shop"})}
	}
	other := seen("c", "1", nil)
	other.Package = "team-a.shop"
	refused := member.Seen{Key: keyOf("d"), Now: configMap(t, "d", "1", nil), Problem: "field .data.a: conflict with \"helm\""}
	all := []member.Seen{
		seen("a", "1", nil), seen("b", "2", map[string]string{"x": "y"}), other, refused, {Key: keyOf("e"), Missing: true},
	}
	managed := &origin.Managed{Objects: []bundle.Key{keyOf("a"), keyOf("b"), keyOf("z")}, Lacks: []string{"spec.postBuild"}, Notes: []string{"a note"}}
	p := Plan{Package: "default/shop", From: "somebody", Cluster: "prod-eu", Source: "a folder"}
	if err := p.judge(managed, all, true); err != nil {
		t.Fatal(err)
	}
	want := Plan{
		Package: "default/shop", From: "somebody", Cluster: "prod-eu", Source: "a folder", Same: 1,
		Differ: []Difference{
			{Object: "ConfigMap shop/b", File: "a.yaml", Diff: "@@ -1,8 +1,6 @@\n apiVersion: v1\n data:\n-  a: \"1\"\n+  a: \"2\"\n kind: ConfigMap\n metadata:\n-  labels:\n-    x: \"y\"\n   name: b\n"},
			{Object: "ConfigMap shop/c", File: "a.yaml", Problem: "it belongs to package team-a.shop already"},
			{Object: "ConfigMap shop/d", Problem: "field .data.a: conflict with \"helm\""},
		},
		Missing: []string{"ConfigMap shop/e"}, Left: []string{"ConfigMap shop/z"}, Lacks: []string{"spec.postBuild"}, Notes: []string{"a note"},
	}
	if diff := cmp.Diff(want, p, cmpopts.IgnoreUnexported(Plan{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := strings.Join(p.against(), ", "); got != "1 thing that Umbel has no word for, 3 objects that would not stay as they are, 1 object that is not there, 1 object that is not in the source" {
		t.Errorf("against it: %s", got)
	}
	var text strings.Builder
	p.write(&text, output.Plain)
	for _, line := range []string{"1 object stays as it is", "  spec.postBuild", "  ConfigMap shop/e", "  ConfigMap shop/z", "      -  a: \"1\"", "Note: a note"} {
		if !strings.Contains(text.String(), line+"\n") {
			t.Errorf("%q is not in:\n%s", line, text.String())
		}
	}

	// What kubectl put there is no list of anybody's.
	p = Plan{Package: "default/shop"}
	if err := p.judge(&origin.Managed{Objects: managed.Objects}, all[:1], false); err != nil {
		t.Fatal(err)
	}
	if against := p.against(); len(against) != 0 || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "2 objects there are not in the source") {
		t.Errorf("against it: %v; notes: %v", against, p.Notes)
	}
	if against := (&Plan{}).against(); len(against) != 1 {
		t.Errorf("nothing is there, and against it speaks %v", against)
	}
}
