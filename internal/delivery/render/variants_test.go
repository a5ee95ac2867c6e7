package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/delivery/variable"
)

// familyOn returns the objects that a cluster gets of a family, as JSON, one a line.
func familyOn(f *Family, cluster variable.Cluster) (string, error) {
	values := make([]string, len(f.Variables))
	for i, name := range f.Variables {
		value, has := variable.Value(name, cluster)
		if !has {
			return "", fmt.Errorf("lacks %s", name)
		}
		values[i] = value
	}
	entries, err := f.For(values)
	var text strings.Builder
	for _, entry := range entries {
		text.Write(entry.Object)
		text.WriteByte('\n')
	}
	return text.String(), err
}

var clusters = []variable.Cluster{fleet["bare"], fleet["dev"], fleet["prod"]}

func TestVariants(t *testing.T) {
	files := tree(map[string]string{
		"app/kustomization.yaml":        "resources: [a.yaml]\n",
		"app/a.yaml":                    config("a") + "data: {replicas: '${package.variables.replicas}', text: 'r=${package.variables.replicas}', from: '${package.variables.from:-nowhere}', tls: '${package.variables.tls:-false}'}\n",
		"tls/kustomization.yaml":        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [b.yaml]\n",
		"tls/b.yaml":                    config("b") + "data: {x: '${cluster.labels.region}'}\n",
		"components/kustomization.yaml": "nothing: here\n",
	})
	variants := []Variant{
		{Choice: Choice{Variables: map[string]any{"replicas": json.Number("1")}}},
		{Selector: "cluster.matches(env=prod)", Choice: Choice{Components: []string{"../tls"}, Variables: map[string]any{"replicas": json.Number("3"), "tls": true}}},
		{Selector: "cluster.matches(env)", Choice: Choice{Variables: map[string]any{"from": "env"}}},
	}
	makes, calls := Folder(files, "app"), 0
	counted := func(choice Choice) (*Rendered, error) { calls++; return makes(choice) }
	f, err := Variants(counted, variants, append(clusters, clusters...))
	if err != nil {
		t.Fatal(err)
	}
	if calls != 3 {
		t.Errorf("%d renderings for 6 clusters that make 3 choices", calls)
	}
	want := []string{"cluster.matches(env)", "cluster.matches(env=prod)", "if cluster.matches(env=prod) cluster.labels.region"}
	if diff := cmp.Diff(want, f.Variables); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	for name, want := range map[string][]string{
		"bare": {`"replicas":1,`, `"text":"r=1"`, `"from":"nowhere"`, `"tls":false`},
		"dev":  {`"replicas":1,`, `"from":"env"`},
		"prod": {`"replicas":3,`, `"text":"r=3"`, `"tls":true`, `"name":"b"`, `"x":"eu"`},
	} {
		got, err := familyOn(f, fleet[name])
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, text := range want {
			if !strings.Contains(got, text) {
				t.Errorf("%s lacks %s: %s", name, text, got)
			}
		}
		if strings.Contains(got, `"name":"b"`) != (name == "prod") {
			t.Errorf("the component of prod on %s: %s", name, got)
		}
	}
	if got := f.File("if cluster.matches(env=prod) cluster.labels.region"); got != "tls/b.yaml" {
		t.Errorf("the region is asked for in %q", got)
	}
	if _, err := f.For([]string{"false", "true", ""}); err == nil {
		t.Error("there is content for a choice that no cluster made")
	}
	if _, err := f.For(nil); err == nil {
		t.Error("For takes no values for three variables")
	}
}

func TestVariantErrors(t *testing.T) {
	plain := tree(map[string]string{"a.yaml": config("a")})
	kustomized := tree(map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": config("a")})
	for _, tc := range []struct {
		reason string
		makes  Maker
		choice Choice
		want   string
	}{
		{"a component for plain files", Folder(plain, "."), Choice{Components: []string{"c"}}, `component "c" of spec.variants has nothing to be added to: folder "." has no kustomization.yaml`},
		{"a component for inline objects", Inline([][]byte{[]byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"b"}}`)}), Choice{Components: []string{"c"}}, "objects that stand in the Package are no kustomization"},
		{"a component that is not there", Folder(kustomized, "."), Choice{Components: []string{"../c"}}, "c"},
		{"a component on the web", Folder(kustomized, "."), Choice{Components: []string{"https://example.org/c"}}, `spec.variants: kustomize.components: "https://example.org/c" is not in this repository`},
	} {
		if _, err := Variants(tc.makes, []Variant{{Choice: tc.choice}}, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q in it", tc.reason, err, tc.want)
		}
	}
}

// TestAVariableThatNoVariantGives concerns the clusters that no variant gives it to, and no other.
func TestAVariableThatNoVariantGives(t *testing.T) {
	files := tree(map[string]string{"a.yaml": config("a") + "data: {x: 'of ${package.variables.owner}'}\n"})
	variants := []Variant{{Selector: "cluster.matches(env=prod)", Choice: Choice{Variables: map[string]any{"owner": "ops"}}}}
	f, err := Variants(Folder(files, "."), variants, clusters)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := familyOn(f, fleet["prod"]); err != nil || !strings.Contains(got, "of ops") {
		t.Errorf("got %s, %v", got, err)
	}
	_, err = familyOn(f, fleet["dev"])
	if unset, ok := errors.AsType[*UnsetError](err); !ok || unset.Name != "owner" || !strings.Contains(err.Error(), "a.yaml: ConfigMap a: data.x: no variant of the Package gives ${package.variables.owner} a value") {
		t.Errorf("got %v", err)
	}
}

func TestPackageVariables(t *testing.T) {
	for text, want := range map[string]any{
		"${package.variables.n}":                 json.Number("3"),
		"${package.variables.t}":                 "x",
		"${package.variables.b}":                 true,
		"${package.variables.n} ":                "3 ",
		"${package.variables.b}/${cluster.name}": "true/eu",
		"$${package.variables.n}":                "${package.variables.n}",
		"${package.variables.none:-7}":           json.Number("7"),
		"${package.variables.none:-007}":         "007",
		"${package.variables.none:-}":            "",
		"${package.variables.none:-null}":        "null",
		"${package.variables.none:-true}":        true,
		"${package.variables.none:-a b}":         "a b",
		"${package.name}":                        "${package.name}",
		"${cluster.name}":                        "eu",
	} {
		v := values{cluster: map[string]string{"cluster.name": "eu"}, given: map[string]any{"n": json.Number("3"), "t": "x", "b": true}}
		got, err := v.text(text)
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"${package.variables.a b}":                `a.yaml: ConfigMap a: data.x: ${package.variables.a b}: "a b" cannot be the name of a variable`,
		"${package.variables.}":                   "cannot be the name of a variable",
		"${package.variables.a":                   "has no closing }",
		"${package.variables.a:-${cluster.name}}": "has to be text",
	} {
		_, err := Objects(tree(map[string]string{"a.yaml": config("a") + "data: {x: '" + text + "'}\n"}), ".")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", text, err, want)
		}
	}
	for raw, good := range map[string]bool{`"x"`: true, "3": true, "1.50": true, "true": true, "null": false, "{}": false, "[]": false, "": false} {
		if _, err := Scalar([]byte(raw)); (err == nil) != good {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// TestADefaultCountsWhereThereIsNone: a cluster without the label is in one class with those that have the default.
func TestADefaultCountsWhereThereIsNone(t *testing.T) {
	rendered, err := Objects(tree(map[string]string{"a.yaml": config("a") + "data: {x: '${cluster.labels.env:-prod}', z: '${cluster.properties.a.b:-none}'}\n"}), ".")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"cluster.labels.env:-prod", "cluster.properties.a.b:-none"}
	if !slices.Equal(rendered.Variables, want) {
		t.Fatalf("variables %q", rendered.Variables)
	}
	for _, name := range []string{"bare", "prod"} {
		f, err := Variants(func(Choice) (*Rendered, error) { return rendered, nil }, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := familyOn(f, fleet[name]); err != nil || !strings.Contains(got, `"x":"prod","z":"none"`) {
			t.Errorf("%s gets %s, %v", name, got, err)
		}
	}
}
