package v1alpha1

import (
	"encoding/json"
	"strings"
)

// VerifiedAnnotation stands on a Release whose source was verified, with a Verified as JSON. The hub puts it there and takes it
// away.
const VerifiedAnnotation = "umbel.dev/verified"

// SealAnnotation stands on a Release, with the hub's signature of it: agents take no Release without.
const SealAnnotation = "umbel.dev/seal"

// GitVerificationMode says what of a Git repository has to be signed.
type GitVerificationMode string

// The modes.
const (
	VerifyHEAD       GitVerificationMode = "HEAD"
	VerifyTag        GitVerificationMode = "Tag"
	VerifyTagAndHEAD GitVerificationMode = "TagAndHEAD"
)

// GitVerification says by whom a commit has to be signed.
type GitVerification struct {
	// mode says what has to be signed: HEAD, which is the commit; Tag, the tag, which then has to be an annotated one; or
	// TagAndHEAD, both.
	// +kubebuilder:validation:Enum=HEAD;Tag;TagAndHEAD
	// +kubebuilder:default=HEAD
	// +optional
	Mode GitVerificationMode `json:"mode,omitempty"`

	Verification `json:",inline"`
}

// Verification says whose signatures are taken.
type Verification struct {
	// keysFrom are Secrets and ConfigMaps on the hub, in the namespace of the Package, each of whose entries holds keys: of Git
	// a file of allowed signers as ssh has it, or GPG public keys in armour; of artifacts public keys in PEM, as cosign makes them. They are read as often as the source is
	// asked. A key that is taken out is not trusted any more, also for what it signed before.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	KeysFrom []KeysReference `json:"keysFrom"`
}

// KeysReference names a ConfigMap or a Secret with public keys.
type KeysReference struct {
	// kind of the object.
	// +kubebuilder:validation:Enum=ConfigMap;Secret
	Kind string `json:"kind"`
	// name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Verified says by whom a revision was signed.
type Verified struct {
	// under names the rule by which it was verified; a rule that changes is another one. It is empty when it does not hold now.
	Under string `json:"under"`
	// revision that was verified.
	Revision string `json:"revision"`
	// tag is the hash of the object of a Git tag.
	// +optional
	Tag string `json:"tag,omitempty"`
	// by names who signed it, and the key.
	By string `json:"by"`
}

// Doubted is the same revision under no rule: what was signed is remembered, the tag above all, since it may be verified again once
// the keys are right. Nil stays nil.
func (v *Verified) Doubted() *Verified {
	if v == nil {
		return nil
	}
	doubted := *v
	doubted.Under = ""
	return &doubted
}

// VerifiedUnder says whether the hub found the Release to be verified under a rule.
func (r *Release) VerifiedUnder(rule string) bool {
	// Asked for every cluster: under is the first field that is written.
	return strings.HasPrefix(r.Annotations[VerifiedAnnotation], `{"under":"`+rule+`",`)
}

// Verified returns what the hub found when it verified the Release; nil when it did not.
func (r *Release) Verified() *Verified {
	var v Verified
	if text := r.Annotations[VerifiedAnnotation]; text == "" || json.Unmarshal([]byte(text), &v) != nil {
		return nil
	}
	return &v
}
