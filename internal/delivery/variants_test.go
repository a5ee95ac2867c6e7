package delivery_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// variant is one for the clusters with a label; without one it is for all.
func variant(env string, components []string, variables map[string]any) v1alpha1.PackageVariant {
	var v v1alpha1.PackageVariant
	if env != "" {
		v.ClusterSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"env": env}}
	}
	if components != nil {
		v.Kustomize = &v1alpha1.KustomizeVariant{Components: components}
	}
	for name, value := range variables {
		raw, err := json.Marshal(value)
		if err != nil {
			panic(err)
		}
		if v.Variables == nil {
			v.Variables = map[string]runtime.RawExtension{}
		}
		v.Variables[name] = runtime.RawExtension{Raw: raw}
	}
	return v
}

// relabel replaces the labels of a cluster.
func (h *hub) relabel(name v1alpha1.ClusterName, labels map[string]string) {
	h.t.Helper()
	var m v1alpha1.MemberCluster
	h.must(h.Get(h.t.Context(), client.ObjectKey{Name: string(name)}, &m))
	base := client.MergeFrom(m.DeepCopy())
	m.Labels = labels
	h.must(h.Patch(h.t.Context(), &m, base))
}

// TestVariants: what is different for some clusters, by a component, by variables, and by the selectors of objects.
func TestVariants(t *testing.T) {
	h := newHub(t)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{
		"app/kustomization.yaml": "resources: [a.yaml, only-prod.yaml]\n",
		"app/a.yaml":             configMap("a", "${package.variables.greeting} from ${cluster.properties.example.com:-nowhere}"),
		"app/only-prod.yaml":     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: only-prod, namespace: shop, annotations: {umbel.dev/cluster-selector: env=prod}}\ndata: {region: '${cluster.labels.region}'}\n",
		"tls/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [tls.yaml]\n",
		"tls/tls.yaml":           configMap("tls", "on"),
	})
	prod := h.cluster("prod", map[string]string{"env": "prod", "region": "eu"})
	dev := h.cluster("dev", map[string]string{"env": "dev"})
	h.place("prod", dev, prod)
	key := h.create("app", repo.URL(), "app", "prod")
	h.waitFor("app", v1alpha1.ConditionRendered, "False VariableMissing", "no variant gives cluster "+string(dev), "${package.variables.greeting}", "keep what they hold")

	h.change("app", func(p *v1alpha1.Package) {
		p.Spec.Variants = []v1alpha1.PackageVariant{
			variant("", nil, map[string]any{"greeting": "hello"}),
			variant("prod", []string{"../tls"}, map[string]any{"greeting": "good day"}),
		}
	})
	h.waitTold(dev, key, `"hello from nowhere"`)
	h.waitTold(prod, key, `"good day from nowhere"`)
	for cluster, want := range map[v1alpha1.ClusterName]bool{dev: false, prod: true} {
		told := h.told(cluster, key)
		for _, text := range []string{`"name":"only-prod"`, `"region":"eu"`, `"name":"tls"`} {
			if strings.Contains(told, text) != want {
				t.Errorf("%s has %s: %t, want %t", cluster, text, !want, want)
			}
		}
	}
	h.waitFor("app", v1alpha1.ConditionRendered, "True Rendered", "cluster.matches(env=prod)", "if cluster.matches(env=prod) cluster.labels.region")

	// A cluster says something else of itself, gets other labels, loses them: it is told at once what that means.
	var m v1alpha1.MemberCluster
	h.must(h.Get(t.Context(), client.ObjectKey{Name: string(dev)}, &m))
	m.Status.Properties = []v1alpha1.MemberProperty{{Name: "example.com", Value: "here", Since: metav1.Now()}}
	h.must(h.Status().Update(t.Context(), &m))
	h.waitTold(dev, key, `"hello from here"`)
	h.relabel(dev, map[string]string{"env": "prod"})
	h.waitFor("app", v1alpha1.ConditionRendered, "False VariableMissing", "cluster "+string(dev)+" has no label region, which app/only-prod.yaml refers to as ${cluster.labels.region}")
	if got := h.told(dev, key); got != "keep" {
		t.Errorf("without the region dev is told %s", got)
	}
	h.relabel(dev, map[string]string{"env": "prod", "region": "us"})
	h.waitTold(dev, key, `"region":"us"`)
	h.relabel(dev, nil)
	h.waitTold(dev, key, `"hello from here"`)

	// What is wrong with a variant is said, with the field, and the last release stays.
	for want, bad := range map[string]v1alpha1.PackageVariant{
		"spec.variants[0].variables.x: is a list":                      variant("", nil, map[string]any{"x": []string{"a"}}),
		`"a b" cannot be the name of a variable`:                       variant("", nil, map[string]any{"a b": 1}),
		`spec.variants: kustomize.components: "https://example.org/c"`: variant("", []string{"https://example.org/c"}, nil),
	} {
		h.change("app", func(p *v1alpha1.Package) { p.Spec.Variants = []v1alpha1.PackageVariant{bad} })
		h.waitFor("app", v1alpha1.ConditionRendered, "False RenderFailed", want, "stays")
		h.waitTold(prod, key, `"good day from nowhere"`)
	}
}

// TestNothingIsRemovedBecauseSelectorsLeaveNothing: a Package never becomes empty by accident, on no cluster.
func TestNothingIsRemovedBecauseSelectorsLeaveNothing(t *testing.T) {
	h := newHub(t)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop, annotations: {umbel.dev/cluster-selector: env=prod}}\ndata: {value: x}\n"})
	prod := h.cluster("prod", map[string]string{"env": "prod"})
	h.place("prod", prod)
	key := h.create("app", repo.URL(), ".", "prod")
	h.waitTold(prod, key, `"value":"x"`)
	h.obeys(prod)
	h.relabel(prod, map[string]string{"env": "dev"})
	h.waitFor("app", v1alpha1.ConditionRendered, "False NothingSelected", "the selectors of the objects leave none for cluster "+string(prod), "keep what they hold")
	if got := h.told(prod, key); got != "keep" {
		t.Errorf("it is told %s", got)
	}
	h.relabel(prod, map[string]string{"env": "prod"})
	h.waitTold(prod, key, `"value":"x"`)
	h.waitFor("app", v1alpha1.ConditionRendered, "True Rendered")
}

// TestOneRenderingForEachClass counts what is rendered: 5 Packages for 60 clusters in 4 classes are 5 folders and 20
// outputs, and a commit renders the one that it feeds.
func TestOneRenderingForEachClass(t *testing.T) {
	h := newHub(t)
	repo := sourcetest.New(t)
	files := map[string]string{"base/kustomization.yaml": "resources: [base.yaml]\n", "base/base.yaml": configMap("base", "in ${cluster.labels.region}")}
	for i := range 5 {
		files[fmt.Sprintf("p%d/kustomization.yaml", i)] = "resources: [../base, own.yaml]\n"
		files[fmt.Sprintf("p%d/own.yaml", i)] = configMap(fmt.Sprintf("own-%d", i), "x")
	}
	repo.Commit(files)
	var clusters []v1alpha1.ClusterName
	for i := range 60 {
		clusters = append(clusters, h.cluster(fmt.Sprintf("c%02d", i), map[string]string{"region": fmt.Sprintf("r%d", i%4)}))
	}
	h.place("all", clusters...)
	var keys []v1alpha1.PackageKey
	for i := range 5 {
		keys = append(keys, h.create(fmt.Sprintf("p%d", i), repo.URL(), fmt.Sprintf("p%d", i), "all"))
	}
	told := func(text string) {
		t.Helper()
		for _, key := range keys {
			for i := range 4 {
				h.waitTold(clusters[i], key, fmt.Sprintf(text, i))
			}
		}
	}
	told(`"in r%d"`)
	h.rendered(5, 20)

	all := func() {
		t.Helper()
		for i := range 5 {
			h.refresh(fmt.Sprintf("p%d", i))
		}
	}
	// A commit that feeds nobody, one that feeds one Package, one that feeds all by way of what they share.
	nothing := repo.Change(map[string]string{"README.md": "hello"})
	all()
	for i := range 5 {
		h.waitFor(fmt.Sprintf("p%d", i), v1alpha1.ConditionFetched, "True Fetched", nothing[:12])
	}
	h.rendered(5, 20)
	repo.Change(map[string]string{"p3/own.yaml": configMap("own-3", "changed")})
	all()
	h.waitTold(clusters[0], keys[3], `"changed"`)
	h.rendered(6, 24)
	repo.Change(map[string]string{"base/base.yaml": configMap("base", "now in ${cluster.labels.region}")})
	all()
	told(`"now in r%d"`)
	h.rendered(11, 44)

	// A new class is one more output of each, of what is rendered already.
	odd := h.cluster("odd", map[string]string{"region": "r9"})
	h.place("all", append(clusters, odd)...)
	for _, key := range keys {
		h.waitTold(odd, key, `"now in r9"`)
	}
	h.rendered(11, 49)
}

// rendered looks whether so much has been rendered, and no more.
func (h *hub) rendered(sources, outputs int) {
	h.t.Helper()
	if got := h.cache.Counts(); got.Sources != sources || got.Outputs != outputs {
		h.t.Errorf("%d folders and %d outputs were rendered, want %d and %d: %+v", got.Sources, got.Outputs, sources, outputs, got)
	}
}

func TestInputs(t *testing.T) {
	if got, err := delivery.Inputs(nil); got != "" || err != nil {
		t.Errorf("no variants: %q, %v", got, err)
	}
	seen := map[string]string{}
	for reason, variants := range map[string][]v1alpha1.PackageVariant{
		"a variable":    {variant("", nil, map[string]any{"a": 1})},
		"another value": {variant("", nil, map[string]any{"a": "1"})},
		"for some":      {variant("prod", nil, map[string]any{"a": 1})},
		"a component":   {variant("", []string{"a"}, nil)},
		"two":           {variant("", nil, map[string]any{"a": 1}), variant("", []string{"a"}, nil)},
		"in turn":       {variant("", []string{"a"}, nil), variant("", nil, map[string]any{"a": 1})},
	} {
		got, err := delivery.Inputs(variants)
		if err != nil || len(got) != 64 {
			t.Errorf("%s: %q, %v", reason, got, err)
		}
		if other, twice := seen[got]; twice {
			t.Errorf("%s and %s are the same", reason, other)
		}
		seen[got] = reason
	}
}
