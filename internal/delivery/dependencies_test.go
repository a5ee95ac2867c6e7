package delivery_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestOnePackageAfterAnother: a cluster gets the second when the first is healthy there, each new release waits again, and
// nothing that is there is taken away by waiting.
func TestOnePackageAfterAnother(t *testing.T) {
	h := newHub(t)
	eu, us := h.cluster("eu", map[string]string{"region": "eu"}), h.cluster("us", map[string]string{"region": "us"})
	h.place("everywhere", eu, us)
	db, web := v1alpha1.KeyOf(h.namespace, "db"), v1alpha1.KeyOf(h.namespace, "web")
	h.must(h.Create(t.Context(), h.inline("web", "everywhere", item("web", "1"))))
	h.waitTold(eu, web, `"1"`)
	h.change("web", func(p *v1alpha1.Package) { p.Spec.DependsOn = []v1alpha1.PackageDependency{{Name: "db"}} })
	h.waitFor("web", v1alpha1.ConditionDependencies, "False Waiting", "2 clusters wait", "there is no package "+string(db))
	h.waitTold(eu, web, "keep")

	h.must(h.Create(t.Context(), h.inline("db", "everywhere", item("db", "1"))))
	h.waitTold(eu, db, `"1"`)
	h.waitFor("web", v1alpha1.ConditionDependencies, "False Waiting", "2 clusters wait", string(eu)+": package "+string(db)+" is not healthy on this cluster")
	h.obeys(eu)
	h.waitTold(eu, web, `"1"`)
	h.waitFor("web", v1alpha1.ConditionDependencies, "False Waiting", "1 cluster waits: "+string(us))
	if got := h.told(us, web); got != "keep" {
		t.Errorf("us is told %q", got)
	}
	h.obeys(us)
	h.waitTold(us, web, `"1"`)
	h.obeys(eu)
	h.obeys(us)
	h.waitFor("web", v1alpha1.ConditionReady, "True Delivered", "on 2/2 clusters")
	h.waitFor("web", v1alpha1.ConditionDependencies, "True DependenciesHealthy")

	h.must(h.write("db", "everywhere", item("db", "2"))) // and nobody obeys
	h.waitTold(eu, db, `"2"`)
	h.waitFor("web", v1alpha1.ConditionReady, "True Delivered", "on 2/2 clusters")
	pkg := h.inline("web", "everywhere", item("web", "2"))
	h.must(setDependsOn(pkg, map[string]any{"name": "db"}))
	h.must(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		now := h.pkg("web")
		pkg.SetResourceVersion(now.ResourceVersion)
		pkg.SetFinalizers(now.Finalizers)
		return h.Update(t.Context(), pkg)
	}))
	h.waitFor("web", v1alpha1.ConditionDependencies, "False Waiting", "2 clusters wait")
	h.waitTold(eu, web, "keep")
	h.obeys(eu)
	h.waitTold(eu, web, `"2"`)
}

// TestAcrossClusters: a Package waits for another one in a region, and says for how long it has when that takes too long.
func TestAcrossClusters(t *testing.T) {
	h := newHub(t)
	eu, us := h.cluster("eu", map[string]string{"region": "eu"}), h.cluster("us", map[string]string{"region": "us"})
	h.place("everywhere", eu, us)
	db, web := v1alpha1.KeyOf(h.namespace, "db"), v1alpha1.KeyOf(h.namespace, "web")
	h.must(h.Create(t.Context(), h.inline("db", "everywhere", item("db", "1"))))
	h.waitTold(eu, db, `"1"`)
	pkg := h.inline("web", "everywhere", item("web", "1"))
	h.must(setDependsOn(pkg, map[string]any{
		"name": "db", "clusterSelector": map[string]any{"matchLabels": map[string]any{"region": "eu"}}, "timeout": "1s",
	}))
	h.must(h.Create(t.Context(), pkg))
	h.waitFor("web", v1alpha1.ConditionDependencies, "False DependencyTimeout", "for more than 1s 2 clusters wait", string(eu))
	if got := h.told(us, web); got != "keep" {
		t.Errorf("us is told %q", got)
	}
	h.obeys(eu)
	h.waitTold(us, web, `"1"`)
	h.waitTold(eu, web, `"1"`)
}

// TestPackagesThatWaitForEachOther are told so, and get nothing until somebody mends it.
func TestPackagesThatWaitForEachOther(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", nil)
	h.place("everywhere", eu)
	for name, on := range map[string]string{"a": "b", "b": "c", "c": "a"} {
		pkg := h.inline(name, "everywhere", item(name, "1"))
		h.must(setDependsOn(pkg, map[string]any{"name": on}))
		h.must(h.Create(t.Context(), pkg))
	}
	n := h.namespace + "/"
	h.waitFor("a", v1alpha1.ConditionDependencies, "False Waiting", "the package waits for itself (spec.dependsOn): "+n+"a → "+n+"b → "+n+"c → "+n+"a")
	h.waitFor("c", v1alpha1.ConditionDependencies, "False Waiting", n+"c → "+n+"a → "+n+"b → "+n+"c")
	h.change("c", func(p *v1alpha1.Package) { p.Spec.DependsOn = nil })
	for _, name := range []string{"c", "b", "a"} {
		h.waitTold(eu, v1alpha1.KeyOf(h.namespace, name), `"1"`)
		h.obeys(eu)
	}
	h.waitFor("c", v1alpha1.ConditionReady, "True Delivered")
	h.eventually("a Package that waits for nothing has no such condition", func() string {
		if got := h.condition("c", v1alpha1.ConditionDependencies); got != "none" {
			return got
		}
		return ""
	})
}

// setDependsOn makes a Package wait for another one.
func setDependsOn(pkg *unstructured.Unstructured, on map[string]any) error {
	return unstructured.SetNestedSlice(pkg.Object, []any{on}, "spec", "dependsOn")
}
