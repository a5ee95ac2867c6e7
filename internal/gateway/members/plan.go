package members

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/kube/conditions"
	"umbel.dev/umbel/internal/session"
)

// Facts are what the hub knows of a member since it started.
type Facts struct {
	// InSession says that a session is open, Answered that a probe came back in it, and APIError what the member's API
	// server lacks.
	InSession, Answered bool
	APIError            string
	// Session tells the session from others, and Claimed says that the stored status named it.
	Session string
	Claimed bool

	AgentVersion, KubernetesVersion string
	// Features are what the agent knows of.
	Features []string
	// Agent is what the agent said of its program; its Since is not set.
	Agent v1alpha1.MemberAgent
	// Heard says that Packages is what the member holds; before, nothing is known.
	Heard    bool
	Packages map[v1alpha1.PackageKey]*wire.PackageStatus
	details  int // that they take, in bytes (see hold)
	// Properties are what the member says of itself; nil as long as that is not known.
	Properties []*wire.ClusterProperty
	// Deletions is what the agent's journal holds; nil as long as that is not known.
	Deletions []v1alpha1.MemberDeletion
	// Told is what may be under way to the agent, in this session or when the last one ended. It is never written to.
	Told map[v1alpha1.PackageKey]*wire.Assignment
	// NotStored is why the agent could not store what it is to hold.
	NotStored string
	// Paper is the agent's certificate: all of it when this hub issued it since it started, and its issuer when an agent has
	// come in with it.
	Paper Paper
	// Trusts is the bundle of the hub's CAs that the agent says it keeps, by its digest.
	Trusts string

	// Lost says how the last session ended, unless there is one.
	Lost *Loss
	// Refused says why the agent was not let in, or not given a certificate, since.
	Refused *Refusal
	// Detached says that the agent has let go.
	Detached bool
}

// Paper is the certificate of an agent.
type Paper struct {
	NotAfter time.Time
	// Issuer is the fingerprint of the CA that issued it.
	Issuer string
}

// Loss is the end of a session.
type Loss struct {
	// Reason is ReasonProbeTimeout or ReasonSessionClosed.
	Reason string
	At     time.Time
	// LastSeen is when the last probe came back.
	LastSeen time.Time
}

// Refusal says why the hub did not let an agent in.
type Refusal struct {
	// Reason is ReasonTokenRefused, ReasonCertificateRefused or ReasonProtocolMismatch.
	Reason  string
	Message string
}

// Desired is what a member is to hold, and whether that is known.
type Desired struct {
	Set   session.DesiredSet
	Known bool
}

// Hub is what Plan has to know of the hub.
type Hub struct {
	Now, Started  time.Time
	ProbeInterval time.Duration
	// Before is when the hub was alive last before it was started; zero when that is not known.
	Before time.Time
	// Replica is which of the hub's replicas plans; empty where the hub is one process.
	Replica string
}

// restartGrace is how many probe intervals the last word on a member stands after the hub has started: 25 s, by which time
// agents are back. To write each of many down as Unknown, and as Connected seconds later, would keep them from coming back.
const restartGrace = 5

// Plan returns the status that a member should have, and when to look again; zero means when something happens.
func Plan(member *v1alpha1.MemberCluster, facts Facts, desired Desired, hub Hub) (v1alpha1.MemberClusterStatus, time.Duration) {
	status := *member.Status.DeepCopy()
	if facts.AgentVersion != "" {
		status.AgentVersion = facts.AgentVersion
	}
	if facts.Heard {
		status.AgentFeatures = facts.Features
		status.Agent = agentOf(status.Agent, facts.Agent, hub.Now)
	}
	if facts.KubernetesVersion != "" {
		status.KubernetesVersion = facts.KubernetesVersion
	}
	status.Session = claimOf(status.Session, facts, hub.Replica)
	omitted := 0
	if facts.Heard {
		all := packages(status.Packages, listing(facts, desired), hub.Now)
		status.Packages, omitted = fit(all, status.Packages, desired)
	}
	if facts.Properties != nil {
		status.Properties = properties(status.Properties, facts.Properties, hub.Now)
	}
	if facts.Deletions != nil {
		status.Deletions = deletions(status.Deletions, facts.Deletions)
	}
	switch id := status.Identity; {
	case id == nil:
	case Revoked(member, id.KeyFingerprint):
		status.Identity = nil
	default:
		identify(id, facts)
	}
	hold := Held(member)
	set := func(c metav1.Condition) metav1.Condition {
		c.ObservedGeneration, c.Message = member.Generation, clip(c.Message, maxMessage)
		meta.SetStatusCondition(&status.Conditions, c)
		return c
	}
	set(joined(status, facts, hold))
	wasConnected := meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionConnected)
	connected, again := connected(status, facts, hub)
	if v1alpha1.Hibernated(member.Annotations) && !facts.InSession {
		connected, again = hibernates(member), 0
	}
	if hold != nil {
		connected, again = heldBack(*hold), 0
	}
	connected = set(connected)
	switch {
	case connected.Status != metav1.ConditionUnknown && hold == nil:
	case facts.Lost != nil:
		status.LastSeen = stored(facts.Lost.LastSeen)
	case connected.Reason == v1alpha1.ReasonHubRestarted && wasConnected && !hub.Before.IsZero():
		status.LastSeen = stored(hub.Before) // it was connected for as long as there was a hub to say so
	}
	set(synced(status, connected, facts, desired, omitted))
	ends, next := certificates(&status, hub.Now)
	if ends.Type == "" { // it is not said any more
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionCertificatesValid)
	} else {
		set(ends)
	}
	if next > 0 && (again == 0 || next < again) {
		again = next
	}
	conditions.DeriveReady(&status.Conditions, member.Generation,
		v1alpha1.ConditionJoined, v1alpha1.ConditionConnected, v1alpha1.ConditionSynced)
	if !member.DeletionTimestamp.IsZero() {
		set(leaving(member, connected))
	}
	return status, again
}

// hibernates says of a member that is not expected to answer that it is not lost.
func hibernates(member *v1alpha1.MemberCluster) metav1.Condition {
	return metav1.Condition{
		Type: v1alpha1.ConditionConnected, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonHibernated,
		Message: "the cluster hibernates: `umbel cluster wake " + member.Name + "` wakes it",
	}
}

// certificates says whether a certificate by which the member is reached ends soon, and when that is to be said; nothing as long as its
// agent has not said when.
func certificates(status *v1alpha1.MemberClusterStatus, now time.Time) (c metav1.Condition, next time.Duration) {
	until, of := status.CertificateEnd()
	if until.IsZero() {
		return c, 0
	}
	c = metav1.Condition{
		Type: v1alpha1.ConditionCertificatesValid, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonCertificatesLast,
		Message: fmt.Sprintf("the first to end is that of its %s, at %s", of, until.UTC().Format(time.RFC3339)),
	}
	warn := until.Add(-v1alpha1.CertificateWarning)
	if now.Before(warn) {
		return c, warn.Sub(now)
	}
	c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonCertificateEnds
	c.Message = fmt.Sprintf("the certificate of its %s ends at %s: renew it; the hub does so in the clusters of its own machine", of, until.UTC().Format(time.RFC3339))
	return c, 0
}

func heldBack(hold Hold) metav1.Condition {
	return metav1.Condition{Type: v1alpha1.ConditionConnected, Status: metav1.ConditionFalse, Reason: hold.Reason, Message: hold.Message}
}

// joined says whether the agent's key is known. What keeps a suspended member out is not that.
func joined(status v1alpha1.MemberClusterStatus, facts Facts, hold *Hold) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionJoined, Status: metav1.ConditionFalse}
	last := meta.FindStatusCondition(status.Conditions, c.Type)
	switch {
	case hold != nil && (hold.Reason == v1alpha1.ReasonPendingApproval || hold.Reason == v1alpha1.ReasonDenied):
		c.Reason, c.Message = hold.Reason, hold.Message
	case status.Identity != nil:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonKeyPinned
		c.Message = fmt.Sprintf("the agent is known by its key %.12s…", status.Identity.KeyFingerprint)
	case facts.Refused != nil && facts.Refused.Reason == v1alpha1.ReasonTokenRefused:
		c.Reason, c.Message = v1alpha1.ReasonTokenRefused, facts.Refused.Message
	case last != nil && last.Reason == v1alpha1.ReasonTokenRefused:
		return *last
	case hold != nil && hold.Reason == v1alpha1.ReasonKeyRevoked:
		c.Reason, c.Message = hold.Reason, hold.Message
	default:
		c.Reason, c.Message = v1alpha1.ReasonAwaitingAgent, "no agent has presented its join token yet"
	}
	return c
}

func connected(status v1alpha1.MemberClusterStatus, facts Facts, hub Hub) (metav1.Condition, time.Duration) {
	c := metav1.Condition{Type: v1alpha1.ConditionConnected}
	last := meta.FindStatusCondition(status.Conditions, c.Type)
	keep := last != nil // the last word, until there is news
	switch {
	case facts.InSession && facts.Answered && facts.APIError == "":
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonProbeAnswered, "the agent and its API server answer"
	case facts.InSession && facts.Answered:
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonAPIUnreachable
		c.Message = "the agent answers, its API server does not: " + facts.APIError
		if keep && last.Reason == c.Reason {
			c.Message = last.Message // one outage, one message
		}
	case facts.InSession && keep:
		return *last, 0 // the first probe is on its way
	case facts.Refused != nil && facts.Refused.Reason != v1alpha1.ReasonTokenRefused:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, facts.Refused.Reason, facts.Refused.Message
	case facts.Lost != nil:
		// A connection that ends is mostly one that comes back at once.
		if wait := hub.ProbeInterval - hub.Now.Sub(facts.Lost.At); facts.Lost.Reason == v1alpha1.ReasonSessionClosed && keep && wait > 0 {
			return *last, wait
		}
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, facts.Lost.Reason, lossMessage(facts.Lost.Reason)
	case keep && last.Status == metav1.ConditionTrue || keep && last.Reason == v1alpha1.ReasonAPIUnreachable:
		if wait := restartGrace*hub.ProbeInterval - hub.Now.Sub(hub.Started); wait > 0 {
			return *last, wait
		}
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonHubRestarted
		c.Message = "the hub was started anew and has not heard from the agent since"
	case keep && last.Reason == v1alpha1.ReasonHibernated:
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonSessionClosed
		c.Message = "the cluster was woken and its agent has not come back since"
	case keep && last.Reason == v1alpha1.ReasonSuspended:
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonSessionClosed
		c.Message = "the cluster was resumed and its agent has not come back since; it tries again within 15 seconds"
	case keep && last.Reason != v1alpha1.ReasonAwaitingAgent && !isHold(last.Reason):
		return *last, 0
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonAwaitingAgent, "no agent has connected yet"
		if status.Identity != nil {
			c.Message = "the agent has its certificate and has not connected yet"
		}
	}
	return c, 0
}

func lossMessage(reason string) string {
	if reason == v1alpha1.ReasonProbeTimeout {
		return "no probe came back for three intervals; status.lastSeen says when the last one did"
	}
	return "the agent's connection ended and it has not come back; status.lastSeen says when it was heard last"
}

// synced says whether the member holds what it is to hold; omitted is how many packages its status has no room for.
func synced(status v1alpha1.MemberClusterStatus, connected metav1.Condition, facts Facts, desired Desired, omitted int) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionSynced, Status: metav1.ConditionFalse}
	last := meta.FindStatusCondition(status.Conditions, c.Type)
	if connected.Status != metav1.ConditionTrue {
		c.Status, c.Reason = metav1.ConditionUnknown, connected.Reason
		c.Message = "what the member holds now is not known: " + connected.Message
		return c
	}
	if !desired.Known || !facts.Heard {
		if last != nil {
			return *last
		}
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, v1alpha1.ReasonApplying, "the hub is finding out what the member is to hold"
		return c
	}
	if facts.NotStored != "" {
		c.Reason, c.Message = v1alpha1.ReasonPackageFailed, "the agent cannot store what it is to hold: "+facts.NotStored
		return c
	}
	if omitted > 0 {
		c.Reason = v1alpha1.ReasonPackageFailed
		c.Message = fmt.Sprintf("the member has more packages than its status has room for: %d are not shown, and not delivered unless it has them", omitted)
		return c
	}
	failed, pending := progress(status.Packages, desired.Set)
	held := holdingBack(status.Packages)
	switch {
	case len(failed) > 0:
		c.Reason, c.Message = v1alpha1.ReasonPackageFailed, some(failed, "; ")
	case len(held) > 0:
		c.Reason, c.Message = v1alpha1.ReasonDeletesHeld, some(held, "; ")
	case len(pending) > 0:
		c.Reason, c.Message = v1alpha1.ReasonApplying, "at work: "+some(pending, ", ")
	case len(desired.Set.Assign) == 0:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonNoPackages, "no Package is placed on the member"
	default:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonAllApplied
		c.Message = fmt.Sprintf("every Package is applied: %d", len(desired.Set.Assign))
	}
	return c
}

// progress names the packages that failed, with the reason, and those that are not yet as they should be; both sorted.
func progress(held []v1alpha1.MemberPackage, desired session.DesiredSet) (failed, pending []string) {
	states := make(map[v1alpha1.PackageKey]v1alpha1.MemberPackage, len(held))
	for _, p := range held {
		states[p.Package] = p
		if p.Phase == v1alpha1.PackageFailed {
			failed = append(failed, string(p.Package)+": "+p.Message)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(desired.Assign)) {
		p, ok := states[key]
		if p.Phase == v1alpha1.PackageFailed {
			continue
		}
		if !ok || p.Phase != v1alpha1.PackageApplied || p.Release != desired.Assign[key].GetRelease() {
			pending = append(pending, string(key))
		}
	}
	for _, key := range slices.Sorted(slices.Values(desired.Remove)) {
		_, assigned := desired.Assign[key]
		if _, ok := states[key]; ok && !assigned {
			pending = append(pending, string(key))
		}
	}
	return failed, pending
}

// some joins the first few of a list and counts the others.
func some(list []string, separator string) string {
	const most = 3
	if len(list) <= most {
		return strings.Join(list, separator)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], separator), len(list)-most)
}

func leaving(member *v1alpha1.MemberCluster, connected metav1.Condition) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonLeaving}
	switch {
	case connected.Reason == v1alpha1.ReasonSuspended:
		c.Message = fmt.Sprintf("the member leaves and is suspended, so its agent cannot be told: `umbel resume %s` lets it in; "+
			"`umbel leave %s --force` forgets it without its word", member.Name, member.Name)
	case connected.Status != metav1.ConditionTrue:
		c.Message = fmt.Sprintf("the member leaves and its agent is not connected: it is told when it comes back; "+
			"`umbel leave %s --force` forgets it without its word", member.Name)
	case member.Spec.DeletionPolicy == v1alpha1.DeletionPrune:
		c.Message = "the agent deletes what it applied, then leaves"
	default:
		c.Message = "the agent leaves; what it applied stays"
	}
	return c
}

// packages returns what the member holds, in the order of names, with the time at which the hub heard of it first.
func packages(before []v1alpha1.MemberPackage, heard map[v1alpha1.PackageKey]*wire.PackageStatus, now time.Time) []v1alpha1.MemberPackage {
	known := make(map[v1alpha1.PackageKey]v1alpha1.MemberPackage, len(before))
	for _, p := range before {
		known[p.Package] = p
	}
	after := make([]v1alpha1.MemberPackage, 0, len(heard))
	for _, key := range slices.Sorted(maps.Keys(heard)) {
		after = append(after, translate(key, heard[key], known[key], now))
	}
	if len(after) == 0 {
		return nil
	}
	return after
}

var phases = map[wire.PackageStatus_Phase]v1alpha1.MemberPackagePhase{
	wire.PackageStatus_APPLYING: v1alpha1.PackageApplying,
	wire.PackageStatus_APPLIED:  v1alpha1.PackageApplied,
	wire.PackageStatus_FAILED:   v1alpha1.PackageFailed,
	wire.PackageStatus_REMOVING: v1alpha1.PackageRemoving,
}

func translate(key v1alpha1.PackageKey, p *wire.PackageStatus, before v1alpha1.MemberPackage, now time.Time) v1alpha1.MemberPackage {
	after := v1alpha1.MemberPackage{
		Package: key, Release: p.GetRelease(), Revision: p.GetRevision(), Digest: p.GetDigest(),
		Phase: phases[p.GetPhase()], Message: p.GetMessage(),
		Objects: p.GetObjects(), Applied: p.GetApplied(), Healthy: p.GetHealthy(), Repairs: p.GetRepairs(),
		Since: *stored(now), DeletesHeld: heldOf(p.GetDeletesHeld()),
	}
	if after.Phase == "" {
		after.Phase = v1alpha1.PackageApplying // a phase of a later version, or none yet
	}
	if before.Phase == after.Phase && (before.Release == after.Release || before.Release == "") { // it may have been left out
		after.Since = before.Since
	}
	if after.DeletesHeld == nil && after.Phase == v1alpha1.PackageApplying && before.Release == after.Release {
		after.DeletesHeld = before.DeletesHeld // an agent that starts anew has not come to the deletes yet: they wait still
	}
	after.Refused = p.GetRefused()
	after.Drifting, after.Drifts = p.GetDrifting(), driftsOf(p.GetDrifts())
	after.Contested = contestsOf(p.GetContested())
	for _, f := range p.GetFailures() {
		after.Failures = append(after.Failures, v1alpha1.ObjectFailure{Object: f.GetObject(), File: f.GetFile(), Message: f.GetMessage()})
	}
	if r := p.GetLastRepair(); r != nil {
		after.LastRepair = &v1alpha1.Repair{Object: r.GetObject(), Cause: r.GetCause(), Time: *stored(now)}
		if last := before.LastRepair; last != nil && after.Repairs == before.Repairs &&
			last.Object == after.LastRepair.Object && last.Cause == after.LastRepair.Cause {
			after.LastRepair.Time = last.Time
		}
	}
	return after
}

// identify notes which certificate the agent has, and which CAs it keeps. What is not known yet stays as it was.
func identify(id *v1alpha1.MemberIdentity, facts Facts) {
	if renewed(id, facts.Paper.NotAfter) {
		id.CertificateNotAfter = stored(facts.Paper.NotAfter)
	}
	if facts.Paper.Issuer != "" {
		id.Issuer = facts.Paper.Issuer
	}
	if facts.Trusts != "" {
		id.Trust = facts.Trusts
	}
}

// worthwhile says whether a status is to be written. That the certificate has been renewed, and nothing else, is not: an idle
// member costs no write.
func worthwhile(before, after v1alpha1.MemberClusterStatus) bool {
	if then, now := before.Identity, after.Identity; then != nil && now != nil && then.CertificateNotAfter != nil {
		id := *now
		id.CertificateNotAfter = then.CertificateNotAfter
		after.Identity = &id
	}
	return !equality.Semantic.DeepEqual(before, after)
}

// renewed says whether a certificate was issued that ends later than the one that is known.
func renewed(id *v1alpha1.MemberIdentity, notAfter time.Time) bool {
	if id.CertificateNotAfter == nil {
		return !notAfter.IsZero()
	}
	return notAfter.Truncate(time.Second).After(id.CertificateNotAfter.Time)
}

// stored returns a time as the API keeps it, so that what was written and what is planned can be compared.
func stored(t time.Time) *metav1.Time { return &metav1.Time{Time: t.Truncate(time.Second)} }
