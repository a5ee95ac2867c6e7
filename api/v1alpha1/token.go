package v1alpha1

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	corevalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What a MemberCluster that registered itself says of how it did. The hub writes both when it creates it.
const (
	// RegisteredWithAnnotation is the name of the token.
	RegisteredWithAnnotation = "umbel.dev/registered-with"
	// RegisteredKeyAnnotation is the fingerprint of the key that asked: no other key gets the name, and this one does if the
	// token's Secret lists it too.
	RegisteredKeyAnnotation = "umbel.dev/registered-key"
)

// JoinPolicy says what becomes of a cluster that registers itself.
type JoinPolicy string

const (
	// JoinAutomatic admits it.
	JoinAutomatic JoinPolicy = "Automatic"
	// JoinApproval has it wait for somebody's approval.
	JoinApproval JoinPolicy = "Approval"
)

// MaxTokenUses is how many clusters one token can let in. Each use is written down in the token's Secret.
const MaxTokenUses = 1000

// MaxTokenName is how long the name of a token may be, so that SelfName is a name of a MemberCluster.
const MaxTokenName = 40

// JoinTokenData is the key of a token's Secret that holds the JoinToken, as JSON.
const JoinTokenData = "token.json"

// JoinTokenPrefix begins the name of the Secret of a JoinToken, in SystemNamespace. Its type is JoinTokenType.
const JoinTokenPrefix = "token-"

// JoinToken lets a number of clusters register themselves, each under a name of its own. Whoever presents it has
// NAME.RANDOM; the hub keeps the hash of that.
// +kubebuilder:object:generate=false
type JoinToken struct {
	// Hash is the SHA-256 of the token, in hex.
	Hash string `json:"hash"`
	// Expires is the token's last moment.
	Expires metav1.Time `json:"expires"`
	// MaxUses is how many clusters it lets in, 1 to MaxTokenUses.
	MaxUses int `json:"maxUses"`
	// Policy says what becomes of them.
	Policy JoinPolicy `json:"policy"`
	// Labels are those of the MemberClusters that it makes.
	Labels map[string]string `json:"labels,omitempty"`
	// Uses are the clusters that it has let in, by the fingerprint of their keys.
	Uses map[string]TokenUse `json:"uses,omitempty"`
}

// TokenUse is one cluster that a token has let in.
// +kubebuilder:object:generate=false
type TokenUse struct {
	Cluster ClusterName `json:"cluster"`
	// Made says that its MemberCluster was made: if there is none now, it has left, and the token does not bring it back.
	Made bool `json:"made,omitempty"`
}

// ParseJoinToken reads what a token's Secret holds.
func ParseJoinToken(raw []byte) (JoinToken, error) {
	var token JoinToken
	if err := json.Unmarshal(raw, &token); err != nil {
		return JoinToken{}, fmt.Errorf("%s: %w", JoinTokenData, err)
	}
	var wrong error
	switch {
	case token.Hash == "":
		wrong = errors.New("hash is missing")
	case token.MaxUses < 1 || token.MaxUses > MaxTokenUses:
		wrong = fmt.Errorf("maxUses is %d, want 1 to %d", token.MaxUses, MaxTokenUses)
	case token.Policy != JoinAutomatic && token.Policy != JoinApproval:
		wrong = fmt.Errorf("policy is %q, want %s or %s", token.Policy, JoinAutomatic, JoinApproval)
	}
	if wrong != nil {
		return JoinToken{}, fmt.Errorf("%s: %w", JoinTokenData, wrong)
	}
	return token, nil
}

// ValidClusterName says whether a MemberCluster can have the name.
func ValidClusterName(name ClusterName) bool {
	return len(corevalidation.NameIsDNSLabel(string(name), false)) == 0
}

// SelfName is the name of a cluster that is given none: that of its token, and ten hex digits of a hash of what tells
// clusters apart, the UID of their kube-system namespace.
func SelfName(token string, uid string) ClusterName {
	sum := sha256.Sum256([]byte(uid))
	return ClusterName(token + "-" + hex.EncodeToString(sum[:5]))
}
