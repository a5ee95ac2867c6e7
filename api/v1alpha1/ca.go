package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// CAConfigMap is where people and the hub speak of the members' certificate authority, in SystemNamespace of the hub. It
// holds no key.
const (
	CAConfigMap = "umbel-ca"
	// CARequestKey is its key for what was asked for last: a CARequest as JSON. `umbel ca rotate` writes it.
	CARequestKey = "request"
	// CAStatusKey is its key for how things are: a CAStatus as JSON. The hub writes it.
	CAStatusKey = "status"
)

// CAAction is what somebody wants of the members' certificate authority.
type CAAction string

const (
	// CARotate begins a rotation: the old authority endorses the new one.
	CARotate CAAction = "Rotate"
	// CARotateCompromised begins one because the key was stolen: nothing of the old authority counts after it.
	CARotateCompromised CAAction = "RotateCompromised"
	// CAFinish takes the steps that are left now, whoever has not been heard.
	CAFinish CAAction = "Finish"
	// CACancel drops the new authority before it has issued anything.
	CACancel CAAction = "Cancel"
)

// CARequest is one wish. A new one has a new ID.
// +kubebuilder:object:generate=false
type CARequest struct {
	ID     string   `json:"id"`
	Action CAAction `json:"action"`
}

// CAPhase says how far a rotation is.
type CAPhase string

const (
	// CASettled: no rotation is under way.
	CASettled CAPhase = "Settled"
	// CAAnnounced: there is a new authority, which members are told to trust; the old one issues.
	CAAnnounced CAPhase = "Announced"
	// CASwitched: the new one issues; what the old one issued is accepted until the overlap is over.
	CASwitched CAPhase = "Switched"
)

// CAStatus is how it stands with the members' certificate authority.
// +kubebuilder:object:generate=false
type CAStatus struct {
	Phase CAPhase `json:"phase"`
	// Since is when the phase began.
	Since *metav1.Time `json:"since,omitempty"`
	// Until is when the hub takes the next step by itself at the latest; nothing when it waits for a person.
	Until *metav1.Time `json:"until,omitempty"`
	// Compromised says that the rotation that is under way is one because of a stolen key.
	Compromised bool `json:"compromised,omitempty"`
	// Bundle is the digest of what members are to trust: status.identity.trust of a member that does.
	Bundle string `json:"bundle"`
	// Request is the ID of the request that was answered last, and Refused why nothing was done about it.
	Request string `json:"request,omitempty"`
	Refused string `json:"refused,omitempty"`
	// Authorities are all that are remembered, the one that issues first.
	Authorities []CAAuthority `json:"authorities"`
	// Warnings are what somebody has to look after.
	Warnings []string `json:"warnings,omitempty"`
}

// CARole is what an authority counts for.
type CARole string

const (
	// CAIssues: it signs certificates.
	CAIssues CARole = "Issues"
	// CANext: it will.
	CANext CARole = "Next"
	// CAAccepted: it did, and what it signed is accepted.
	CAAccepted CARole = "Accepted"
	// CARetired: what it signed is refused. Its successor is endorsed by it, so that who trusts it finds back.
	CARetired CARole = "Retired"
	// CADistrusted: its key was stolen. Members are told not to trust it.
	CADistrusted CARole = "Distrusted"
)

// CAAuthority is one certificate authority.
// +kubebuilder:object:generate=false
type CAAuthority struct {
	Name string `json:"name"`
	// Fingerprint is the beginning of the SHA-256 of its key: status.identity.issuer of a member whose certificate it issued.
	Fingerprint string      `json:"fingerprint"`
	Role        CARole      `json:"role"`
	NotBefore   metav1.Time `json:"notBefore"`
	NotAfter    metav1.Time `json:"notAfter"`
	// Refused counts the agents that were refused because this authority had issued their certificate, on one replica, since
	// it started.
	Refused int64 `json:"refused,omitempty"`
}
