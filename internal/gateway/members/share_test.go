package members

import (
	"testing"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
)

// crew is a hub's replicas as one of them sees them.
type crew struct {
	self  string
	leads bool
	gone  map[string]time.Time
}

func (c crew) Self() string { return c.self }
func (c crew) Leads() bool  { return c.leads }
func (c crew) Lapsed(name string) (time.Time, bool) {
	since, gone := c.gone[name]
	return since, gone
}

func TestShareOf(t *testing.T) {
	claim := func(replica, id string) *v1alpha1.MemberSession {
		return &v1alpha1.MemberSession{Replica: replica, ID: id}
	}
	follower := crew{self: "a", gone: map[string]time.Time{"dead": start}}
	leader := follower
	leader.leads = true
	inSession := Facts{InSession: true, Answered: true, Session: "1"}
	claimed := inSession
	claimed.Claimed = true
	for _, c := range []struct {
		reason   string
		claim    *v1alpha1.MemberSession
		facts    Facts
		replicas Replicas
		want     Share
	}{
		{"a hub that is one process", claim("b", "9"), Facts{}, crew{}, Ours},
		{"the session that is claimed is here", claim("a", "1"), claimed, follower, Ours},
		{"a session whose agent has answered claims", nil, inSession, follower, Ours},
		{"… also what another replica had", claim("b", "9"), inSession, follower, Ours},
		{"a session whose agent has not answered waits", claim("b", "9"), Facts{InSession: true, Session: "1"}, follower, Waiting},
		{"a later session took the member", claim("b", "9"), claimed, follower, Theirs},
		{"… and so it is, although that replica is gone by now", claim("dead", "9"), claimed, follower, Theirs},
		{"the session was here and nobody took the member since", claim("a", "1"), Facts{}, follower, Ours},
		{"another replica has it", claim("b", "9"), Facts{}, leader, Theirs},
		{"the replica that had it is gone, and this one follows", claim("dead", "9"), Facts{}, follower, Theirs},
		{"the replica that had it is gone, and this one leads", claim("dead", "9"), Facts{}, leader, Ours},
		{"it was never in session, and this one follows", nil, Facts{}, follower, Theirs},
		{"it was never in session, and this one leads", nil, Facts{}, leader, Ours},
		{"it was refused here", nil, Facts{Refused: &Refusal{}}, follower, Ours},
		{"it got its first certificate here", nil, Facts{Paper: Paper{NotAfter: start}}, follower, Ours},
		{"… and is in session elsewhere", claim("b", "9"), Facts{Paper: Paper{NotAfter: start}}, follower, Theirs},
	} {
		if got := ShareOf(c.claim, c.facts, c.replicas); got != c.want {
			t.Errorf("%s: got %d, want %d", c.reason, got, c.want)
		}
	}
}

// Of one member there is never more than one replica that writes, whatever each of them knows: this tries all combinations
// of two replicas, but for the two whose session nobody has claimed, which optimistic locking decides.
func TestOneWriter(t *testing.T) {
	states := []Facts{{}, {InSession: true, Session: "a1"}, {InSession: true, Answered: true, Session: "a1", Claimed: true}}
	for _, claim := range []*v1alpha1.MemberSession{nil, {Replica: "a", ID: "a1"}, {Replica: "b", ID: "b1"}, {Replica: "dead", ID: "x"}} {
		for _, leads := range []string{"a", "b"} {
			for _, atA := range states {
				for _, atB := range states {
					if atB.Session != "" {
						atB.Session = "b1"
					}
					gone := map[string]time.Time{"dead": start}
					a := ShareOf(claim, atA, crew{"a", leads == "a", gone})
					b := ShareOf(claim, atB, crew{"b", leads == "b", gone})
					if a == Ours && b == Ours {
						t.Errorf("claim %v, %s leads: both write (%+v, %+v)", claim, leads, atA, atB)
					}
				}
			}
		}
	}
}
