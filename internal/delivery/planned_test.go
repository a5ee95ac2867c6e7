package delivery_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// hashOf stands for what a cluster said that would change.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// planned is what a cluster is told that its release may change.
func (h *hub) planned(cluster v1alpha1.ClusterName, key v1alpha1.PackageKey) string {
	set, _ := h.desired.For(cluster)
	return set.Assign[key].GetPolicy().GetPlanned()
}

// plans saves a plan of the newest release, for some clusters.
func (h *hub) plans(name, release string, clusters ...v1alpha1.ClusterName) {
	h.t.Helper()
	for _, r := range h.releases() {
		if r.Name != release {
			continue
		}
		spec := v1alpha1.PlanSpec{PackageRef: v1alpha1.LocalReference{Name: name}, Source: "a test", Clusters: int32(len(clusters))}
		for _, v := range r.Spec.Variants {
			content := v1alpha1.PlannedContent{Digest: v.Digest}
			for _, cluster := range clusters {
				content.Clusters = append(content.Clusters, v1alpha1.PlannedCluster{Name: cluster, Changes: hashOf(release + string(cluster))})
			}
			spec.Contents = append(spec.Contents, content)
		}
		h.must(h.Create(h.t.Context(), &v1alpha1.Plan{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, GenerateName: name + "-"}, Spec: spec}))
		return
	}
	h.t.Fatalf("there is no release %s", release)
}

// waits returns the release that waits for a plan.
func (h *hub) waits(name string) (release string) {
	h.t.Helper()
	h.eventually("a release of "+name+" waits for a plan", func() string {
		_, after, found := strings.Cut(h.condition(name, v1alpha1.ConditionPlanned), " waits as release ")
		if !found {
			return h.condition(name, v1alpha1.ConditionPlanned)
		}
		release, _, _ = strings.Cut(after, ",")
		return ""
	})
	return release
}

// TestAReleaseWaitsForItsPlan: where a plan is required, what renders is released once somebody has saved a plan of it, and
// each cluster is told what its plan says that it may change there.
func TestAReleaseWaitsForItsPlan(t *testing.T) {
	h := newHub(t)
	eu, us := h.cluster("eu", nil), h.cluster("us", nil)
	h.place("prod", eu, us)
	key := v1alpha1.KeyOf(h.namespace, "app")
	p := h.inline("app", "prod", item("a", "one"))
	p.Object["spec"].(map[string]any)["plan"] = "Required"
	h.must(h.Create(t.Context(), p))

	first := h.waits("app")
	h.waitFor("app", v1alpha1.ConditionReady, "False PlanRequired", "`umbel plan app -n "+h.namespace+" --release "+first+" --save` makes one")
	if h.pkg("app").Status.Release != "" || h.told(eu, key) != "keep" {
		t.Fatalf("without a plan %s is released and eu is told %s", h.pkg("app").Status.Release, h.told(eu, key))
	}
	h.plans("app", first, eu)
	h.waitTold(eu, key, first)
	if set, _ := h.desired.For(eu); set.Assign[key].GetDigest() != "" || set.Assign[key].GetContent().GetDigest() == "" {
		t.Errorf("an agent that does not know of plans is told to apply %v", set.Assign[key])
	}
	if got := h.planned(eu, key); got != hashOf(first+string(eu)) {
		t.Errorf("eu may change %q", got)
	}
	h.obeys(eu)
	h.waitFor("app", v1alpha1.ConditionPlanned, "False PlanRequired", "1 cluster waits, since no plan says what the release changes there ("+string(us)+")")
	if got := h.told(us, key); got != "keep" {
		t.Errorf("us, of which there is no plan, is told %s", got)
	}
	h.plans("app", first, us)
	h.waitTold(us, key, first)
	h.obeys(us)
	h.waitFor("app", v1alpha1.ConditionReady, "True Delivered", "on 2/2 clusters")

	// The next one waits as well, also over a start; what was before goes on.
	h.change("app", func(p *v1alpha1.Package) {
		p.Spec.Source.Inline.Objects[0].Raw = []byte(strings.ReplaceAll(string(p.Spec.Source.Inline.Objects[0].Raw), "one", "two"))
	})
	second := h.waits("app")
	h.stop()
	h.start()
	if again := h.waits("app"); again != second {
		t.Errorf("after a start %s waits, and %s before", again, second)
	}
	h.waitTold(eu, key, first)
	h.plans("app", second, eu, us)
	h.waitTold(eu, key, second)
	h.waitTold(us, key, second)

	// A plan that is taken back is one that nobody made.
	h.must(h.DeleteAllOf(t.Context(), &v1alpha1.Plan{}, client.InNamespace(h.namespace)))
	h.eventually("nothing is planned any more", func() string {
		if got := h.planned(eu, key); h.told(eu, key) != "keep" && got != "none" {
			return fmt.Sprintf("eu is told %s and may change %q", h.told(eu, key), got)
		}
		return ""
	})

	// Who stops asking for plans needs none.
	h.change("app", func(p *v1alpha1.Package) {
		p.Spec.Source.Inline.Objects[0].Raw = []byte(strings.ReplaceAll(string(p.Spec.Source.Inline.Objects[0].Raw), "two", "three"))
	})
	third := h.waits("app")
	h.change("app", func(p *v1alpha1.Package) { p.Spec.Plan = "" })
	h.waitTold(eu, key, third)
	if got := h.planned(eu, key); got != "" {
		t.Errorf("eu may change %q", got)
	}
	h.eventually("nobody asks for a plan, and nothing is said of one", func() string {
		if got := h.condition("app", v1alpha1.ConditionPlanned); strings.Contains(got, "Plan") {
			return got
		}
		return ""
	})
}
