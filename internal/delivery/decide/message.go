package decide

import (
	"google.golang.org/protobuf/proto"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// Message is what clusters are told that get a variant of a Release, sealed by seal, which may be nil. It is one for all of them: what a
// single one is told is made of it by MessageFor.
func (p Policy) Message(key v1alpha1.PackageKey, release *v1alpha1.Release, variant *v1alpha1.Variant, seal *wire.Seal) *wire.Assignment {
	message := &wire.Assignment{
		Package: string(key), Release: release.Name, Revision: release.Spec.Revision, Policy: p.everywhere, PolicyId: p.id,
		Seal: seal,
	}
	content := wire.Content{Repository: release.Spec.Repository, Digest: variant.Digest, Size: variant.Size}
	if message.GetPolicy().GetActsAs() != nil {
		message.Content = &content // where an agent that cannot act as anybody does not look
	} else {
		message.Repository, message.Digest, message.Size = content.Repository, content.Digest, content.Size
	}
	return message
}

// MessageFor is the message to one cluster: message itself, which is shared and not written to, or a copy where the Package says something else
// of this cluster, or a Plan does. A nil message stays nil.
func (s *Seen) MessageFor(cluster v1alpha1.ClusterName, variant *v1alpha1.Variant, message *wire.Assignment) *wire.Assignment {
	return s.Policy.on(message, cluster, s.planned(cluster, variant))
}

// on puts the policy on a message to a cluster, with what is planned there.
func (p Policy) on(message *wire.Assignment, cluster v1alpha1.ClusterName, planned planned) *wire.Assignment {
	approvals := p.named[cluster]
	if message == nil || len(approvals) == 0 && planned.changes == "" {
		return message
	}
	own := &wire.Policy{}
	if p.everywhere != nil {
		own = proto.CloneOf(p.everywhere)
	}
	own.DeleteApprovals = append(own.DeleteApprovals, approvals...)
	own.Planned, own.PlannedDeletes = planned.changes, planned.deletes
	message = proto.CloneOf(message)
	message.Policy, message.PolicyId = identified(own)
	if own.GetPlanned() != "" {
		message.Content = message.Where() // where an agent that does not know of plans does not look
		message.Repository, message.Digest, message.Size = "", "", 0
	}
	return message
}
