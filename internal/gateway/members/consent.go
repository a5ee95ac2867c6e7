package members

import (
	"fmt"
	"slices"

	"umbel.dev/umbel/api/v1alpha1"
)

// Hold says why the hub keeps a member's agent out, although the MemberCluster is there.
type Hold struct {
	// Reason is ReasonPendingApproval, ReasonDenied, ReasonSuspended or ReasonKeyRevoked.
	Reason string
	// Message says so in a sentence, with the next step. The agent hears it too.
	Message string
}

// Held returns what keeps the agents of a member out, whichever key they have; nil when nothing does.
func Held(member *v1alpha1.MemberCluster) *Hold {
	name := member.Name
	switch member.Spec.Admission {
	case v1alpha1.AdmissionPending:
		key := ""
		if id := member.Status.Identity; id != nil {
			key = fmt.Sprintf(" with the key %.12s…", id.KeyFingerprint)
		}
		return &Hold{v1alpha1.ReasonPendingApproval, fmt.Sprintf(
			"the cluster waits for approval%s: on the hub, `umbel approve %s` lets it in, `umbel deny %s` refuses it", key, name, name)}
	case v1alpha1.AdmissionDenied:
		return &Hold{v1alpha1.ReasonDenied, fmt.Sprintf(
			"the cluster was denied on the hub: `umbel approve %s` lets it in all the same, `umbel leave %s` forgets it", name, name)}
	case v1alpha1.AdmissionSuspended:
		return &Hold{v1alpha1.ReasonSuspended, fmt.Sprintf(
			"the cluster is suspended on the hub: it gets nothing new, what it holds stays and is repaired there; `umbel resume %s` lets it in again", name)}
	}
	if id := member.Status.Identity; len(member.Spec.RevokedKeys) > 0 && (id == nil || Revoked(member, id.KeyFingerprint)) {
		return &Hold{v1alpha1.ReasonKeyRevoked, fmt.Sprintf(
			"the key of the cluster's agent was revoked on the hub; `umbel join %s` lets the cluster in again, with a new key", name)}
	}
	return nil
}

// Revoked says whether a key is never let in again as this member's.
func Revoked(member *v1alpha1.MemberCluster, fingerprint string) bool {
	return slices.Contains(member.Spec.RevokedKeys, fingerprint)
}

// everAdmitted says whether the member's agent may have been let in: one that waits for approval, or was denied it, has not.
func everAdmitted(member *v1alpha1.MemberCluster) bool {
	return member.Spec.Admission != v1alpha1.AdmissionPending && member.Spec.Admission != v1alpha1.AdmissionDenied
}

// isHold says whether a condition's reason is one of a Hold.
func isHold(reason string) bool {
	switch reason {
	case v1alpha1.ReasonPendingApproval, v1alpha1.ReasonDenied, v1alpha1.ReasonSuspended, v1alpha1.ReasonKeyRevoked:
		return true
	}
	return false
}
