package delivery_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"umbel.dev/umbel/api/v1alpha1"
)

// stages has the hub of a test say what a Rollout says, as package rollout does.
func (h *hub) stages(name string, number int64, spec v1alpha1.RolloutSpec, status v1alpha1.RolloutStatus) {
	h.t.Helper()
	pkg := h.pkg(name)
	spec.PackageRef.Name, spec.Number, spec.Strategy = name, number, *pkg.Spec.Rollout
	spec.Newest = pkg.Status.Release
	r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: v1alpha1.RolloutName(name, number)}, Spec: spec}
	h.must(controllerutil.SetControllerReference(pkg, r, h.Scheme()))
	h.must(h.Create(h.t.Context(), r))
	r.Status = status
	h.must(h.Status().Update(h.t.Context(), r))
}

// TestARolloutSaysWhoGetsWhat: with a strategy nobody is told a new Release by the Package, and everybody what the rollout
// says. The old Release stays as long as somebody is told it.
func TestARolloutSaysWhoGetsWhat(t *testing.T) {
	h := newHub(t)
	a, b := h.cluster("a", nil), h.cluster("b", nil)
	h.place("everywhere", a, b)
	p := h.inline("motd", "everywhere", item("motd", "one"))
	h.must(unstructured.SetNestedSlice(p.Object, []any{map[string]any{"name": "all"}}, "spec", "rollout", "stages"))
	h.must(h.Create(t.Context(), p))
	key := v1alpha1.KeyOf(h.namespace, "motd")
	h.waitFor("motd", v1alpha1.ConditionDelivered, "False RollingOut a rollout is about to begin")
	first := h.pkg("motd").Status.Release
	if got := h.told(a, key); got != "keep" {
		t.Errorf("before a rollout: %s", got)
	}

	moved := func(waiting, moved []v1alpha1.ClusterName) v1alpha1.RolloutStatus {
		return v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutRunning, Stages: []v1alpha1.StageStatus{{
			Name: "all", Step: v1alpha1.StageMoving, Clusters: 2, Waiting: waiting, Moved: moved,
		}}}
	}
	h.stages("motd", 1, v1alpha1.RolloutSpec{Purpose: v1alpha1.RolloutForward, Release: first},
		moved([]v1alpha1.ClusterName{b}, []v1alpha1.ClusterName{a}))
	h.waitTold(a, key, first)
	if got := h.told(b, key); got != "keep" {
		t.Errorf("one that was not moved, and of which nothing is known: %s", got)
	}

	h.change("motd", func(p *v1alpha1.Package) {
		p.Spec.Source.Inline.Objects[0].Raw = []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"motd","namespace":"shop"},"data":{"value":"two"}}`)
	})
	h.eventually("the second release", func() string {
		if h.pkg("motd").Status.Release == first {
			return "it is not there"
		}
		return ""
	})
	second := h.pkg("motd").Status.Release
	if got := h.told(a, key); got == "keep" || got[:len(first)] != first {
		t.Errorf("a new release without a rollout: %s", got)
	}
	h.stages("motd", 2, v1alpha1.RolloutSpec{Purpose: v1alpha1.RolloutForward, Release: second, Previous: first},
		moved([]v1alpha1.ClusterName{b}, []v1alpha1.ClusterName{a}))
	h.waitTold(a, key, second)
	h.waitTold(b, key, first)
	h.obeys(a)
	h.obeys(b)
	h.eventually("both hold what they are to hold", func() string {
		if counts := h.pkg("motd").Status.Clusters; counts.Ready != 2 {
			return counts.Summary
		}
		return ""
	})
	h.waitFor("motd", v1alpha1.ConditionDelivered, "False RollingOut rollout motd-2 of "+second)

	h.change("motd", func(p *v1alpha1.Package) { p.Spec.Rollout = nil })
	h.waitTold(b, key, second) // without a strategy all get it at once
}
