package members

import (
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/session"
)

// ErrReplaced ends a session when a newer one of the same member begins.
var ErrReplaced = errors.New("a newer session of the same member replaced this one")

// RegistryConfig is what a Registry needs.
type RegistryConfig struct {
	// Desired says what a member is to hold.
	Desired func(v1alpha1.ClusterName) (session.DesiredSet, bool)
	// ProbeInterval of the sessions.
	ProbeInterval time.Duration
	// Before is when the hub was alive last before this start; zero when that is not known.
	Before time.Time
	// Replicas of the hub.
	Replicas Replicas
	// Deleted hears what packages lost on members, and got back, before the status says so. Optional.
	Deleted func(v1alpha1.ClusterName, v1alpha1.MemberDeletion)
	Now     func() time.Time
	Log     *slog.Logger
}

// Registry holds the sessions of the members and what is known from them, in memory. It is safe for concurrent use.
type Registry struct {
	config  RegistryConfig
	started time.Time

	mu      sync.Mutex
	members map[v1alpha1.ClusterName]*record
	soon    *rate.Limiter                             // of lasting news
	work    *rate.Limiter                             // of news that an agent is at work
	notify  func(v1alpha1.ClusterName, time.Duration) // the controller's; nil until it runs
}

// record is what is known of one MemberCluster.
type record struct {
	uid      types.UID
	facts    Facts
	presence *Presence // of the current session, nil without one
	writes   *rate.Limiter
	// listed are the packages that the stored status surely names (see listing.go); nil before it was read.
	listed map[v1alpha1.PackageKey]bool
	// written is the resource version of the last status that this replica wrote.
	written string
	// atWork is since when nothing but that the agent is at work could have been written and was not; zero otherwise.
	atWork time.Time
	// program is what the agent is to run; nil when that is left to itself.
	program *v1alpha1.AgentProgram
	// profile is what the agent is to measure.
	profile v1alpha1.MetricsProfile
	// level is how far the agent is to go.
	level v1alpha1.Level
	// undo are the deletions that the agent is to undo.
	undo []string
}

// NewRegistry returns a registry that knows nothing yet.
func NewRegistry(config RegistryConfig) *Registry {
	return &Registry{
		config: config, started: config.Now(), members: map[v1alpha1.ClusterName]*record{},
		soon: rate.NewLimiter(soon, soonAtOnce), work: rate.NewLimiter(work, workAtOnce),
	}
}

// Begin makes room for a session; the member's older one is ended.
func (r *Registry) Begin(s Session) *Presence {
	p := &Presence{
		Session: s, registry: r, orders: make(chan *wire.FromHub, 2), listed: make(chan struct{}, 1),
		upgrade: make(chan *wire.Upgrade, 1), measures: make(chan struct{}, 1), seen: r.config.Now(),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.recordOf(s.Cluster, s.UID)
	if older := rec.presence; older != nil {
		older.End(ErrReplaced)
	}
	rec.presence, rec.profile, rec.level = p, s.Profile, s.Level
	// The older session's answers and its claim are not this one's: a claim of another replica's would end it.
	rec.facts.Answered, rec.facts.Claimed = false, false
	if r.config.Replicas.Self() != "" {
		rec.listed = map[v1alpha1.PackageKey]bool{} // other replicas may have written: nothing is sure before its claim is
	}
	p.order(rec.program)
	return p
}

// run notes what the agent of a member is to run, and has it told when that is news.
func (r *Registry) run(cluster v1alpha1.ClusterName, program *v1alpha1.AgentProgram) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.record(cluster)
	if equality.Semantic.DeepEqual(rec.program, program) {
		return
	}
	rec.program = program.DeepCopy()
	if rec.presence != nil {
		rec.presence.order(rec.program)
	}
}

// instruct notes what the agent of a member is to measure and how far it is to go, and has it told when that is news.
func (r *Registry) instruct(cluster v1alpha1.ClusterName, profile v1alpha1.MetricsProfile, level v1alpha1.Level) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.record(cluster)
	if rec.profile == profile && rec.level == level {
		return
	}
	rec.profile, rec.level = profile, level
	if rec.presence == nil {
		return
	}
	select {
	case rec.presence.measures <- struct{}{}:
	default:
	}
}

// Refuse notes that an agent of the MemberCluster was not let in. While another one is in session it changes nothing, nor does
// it say anything of another MemberCluster of that name that is known by now.
func (r *Registry) Refuse(cluster v1alpha1.ClusterName, uid types.UID, refusal Refusal) {
	r.mu.Lock()
	if rec := r.members[cluster]; rec != nil && rec.uid != uid {
		r.mu.Unlock()
		return
	}
	rec := r.recordOf(cluster, uid)
	if rec.presence == nil {
		rec.facts.Refused = &refusal
	}
	r.mu.Unlock()
	r.Poke(cluster)
}

// Pinning notes that a key is about to be pinned: how a session of another key ended before says nothing of its agent.
func (r *Registry) Pinning(cluster v1alpha1.ClusterName, uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recordOf(cluster, uid).facts.Lost = nil
}

// Issued notes that a certificate was issued outside of a session.
func (r *Registry) Issued(cluster v1alpha1.ClusterName, uid types.UID, paper Paper) {
	r.mu.Lock()
	r.recordOf(cluster, uid).facts.Paper = paper
	r.mu.Unlock()
	r.Poke(cluster)
}

// Kube returns the way to the member's API server, or nil when the member is not in session.
func (r *Registry) Kube(cluster v1alpha1.ClusterName) http.RoundTripper {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec := r.members[cluster]; rec != nil && rec.presence != nil && rec.facts.InSession {
		return rec.presence.Kube
	}
	return nil
}

// Poke has the controller look at the member soon.
func (r *Registry) Poke(cluster v1alpha1.ClusterName) { r.poke(cluster, coalesce) }

// poke has the controller look at the member after a time, or earlier if somebody wants that.
func (r *Registry) poke(cluster v1alpha1.ClusterName, after time.Duration) {
	r.mu.Lock()
	notify := r.notify
	r.mu.Unlock()
	if notify != nil {
		notify(cluster, after)
	}
}

// snapshot returns what is known of the member. The messages in it are shared and never written to.
func (r *Registry) snapshot(cluster v1alpha1.ClusterName) Facts {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.members[cluster]
	if rec == nil {
		return Facts{}
	}
	facts := rec.facts
	facts.Packages = maps.Clone(facts.Packages)
	return facts
}

// detach tells the member's agent, once per session, to go. A member that is not in session is told when it comes.
func (r *Registry) detach(cluster v1alpha1.ClusterName, wish *wire.Detach) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.members[cluster]
	if rec == nil || rec.presence == nil || !rec.facts.InSession || rec.presence.detaching {
		return
	}
	rec.presence.detaching = true
	rec.presence.orders <- &wire.FromHub{Message: &wire.FromHub_Detach{Detach: wish}}
}

// known returns what is known of a member, but for its packages, and the version of the last status that was written here.
func (r *Registry) known(cluster v1alpha1.ClusterName) (facts Facts, written string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec := r.members[cluster]; rec != nil {
		facts, written = rec.facts, rec.written
		facts.Packages, facts.Told = nil, nil
	}
	return facts, written
}

// wrote notes that the status was written, and which session it names.
func (r *Registry) wrote(cluster v1alpha1.ClusterName, version string, claim *v1alpha1.MemberSession) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.record(cluster)
	rec.written, rec.atWork = version, time.Time{}
	if claim != nil && claim.ID == rec.facts.Session {
		rec.facts.Claimed = true
	}
}

// yield forgets what is known of a member that is another replica's. A session that had it until then ends.
func (r *Registry) yield(cluster v1alpha1.ClusterName, uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.members[cluster]
	switch {
	case rec == nil || rec.uid != uid:
	case rec.presence != nil && rec.facts.Claimed:
		rec.presence.End(ErrReplaced)
	case rec.presence == nil:
		delete(r.members, cluster)
	}
}

// key returns the key that is in session for the member, or nothing.
func (r *Registry) key(cluster v1alpha1.ClusterName) (fingerprint string, presence *Presence) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec := r.members[cluster]; rec != nil && rec.presence != nil {
		return rec.presence.Fingerprint, rec.presence
	}
	return "", nil
}

// UID returns which MemberCluster of that name is known, if any.
func (r *Registry) UID(cluster v1alpha1.ClusterName) types.UID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec := r.members[cluster]; rec != nil {
		return rec.uid
	}
	return ""
}

// meet makes room for what will be known of a MemberCluster.
func (r *Registry) meet(cluster v1alpha1.ClusterName, uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recordOf(cluster, uid)
}

// forget drops what is known of a MemberCluster that does not exist any more; its session is told so and ends.
func (r *Registry) forget(cluster v1alpha1.ClusterName, uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec := r.members[cluster]; rec != nil && rec.uid == uid {
		r.drop(cluster, rec)
	}
}

// drop forgets a record. The caller holds the lock.
func (r *Registry) drop(cluster v1alpha1.ClusterName, rec *record) {
	delete(r.members, cluster)
	if rec.presence == nil {
		return
	}
	refusal := &wire.Refusal{
		Reason:  session.ReasonNoMember,
		Message: "the MemberCluster was deleted on the hub, so the agent's key is worth nothing any more; to come back, run `umbel join`",
	}
	rec.presence.orders <- &wire.FromHub{Message: &wire.FromHub_Refusal{Refusal: refusal}}
}

// wait returns how long the next write of the member's status has to wait, and counts it when that is no time.
func (r *Registry) wait(cluster v1alpha1.ClusterName) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	reservation := r.record(cluster).writes.ReserveN(r.config.Now(), 1)
	delay := reservation.DelayFrom(r.config.Now())
	if delay > 0 {
		reservation.CancelAt(r.config.Now())
	}
	return delay
}

// recordOf returns the record of a MemberCluster and makes one when there is none. One of an earlier MemberCluster of
// that name is dropped. The caller holds the lock.
func (r *Registry) recordOf(cluster v1alpha1.ClusterName, uid types.UID) *record {
	if rec := r.members[cluster]; rec != nil && rec.uid != uid {
		r.drop(cluster, rec)
	}
	rec := r.record(cluster)
	rec.uid = uid
	return rec
}

// record returns the member's record and makes one when there is none. The caller holds the lock.
func (r *Registry) record(cluster v1alpha1.ClusterName) *record {
	rec := r.members[cluster]
	if rec == nil {
		rec = &record{writes: rate.NewLimiter(2, 5)}
		r.members[cluster] = rec
	}
	return rec
}
