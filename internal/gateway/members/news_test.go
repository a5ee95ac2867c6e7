package members

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/session"
)

// With many members it waits longer: a change of all of them takes longer.
func TestPatience(t *testing.T) {
	registry := NewRegistry(RegistryConfig{Replicas: crew{}, Now: time.Now})
	for _, c := range []struct {
		members int
		want    time.Duration
	}{{0, passes}, {500, passes}, {3000, 3 * time.Second}} {
		for i := len(registry.members); i < c.members; i++ {
			registry.meet(v1alpha1.ClusterName(fmt.Sprint(i)), "uid")
		}
		if got := registry.patience(); got != c.want {
			t.Errorf("%d members: %v, want %v", c.members, got, c.want)
		}
	}
}

// When very many have news at once, a few are written soon, and the others once the change has reached them.
func TestNewsOfManyAtOnce(t *testing.T) {
	now := time.Unix(1700000000, 0)
	registry := NewRegistry(RegistryConfig{Replicas: crew{}, Now: func() time.Time { return now }})
	var soonest int
	var attempt int64
	registry.notify = func(_ v1alpha1.ClusterName, after time.Duration) {
		switch after {
		case coalesce:
			soonest++
		case registry.patience():
		default:
			t.Errorf("news wait %v", after)
		}
	}
	have := func(members int) int {
		soonest = 0
		attempt++
		for i := range members {
			presence := registry.Begin(Session{Cluster: v1alpha1.ClusterName(fmt.Sprint(i)), UID: "1", End: func(error) {}})
			presence.Upgrading(&wire.UpgradeState{Attempt: attempt, Phase: wire.UpgradeState_REHEARSING})
		}
		return soonest
	}
	if got := have(3000); got != soonAtOnce {
		t.Errorf("of the news of 3,000, %d were written soon, want %d", got, soonAtOnce)
	}
	now = now.Add(time.Second)
	if got := have(3000); got != soon {
		t.Errorf("a second later it was %d, want %d", got, soon)
	}
	now = now.Add(time.Minute)
	if got := have(10); got != 10 {
		t.Errorf("when it has calmed down, of 10 it was %d", got)
	}
}

// A step that mostly has another one after it waits for that; what stays, and what others wait for, is written soon.
func TestHowSoonNewsAreWritten(t *testing.T) {
	state := func(phase wire.PackageStatus_Phase) *wire.PackageStatus {
		return &wire.PackageStatus{Package: "a/web", Release: "web-2", Phase: phase}
	}
	failing := state(wire.PackageStatus_APPLYING)
	failing.Failures = []*wire.Failure{{Object: "ConfigMap a/b", Message: "no"}}
	report := func(p ...*wire.PackageStatus) func(*Presence) {
		return func(presence *Presence) { presence.Reported(&wire.StatusReport{Packages: p}) }
	}
	for _, c := range []struct {
		reason string
		happen func(*Presence)
		want   []time.Duration
	}{
		{"it applies", report(state(wire.PackageStatus_APPLYING)), []time.Duration{passes}},
		{"it removes", report(state(wire.PackageStatus_REMOVING)), []time.Duration{passes}},
		{"it has applied", report(state(wire.PackageStatus_APPLIED)), []time.Duration{coalesce}},
		{"it failed", report(state(wire.PackageStatus_FAILED)), []time.Duration{coalesce}},
		{"it applies and something is wrong", report(failing), []time.Duration{coalesce}},
		{"one applies and one has applied", report(state(wire.PackageStatus_APPLYING), state(wire.PackageStatus_APPLIED)), []time.Duration{coalesce}},
		{"it is gone", func(p *Presence) { p.Reported(&wire.StatusReport{Removed: []string{"a/web"}}) }, []time.Duration{coalesce}},
		{"another version", func(p *Presence) { p.Reported(&wire.StatusReport{KubernetesVersion: "v2"}) }, []time.Duration{coalesce}},
		{"the first probe comes back, then another", func(p *Presence) { p.Answered(""); p.Answered("") }, []time.Duration{coalesce}},
		{"it rehearses an upgrade, says so again, and has done it", func(p *Presence) {
			p.Upgrading(&wire.UpgradeState{Build: "b", Phase: wire.UpgradeState_REHEARSING})
			p.Upgrading(&wire.UpgradeState{Build: "b", Phase: wire.UpgradeState_REHEARSING})
			p.Upgrading(&wire.UpgradeState{Build: "b", Phase: wire.UpgradeState_DONE})
		}, []time.Duration{coalesce, coalesce}},
		{"the agent is told of what its status lists", func(p *Presence) {
			p.registry.list("prod", []v1alpha1.MemberPackage{{Package: "a/web"}, {Package: "a/db"}})
			p.Desired()
		}, []time.Duration{passes}},
		{"it is to hold what its status does not list yet", func(p *Presence) {
			p.registry.list("prod", []v1alpha1.MemberPackage{{Package: "a/web"}})
			p.Desired()
		}, []time.Duration{coalesce}},
	} {
		registry := NewRegistry(RegistryConfig{Replicas: crew{}, Now: time.Now, Desired: func(v1alpha1.ClusterName) (session.DesiredSet, bool) {
			return session.DesiredSet{Assign: map[v1alpha1.PackageKey]*wire.Assignment{"a/web": {Package: "a/web"}, "a/db": {Package: "a/db"}}}, true
		}})
		presence := registry.Begin(Session{Cluster: "prod", UID: "1", End: func(error) {}})
		presence.Opened(&wire.Hello{})
		var got []time.Duration
		registry.notify = func(_ v1alpha1.ClusterName, after time.Duration) { got = append(got, after) }
		c.happen(presence)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: written after %v, want %v", c.reason, got, c.want)
		}
	}
}

// What only says that an agent is at work is told from all else that a status may say.
func TestAtWork(t *testing.T) {
	member := joinedMember()
	planned := func(facts Facts, desired Desired) v1alpha1.MemberClusterStatus {
		status, _ := Plan(member, facts, desired, at(time.Hour))
		return status
	}
	member.Status = planned(well("a/web@1 APPLIED", "b/db@1 APPLIED"), known("a/web@1", "b/db@1"))
	two := known("a/web@2", "b/db@1")
	lost := well("a/web@2 APPLYING", "b/db@1 APPLIED")
	lost.APIError = "connection refused"
	failing := well("a/web@2 APPLYING", "b/db@1 APPLIED")
	failing.Packages["a/web"].Failures = []*wire.Failure{{Object: "ConfigMap a/b", Message: "no"}}
	held := well("a/web@2 APPLYING", "b/db@1 APPLIED")
	held.Packages["a/web"].DeletesHeld = &wire.DeletesHeld{Objects: 3, Holds: 4}
	upgraded := well("a/web@2 APPLYING", "b/db@1 APPLIED")
	upgraded.KubernetesVersion = "v2"
	for _, c := range []struct {
		reason  string
		facts   Facts
		desired Desired
		want    bool
	}{
		{"it was told, and has not said anything", well("a/web@1 APPLIED", "b/db@1 APPLIED"), two, true},
		{"it applies", well("a/web@2 APPLYING", "b/db@1 APPLIED"), two, true},
		{"it removes", well("a/web@1 REMOVING", "b/db@1 APPLIED"), Desired{session.DesiredSet{Assign: two.Set.Assign, Remove: []v1alpha1.PackageKey{"a/web"}}, true}, true},
		{"it has applied", well("a/web@2 APPLIED", "b/db@1 APPLIED"), two, false},
		{"one applies and another has applied", well("a/web@2 APPLYING", "b/db@2 APPLIED"), known("a/web@2", "b/db@2"), false},
		{"one applies and another failed", well("a/web@2 APPLYING", "b/db@1 FAILED"), two, false},
		{"something is wrong", failing, two, false},
		{"deletes wait", held, two, false},
		{"it is to hold one more", well("a/web@1 APPLIED", "b/db@1 APPLIED"), known("a/web@1", "b/db@1", "c/new@1"), false},
		{"one is gone", well("a/web@2 APPLYING"), known("a/web@2"), false},
		{"its API server does not answer", lost, two, false},
		{"it has another Kubernetes", upgraded, two, false},
	} {
		if got := atWork(member.Status, planned(c.facts, c.desired)); got != c.want {
			t.Errorf("%s: %t, want %t", c.reason, got, c.want)
		}
	}
}

// That agents are at work is written of a few, and of very many not before they have had the time to be done: for each of them there
// is one write less.
func TestWorkOfManyAtOnce(t *testing.T) {
	now := time.Unix(1700000000, 0)
	registry := NewRegistry(RegistryConfig{Replicas: crew{}, Now: func() time.Time { return now }})
	for i := range 3000 {
		registry.meet(v1alpha1.ClusterName(fmt.Sprint(i)), "1")
	}
	written := func() (n int) {
		for i := range 2999 {
			if registry.rest(v1alpha1.ClusterName(fmt.Sprint(i))) == 0 {
				n++
			}
		}
		return n
	}
	rests := func(reason string, want time.Duration) {
		t.Helper()
		if got := registry.rest("2999"); got != want {
			t.Errorf("%s: it rests for %v, want %v", reason, got, want)
		}
	}
	rests("alone", 0)
	registry.wrote("2999", "1", nil)
	if got := written(); got != workAtOnce-1 {
		t.Errorf("of 2,999 at work %d were written, want %d", got, workAtOnce-1)
	}
	rests("of many", 3*time.Second)
	now = now.Add(3 * time.Second)
	if got := written(); got != 3*work {
		t.Errorf("3 s later it was %d, want %d", got, 3*work)
	}
	rests("of many, a while later", 3*time.Second)
	now = now.Add(worksUntold - 4*time.Second)
	for registry.work.AllowN(now, 1) {
	}
	rests("not for much longer", time.Second)
	now = now.Add(time.Second)
	for registry.work.AllowN(now, 1) {
	}
	rests("it takes long", 0)
	registry.wrote("2999", "2", nil)
	rests("the next change of many", 3*time.Second)
	now = now.Add(time.Second)
	rests("the others are done", 0)
}
