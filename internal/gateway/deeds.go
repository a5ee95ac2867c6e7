package gateway

import (
	"strconv"
	"time"

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
)

// telling records what the agent of a member is about to be told.
func (g *Gateway) telling(cluster v1alpha1.ClusterName) func(*wire.FromHub) {
	return func(message *wire.FromHub) {
		switch m := message.GetMessage().(type) {
		case *wire.FromHub_Desired:
			for _, a := range m.Desired.GetAssign() {
				g.Audit.Did(audit.Deed{Verb: holdVerb, Cluster: cluster, Object: packageOf(a.GetPackage()), Details: map[string]string{
					"umbel.dev/release": a.GetRelease(), "umbel.dev/revision": a.GetRevision(), "umbel.dev/digest": a.GetDigest(),
				}})
			}
			for _, key := range m.Desired.GetRemove() {
				g.Audit.Did(audit.Deed{Verb: removeVerb, Cluster: cluster, Object: packageOf(key)})
			}
		case *wire.FromHub_Detach:
			g.Audit.Did(audit.Deed{Verb: detachVerb, Cluster: cluster, Details: map[string]string{"umbel.dev/prune": strconv.FormatBool(m.Detach.GetPrune())}})
		case *wire.FromHub_Refusal:
			g.Audit.Did(audit.Deed{Verb: refuseVerb, Cluster: cluster, Refused: m.Refusal.GetReason() + ": " + m.Refusal.GetMessage()})
		}
	}
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
