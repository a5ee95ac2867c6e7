package adopt

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// TestAPackageThatRequiresPlans, as one does that took over another cluster before: what is shown is kept as the plan, so that the agent
// takes the objects over, and does nothing else. What the package says beside its source counts too.
func TestAPackageThatRequiresPlans(t *testing.T) {
	w := start(t)
	const ns, few = "by-plan", 20
	repo := sourcetest.New(t)
	repo.Commit(under("apps", objects(ns, few)))
	w.kubectl(t, "apply", "-f", repo.Dir+"/apps/namespace.yaml")
	w.kubectl(t, "apply", "-f", repo.Dir+"/apps")
	before := w.states(t, ns)
	pkg := &v1alpha1.Package{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "planned", Annotations: map[string]string{v1alpha1.AdoptionsAnnotation: ""}},
		Spec: v1alpha1.PackageSpec{
			Source:       v1alpha1.Source{Git: &v1alpha1.GitSource{URL: repo.URL(), Path: "apps"}},
			PlacementRef: v1alpha1.LocalReference{Name: "planned"}, Plan: v1alpha1.PlanRequired,
		},
	}
	if err := w.hub.Create(t.Context(), pkg); err != nil {
		t.Fatal(err)
	}
	w.does(t, "adopt", "kubectl", "planned", "-A", "--cluster", cluster, "--git", repo.URL(), "--path", "apps", "--yes")
	w.theSame(t, ns, before)
	var plans v1alpha1.PlanList
	if err := w.hub.List(t.Context(), &plans, client.InNamespace("default")); err != nil {
		t.Fatal(err)
	}
	kept := slices.ContainsFunc(plans.Items, func(p v1alpha1.Plan) bool {
		return p.Spec.PackageRef.Name == "planned" && len(p.Spec.Contents) == 1 && p.Spec.Contents[0].Clusters[0].Name == cluster
	})
	if !kept {
		t.Errorf("no plan is kept: %+v", plans.Items)
	}
	w.does(t, "adopt", "back", "planned", "--cluster", cluster, "--yes")
	w.theSame(t, ns, before)
}
