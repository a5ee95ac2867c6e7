package members

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/session"
)

// What was heard of a MemberCluster says nothing of the next one of that name, be they made in the same instant.
func TestOneMemberClusterAfterTheOther(t *testing.T) {
	registry := NewRegistry(RegistryConfig{
		Desired: func(v1alpha1.ClusterName) (session.DesiredSet, bool) { return session.DesiredSet{}, true },
		Now:     func() time.Time { return start }, Log: slog.New(slog.DiscardHandler),
	})
	begin := func() *Presence {
		p := registry.Begin(Session{Cluster: "eu", UID: "first", End: func(error) {}})
		p.Opened(&wire.Hello{AgentVersion: "v1"})
		return p
	}
	p := begin()
	p.Detached()
	if registry.snapshot("eu").Detached {
		t.Error("an agent that nobody told to go counts as gone")
	}
	registry.detach("eu", &wire.Detach{})
	registry.detach("eu", &wire.Detach{})
	p.Detached()
	if !registry.snapshot("eu").Detached {
		t.Error("an agent that has let go is not heard")
	}
	if !told(p, "detach") {
		t.Error("the agent was not told to go, or more than once")
	}

	registry.meet("eu", "second")
	if !told(p, session.ReasonNoMember) {
		t.Error("the session of the first one was not refused")
	}
	p.Reported(&wire.StatusReport{KubernetesVersion: "v1"})
	if diff := cmp.Diff(Facts{}, registry.snapshot("eu"), cmp.AllowUnexported(Facts{})); diff != "" {
		t.Errorf("what is known of the second one is of the first:\n%s", diff)
	}

	registry.forget("eu", "first")
	if registry.uid("eu") != "second" {
		t.Error("that the first one is gone made the second one forgotten")
	}
	p = registry.Begin(Session{Cluster: "eu", UID: "second", End: func(error) {}})
	registry.forget("eu", "second")
	if !told(p, session.ReasonNoMember) || registry.uid("eu") != "" {
		t.Error("that it is gone did not end its session")
	}
}

// told takes the next order, says whether it is the one that is wanted, and that no other waits.
func told(p *Presence, want string) bool {
	if len(p.Orders()) != 1 {
		return false
	}
	order := <-p.Orders()
	if order.GetDetach() != nil {
		return want == "detach"
	}
	return order.GetRefusal().GetReason() == want
}
