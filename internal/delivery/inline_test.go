package delivery_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
)

// inline is a Package with manifests of its own, as somebody writes it.
func (h *hub) inline(name, placement, objects string) *unstructured.Unstructured {
	h.t.Helper()
	text := "apiVersion: umbel.dev/v1alpha1\nkind: Package\nmetadata: {name: " + name + ", namespace: " + h.namespace + "}\n" +
		"spec:\n  placementRef: {name: " + placement + "}\n  source:\n    inline:\n      objects:\n" + objects
	p := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &p.Object); err != nil {
		h.t.Fatal(err)
	}
	return p
}

func item(name, value string) string {
	return "      - {apiVersion: v1, kind: ConfigMap, metadata: {name: " + name + ", namespace: shop}, data: {value: '" + value + "'}}\n"
}

// write replaces the manifests of a Package. The controller may write it in between.
func (h *hub) write(name, placement, objects string) error {
	h.t.Helper()
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		p, now := h.inline(name, placement, objects), h.pkg(name)
		p.SetResourceVersion(now.ResourceVersion)
		p.SetFinalizers(now.Finalizers)
		return h.Update(h.t.Context(), p)
	})
}

// change changes a Package through its type.
func (h *hub) change(name string, change func(*v1alpha1.Package)) {
	h.t.Helper()
	h.must(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		p := h.pkg(name)
		change(p)
		return h.Update(h.t.Context(), p)
	}))
}

// TestInlineObjects is the life of a Package whose manifests stand in itself.
func TestInlineObjects(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", map[string]string{"region": "eu"})
	us := h.cluster("us", map[string]string{"region": "us"})
	h.place("prod", eu, us)
	key := v1alpha1.KeyOf(h.namespace, "app")
	h.must(h.Create(t.Context(), h.inline("app", "prod", item("a", "in ${cluster.labels.region}")+item("b", "b"))))

	h.waitTold(eu, key, `spec.source.inline.objects[0] {"apiVersion":"v1","data":{"value":"in eu"}`)
	h.waitTold(us, key, `"in us"`)
	h.waitFor("app", v1alpha1.ConditionFetched, "True Fetched", "2 objects in the Package itself")
	h.waitFor("app", v1alpha1.ConditionRendered, "True Rendered", "inline version ", "gives 2 objects, different by cluster.labels.region")
	h.obeys(eu)
	h.obeys(us)
	h.waitFor("app", v1alpha1.ConditionReady, "True Delivered", "on 2/2 clusters")
	releases := h.releases()
	if len(releases) != 1 || releases[0].Spec.Source.Inline == nil || len(releases[0].Spec.Source.Inline.Objects) != 0 {
		t.Fatalf("releases %+v, want one, of an inline source, without the objects once more", releases)
	}

	// A hub that starts again finds what it knows, and releases nothing.
	h.stop()
	h.start()
	h.waitTold(eu, key, `"in eu"`)
	h.waitFor("app", v1alpha1.ConditionReady, "True Delivered", "on 2/2 clusters")
	if got := h.releases(); len(got) != 1 {
		t.Errorf("%d releases after a start", len(got))
	}

	// What cannot be rendered takes nothing away, be it that the API could not see it.
	held := h.told(eu, key)
	h.must(h.write("app", "prod", item("a", "a")+item("a", "again")))
	h.waitFor("app", v1alpha1.ConditionRendered, "False RenderFailed", "spec.source.inline.objects[1]: ConfigMap shop/a stands in spec.source.inline.objects[0] already", "stays")
	if got := h.told(eu, key); got != held {
		t.Errorf("a broken Package changed what a cluster is told to %q", got)
	}
	if err := h.write("app", "prod", "        []\n"); err == nil || !strings.Contains(err.Error(), "spec.source.inline: Invalid value") || !strings.Contains(err.Error(), "to take its objects away, delete the Package") {
		t.Errorf("an empty list: got %v", err)
	}

	// A change is a new Release; what left it is not in there.
	h.must(h.write("app", "prod", item("b", "new")))
	h.waitTold(us, key, `{"value":"new"}`)
	if got := h.told(us, key); strings.Contains(got, `"name":"a"`) {
		t.Errorf("what left the Package is still delivered: %s", got)
	}

	// From here to a repository that does not answer: the last Release stays.
	h.change("app", func(p *v1alpha1.Package) {
		p.Spec.Source = v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "http://127.0.0.1:1/no.git"}}
	})
	h.waitFor("app", v1alpha1.ConditionFetched, "False FetchFailed", "stays")
	h.waitTold(us, key, `{"value":"new"}`)

	h.must(h.Delete(t.Context(), h.pkg("app")))
	h.waitTold(eu, key, "remove")
	h.says(eu, metav1.ConditionTrue)
	h.says(us, metav1.ConditionTrue)
	h.waitGone("app")
}

// TestInlineObjectsAreReadAtAdmission: what is no manifest is refused with its field, and what is one is kept whole.
func TestInlineObjectsAreReadAtAdmission(t *testing.T) {
	h := newHub(t)
	for _, tc := range []struct{ reason, objects, want string }{
		{"no name", "      - {apiVersion: v1, kind: ConfigMap, metadata: {namespace: shop}}\n", "spec.source.inline.objects[0].metadata.name: Required value"},
		{"no kind", item("a", "a") + "      - {apiVersion: v1, metadata: {name: a}}\n", "spec.source.inline.objects[1].kind: Required value"},
		{"a number for a label", "      - {apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {version: 1.10}}}\n", "spec.source.inline.objects[0].metadata.labels.version: Invalid value"},
		{"a text", "      - hello\n", "spec.source.inline.objects[0]: Invalid value"},
		{"too many", strings.Repeat(item("a", "a"), 257), "spec.source.inline.objects: Too many: 257: must have at most 256 items"},
		{"beside a repository", item("a", "a") + "    git: {url: 'https://example.org/x.git'}\n", "exactly one source has to be given: git, oci, helm or inline"},
	} {
		err := h.Create(t.Context(), h.inline("bad", "prod", tc.objects))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q in it", tc.reason, err, tc.want)
		}
	}
	h.must(h.Create(t.Context(), h.inline("large", "prod", item("a", strings.Repeat("x", 1<<20)))))
	if err := h.Create(t.Context(), h.inline("too-large", "prod", item("a", strings.Repeat("x", 3<<19)))); err == nil || !strings.Contains(err.Error(), "request is too large") {
		t.Errorf("1.5 MiB of manifests: got %v", err)
	}
	const whole = `      - apiVersion: ${x}/v1
        kind: Odd
        metadata: {name: "a:b", labels: {x: "${cluster.name}"}, somebody: {else: knows}}
        spec: {list: [1, 2.50, null], html: "<&>"}
`
	h.must(h.Create(t.Context(), h.inline("whole", "prod", whole)))
	raw := &unstructured.Unstructured{}
	raw.SetGroupVersionKind(schema.GroupVersionKind{Group: "umbel.dev", Version: "v1alpha1", Kind: "Package"})
	h.must(h.Get(t.Context(), client.ObjectKey{Namespace: h.namespace, Name: "whole"}, raw))
	// A round through the type loses nothing.
	h.change("whole", func(p *v1alpha1.Package) { p.Annotations = map[string]string{"written": "again"} })
	after := raw.DeepCopy()
	h.must(h.Get(t.Context(), client.ObjectKeyFromObject(raw), after))
	before, _, _ := unstructured.NestedSlice(raw.Object, "spec", "source", "inline", "objects")
	now, _, _ := unstructured.NestedSlice(after.Object, "spec", "source", "inline", "objects")
	was, _ := yaml.Marshal(before)
	is, _ := yaml.Marshal(now)
	if string(was) != string(is) || !strings.Contains(string(is), "somebody") || !strings.Contains(string(is), "2.5") {
		t.Errorf("before:\n%s\nafter:\n%s", was, is)
	}
}
