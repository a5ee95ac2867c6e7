package delivery_test

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// knows has a cluster's agent be one that knows of these features.
func (h *hub) knows(name v1alpha1.ClusterName, features ...string) {
	h.t.Helper()
	var m v1alpha1.MemberCluster
	h.must(h.Get(h.t.Context(), client.ObjectKey{Name: string(name)}, &m))
	m.Status.AgentFeatures = features
	h.must(h.Status().Update(h.t.Context(), &m))
}

// TestAgentsThatAreTooOldAreWaitedFor: one that knows no plans is told nothing that is to be applied as planned. It would find no content, and
// fail. Once it is of a later version it is told; others do not wait for it.
func TestAgentsThatAreTooOldAreWaitedFor(t *testing.T) {
	h := newHub(t)
	old, young := h.cluster("old", nil), h.cluster("young", nil)
	h.knows(old)
	h.place("prod", old, young)
	key := v1alpha1.KeyOf(h.namespace, "app")
	p := h.inline("app", "prod", item("a", "one"))
	p.Object["spec"].(map[string]any)["plan"] = "Required"
	h.must(h.Create(t.Context(), p))
	first := h.waits("app")
	h.plans("app", first, old, young)
	h.waitTold(young, key, first)
	h.waitFor("app", v1alpha1.ConditionAgents, "False AgentTooOld", "1 cluster keeps what it holds, since its agent is too old",
		string(old)+" does not know plans (spec.plan)", "`umbel upgrade agents`")
	if got := h.told(old, key); got != "keep" {
		t.Errorf("an agent that knows no plans is told %s", got)
	}
	h.obeys(young)
	h.knows(old, wire.FeaturePlans)
	h.waitTold(old, key, first)
	h.obeys(old)
	h.waitFor("app", v1alpha1.ConditionReady, "True Delivered", "on 2/2 clusters")
	h.eventually("nobody waits any more", func() string {
		for _, c := range h.pkg("app").Status.Conditions {
			if c.Type == v1alpha1.ConditionAgents {
				return c.Message
			}
		}
		return ""
	})
	// What it holds already it keeps, whatever its agent is then.
	h.knows(old)
	h.change("app", func(p *v1alpha1.Package) { p.Spec.Plan = "" })
	h.waitTold(old, key, first)
}
