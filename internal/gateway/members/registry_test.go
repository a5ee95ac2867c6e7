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
		Desired:  func(v1alpha1.ClusterName) (session.DesiredSet, bool) { return session.DesiredSet{}, true },
		Replicas: crew{},
		Now:      func() time.Time { return start }, Log: slog.New(slog.DiscardHandler),
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
	if registry.UID("eu") != "second" {
		t.Error("that the first one is gone made the second one forgotten")
	}
	p = registry.Begin(Session{Cluster: "eu", UID: "second", End: func(error) {}})
	registry.forget("eu", "second")
	if !told(p, session.ReasonNoMember) || registry.UID("eu") != "" {
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

// A refusal that was decided on what a cache that is behind says is none of the MemberCluster that has the name by now.
func TestARefusalOfTheOneBefore(t *testing.T) {
	registry := NewRegistry(RegistryConfig{Replicas: crew{}, Now: func() time.Time { return start }, Log: slog.New(slog.DiscardHandler)})
	p := registry.Begin(Session{Cluster: "eu", UID: "second", End: func(error) {}})
	registry.Refuse("eu", "first", Refusal{Reason: v1alpha1.ReasonCertificateRefused})
	if registry.UID("eu") != "second" || len(p.Orders()) != 0 {
		t.Errorf("what is known is of %q, and the session is told %d things", registry.UID("eu"), len(p.Orders()))
	}
	registry.meet("us", "first")
	registry.Refuse("us", "first", Refusal{Reason: v1alpha1.ReasonCertificateRefused})
	if registry.snapshot("us").Refused == nil {
		t.Error("a refusal of the one that is there is not noted")
	}
}

// What an older session claimed ends no newer one.
func TestANewSessionClaimsForItself(t *testing.T) {
	registry := NewRegistry(RegistryConfig{Replicas: crew{self: "a"}, Now: func() time.Time { return start }, Log: slog.New(slog.DiscardHandler)})
	ended := ""
	begin := func(id string) *Presence {
		return registry.Begin(Session{ID: id, Cluster: "eu", UID: "1", End: func(error) { ended += id }})
	}
	older := begin("a1")
	older.Opened(&wire.Hello{})
	older.Answered("")
	registry.wrote("eu", "5", &v1alpha1.MemberSession{Replica: "a", ID: "a1"})
	begin("a2")
	ended = ""
	// The agent went by another replica between the two.
	facts, _ := registry.known("eu")
	if share := ShareOf(&v1alpha1.MemberSession{Replica: "b", ID: "b1"}, facts, crew{self: "a"}); share != Waiting {
		t.Errorf("before it has said anything, the newer session's share is %d, want that it waits", share)
	}
	registry.yield("eu", "1")
	if ended != "" {
		t.Errorf("ended: %s", ended)
	}
}

// Whoever finds out what one member is to hold, which takes the longer the more Packages there are, holds up no other.
func TestAskingForOneMemberHoldsUpNoOther(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	registry := NewRegistry(RegistryConfig{
		Desired: func(cluster v1alpha1.ClusterName) (session.DesiredSet, bool) {
			close(asked)
			<-answer
			return session.DesiredSet{Assign: map[v1alpha1.PackageKey]*wire.Assignment{"shop/web": {Package: "shop/web"}, "shop/new": {Package: "shop/new"}}}, true
		},
		Replicas: crew{}, Now: func() time.Time { return start }, Log: slog.New(slog.DiscardHandler),
	})
	slow := registry.Begin(Session{Cluster: "slow", UID: "1", End: func(error) {}})
	other := registry.Begin(Session{Cluster: "other", UID: "2", End: func(error) {}})
	registry.list("slow", []v1alpha1.MemberPackage{{Package: "shop/web"}})
	told := make(chan session.DesiredSet)
	go func() {
		set, _ := slow.Desired()
		told <- set
	}()
	<-asked
	heard := make(chan struct{})
	go func() {
		other.Opened(&wire.Hello{})
		other.Answered("")
		// Decided otherwise while it is asked: what is not listed any more is not told.
		if !registry.unlist("slow", nil) {
			t.Error("what was not told yet cannot be unlisted")
		}
		close(heard)
	}()
	select {
	case <-heard:
	case <-time.After(time.Minute):
		t.Fatal("nobody else is heard meanwhile")
	}
	close(answer)
	if set := <-told; len(set.Assign) != 0 {
		t.Errorf("told %v, which the status lists no more", set.Assign)
	}
}
