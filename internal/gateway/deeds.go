package gateway

import (
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/audit"
)

// What the gateway does to members, in the audit log. The verbs are the hub's own: Kubernetes has none for it.
const (
	issueVerb  = "issue"  // a certificate, to an agent
	refuseVerb = "refuse" // an agent, or what it asks for
	holdVerb   = "hold"   // an agent is told to hold a package
	removeVerb = "remove" // an agent is told to remove one
	detachVerb = "detach" // an agent is told to let go of everything
	undoVerb   = "undo"   // an agent is told to bring back what it deleted
	undoneVerb = "undone" // an agent says that it has
	deleteVerb = "delete" // an agent says what it deleted of a package, and why it was allowed to
)

// telling records what the agent of a member is about to be told.
func (g *Gateway) telling(cluster v1alpha1.ClusterName) func(*wire.FromHub) {
	return func(message *wire.FromHub) {
		switch m := message.GetMessage().(type) {
		case *wire.FromHub_Desired:
			for _, a := range m.Desired.GetAssign() {
				details := map[string]string{
					"umbel.dev/release": a.GetRelease(), "umbel.dev/revision": a.GetRevision(), "umbel.dev/digest": a.Where().GetDigest(),
				}
				if as := a.GetPolicy().GetActsAs(); as != nil {
					details["umbel.dev/acts-as"] = as.GetNamespace() + "/" + as.GetName()
				}
				if id := a.GetPolicyId(); id != "" {
					details["umbel.dev/policy"] = id
				}
				g.order(cluster, a.GetPackage(), audit.Deed{Verb: holdVerb, Details: details})
			}
			for _, id := range m.Desired.GetUndo() {
				g.Audit.Did(audit.Deed{Verb: undoVerb, Cluster: cluster, Details: map[string]string{"umbel.dev/deletion": id}})
			}
			for _, key := range m.Desired.GetRemove() {
				g.order(cluster, key, audit.Deed{Verb: removeVerb})
			}
		case *wire.FromHub_Detach:
			g.Audit.Did(audit.Deed{Verb: detachVerb, Cluster: cluster, Details: map[string]string{"umbel.dev/prune": strconv.FormatBool(m.Detach.GetPrune())}})
		case *wire.FromHub_Refusal:
			g.Audit.Did(audit.Deed{Verb: refuseVerb, Cluster: cluster, Refused: m.Refusal.GetReason() + ": " + m.Refusal.GetMessage()})
		}
	}
}

// deleted records what the agent of a member says that a package lost there, or got back.
func (g *Gateway) deleted(cluster v1alpha1.ClusterName, d v1alpha1.MemberDeletion) {
	verb := deleteVerb
	if d.State == v1alpha1.DeletionUndone {
		verb = undoneVerb
	}
	g.Audit.Did(audit.Deed{Verb: verb, Cluster: cluster, Object: packageOf(string(d.Package)), Details: map[string]string{
		"umbel.dev/deletion": d.ID, "umbel.dev/release": d.Release, "umbel.dev/cause": string(d.Cause),
		"umbel.dev/approved": d.Approval, "umbel.dev/objects": strconv.Itoa(int(d.Objects)), "umbel.dev/names": strings.Join(d.Names, ", "),
	}})
}

// order records that an agent is told what to do with a package, unless it has been told the same too often.
func (g *Gateway) order(cluster v1alpha1.ClusterName, key string, deed audit.Deed) {
	omitted, once := g.orders.given(cluster, key, strings.Join([]string{
		deed.Verb, deed.Details["umbel.dev/release"], deed.Details["umbel.dev/digest"], deed.Details["umbel.dev/policy"],
	}, " "))
	if !once {
		return
	}
	if omitted > 0 {
		deed.Details = maps.Clone(deed.Details)
		if deed.Details == nil {
			deed.Details = map[string]string{}
		}
		deed.Details[audit.OmittedAnnotation] = strconv.Itoa(omitted)
	}
	deed.Cluster, deed.Object = cluster, packageOf(key)
	g.Audit.Did(deed)
}

const (
	// repeatBurst is how many orders that an agent had before are recorded at once, and repeatRest how long one more takes after
	// that. An agent that lost what it held is told all of it anew; one that says so again and again fills no log.
	repeatBurst = 200
	repeatRest  = 10 * time.Second
)

// orders remembers what agents were told last. It is safe for concurrent use.
type orders struct {
	repeats *quota

	mu      sync.Mutex
	members map[v1alpha1.ClusterName]*told
	most    int // of members, before those are forgotten who are told nothing twice
}

// told is what one agent was told last of each package, and how many orders were left out of the log since the last one that
// is in it.
type told struct {
	last    map[string]string
	omitted int
}

func newOrders(now func() time.Time) *orders {
	return &orders{repeats: newQuota(now, rate.Every(repeatRest), repeatBurst), members: map[v1alpha1.ClusterName]*told{}, most: 1024}
}

// given notes an order, and says whether it is to be recorded, with how many that were not. A new one always is.
func (o *orders) given(cluster v1alpha1.ClusterName, key, what string) (omitted int, recorded bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	member := o.members[cluster]
	if member == nil {
		o.forget()
		member = &told{last: map[string]string{}}
		o.members[cluster] = member
	}
	if member.last[key] == what && !o.repeats.take(string(cluster)) {
		member.omitted++
		return 0, false
	}
	member.last[key] = what
	omitted, member.omitted = member.omitted, 0
	return omitted, true
}

// forget drops those who repeat nothing, when there are many: an idle fleet takes no memory here. The caller holds the lock.
func (o *orders) forget() {
	if len(o.members) < o.most {
		return
	}
	maps.DeleteFunc(o.members, func(cluster v1alpha1.ClusterName, _ *told) bool { return o.repeats.full(string(cluster)) })
	o.most = max(o.most, 2*len(o.members))
}

func packageOf(key string) *auditv1.ObjectReference {
	namespace, name := v1alpha1.PackageKey(key).Split()
	return &auditv1.ObjectReference{
		APIGroup: v1alpha1.GroupVersion.Group, APIVersion: v1alpha1.GroupVersion.Version, Resource: "packages", Namespace: namespace, Name: name,
	}
}

// issued records that an agent got a certificate.
func (g *Gateway) issued(cluster v1alpha1.ClusterName, fingerprint, peer string, notAfter time.Time) {
	g.Audit.Did(audit.Deed{Verb: issueVerb, Cluster: cluster, Peer: peer, Details: map[string]string{
		"umbel.dev/key": fingerprint, "umbel.dev/not-after": notAfter.UTC().Format(time.RFC3339),
	}})
}

// turnedAway records that an agent was refused.
func (g *Gateway) turnedAway(no *refused, peer string) {
	cluster := no.cluster
	if !v1alpha1.ValidClusterName(cluster) {
		cluster = "" // a stranger may say anything
	}
	g.Audit.Did(audit.Deed{Verb: refuseVerb, Cluster: cluster, Peer: peer, Refused: no.reason + ": " + no.text})
}
