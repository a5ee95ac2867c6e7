package delivery_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestWhoWouldWaitInARollout: a rollout hears which clusters would not take its release before it moves them, and the Package says so.
// What one is told that waits all the same it does not get, and a way back waits for no other package.
func TestWhoWouldWaitInARollout(t *testing.T) {
	h := newHub(t)
	a, b := h.cluster("a", nil), h.cluster("b", nil)
	h.place("everywhere", a, b)
	db, web := v1alpha1.KeyOf(h.namespace, "db"), v1alpha1.KeyOf(h.namespace, "web")
	h.must(h.Create(t.Context(), h.inline("db", "everywhere", item("db", "1"))))
	p := h.inline("web", "everywhere", item("web", "1"))
	h.must(unstructured.SetNestedSlice(p.Object, []any{map[string]any{"name": "all"}}, "spec", "rollout", "stages"))
	h.must(setDependsOn(p, map[string]any{"name": "db"}))
	h.must(h.Create(t.Context(), p))
	first := h.released("web")
	h.waitTold(a, db, `"1"`)

	waiting := v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutRunning, Stages: []v1alpha1.StageStatus{{
		Name: "all", Step: v1alpha1.StageMoving, Clusters: 2, Waiting: []v1alpha1.ClusterName{a, b},
	}}}
	h.stages("web", 1, v1alpha1.RolloutSpec{Purpose: v1alpha1.RolloutForward, Release: first}, waiting)
	why := "package " + string(db) + " is not healthy on this cluster"
	h.waitFor("web", v1alpha1.ConditionDependencies, "False Waiting", "2 clusters wait", string(a)+": "+why)
	h.wouldWait("web", map[v1alpha1.ClusterName]string{a: why, b: why})

	h.obeys(a)
	h.waitFor("web", v1alpha1.ConditionDependencies, "False Waiting", "1 cluster waits: "+string(b))
	h.wouldWait("web", map[v1alpha1.ClusterName]string{b: why})
	if got := h.told(a, web); got != "keep" {
		t.Errorf("before it is moved a is told %s", got)
	}

	r := h.rolloutOf("web")
	r.Status.Stages[0].Waiting, r.Status.Stages[0].Moved = nil, []v1alpha1.ClusterName{a, b}
	h.must(h.Status().Update(t.Context(), r))
	h.waitTold(a, web, first)
	if got := h.told(b, web); got != "keep" {
		t.Errorf("b waits and is told %s", got)
	}
	h.waitFor("web", v1alpha1.ConditionDependencies, "False Waiting", "1 cluster waits: "+string(b))

	h.stages("web", 2, v1alpha1.RolloutSpec{Purpose: v1alpha1.RolloutBack, Release: first, Previous: first}, waiting)
	h.waitTold(b, web, first)
	h.wouldWait("web", map[v1alpha1.ClusterName]string{})
	h.waitFor("web", v1alpha1.ConditionDependencies, "True DependenciesHealthy")
}

// rolloutOf returns the newest Rollout of a Package.
func (h *hub) rolloutOf(name string) *v1alpha1.Rollout {
	h.t.Helper()
	var list v1alpha1.RolloutList
	h.must(h.List(h.t.Context(), &list, client.InNamespace(h.namespace)))
	var newest *v1alpha1.Rollout
	for i := range list.Items {
		if r := &list.Items[i]; r.Spec.PackageRef.Name == name && (newest == nil || r.Spec.Number > newest.Spec.Number) {
			newest = r
		}
	}
	if newest == nil {
		h.t.Fatalf("there is no rollout of %s", name)
	}
	return newest
}

// wouldWait waits until the hub says of the newest Rollout of a Package who would wait.
func (h *hub) wouldWait(name string, want map[v1alpha1.ClusterName]string) {
	h.t.Helper()
	h.eventually("who would wait", func() string {
		r := h.rolloutOf(name)
		var release v1alpha1.Release
		h.must(h.Get(h.t.Context(), client.ObjectKey{Namespace: h.namespace, Name: r.Spec.Release}, &release))
		got, err := h.desired.Waits(h.t.Context(), h.pkg(name), r, &release)
		h.must(err)
		if got == nil {
			got = map[v1alpha1.ClusterName]string{}
		}
		return cmp.Diff(want, got)
	})
}
