package decide

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// Policy is how agents treat a Package, whatever its Release. Clusters get the same, but for those that the spec names: their
// messages are made when somebody asks.
type Policy struct {
	everywhere *wire.Policy
	id         string // of everywhere
	// named are those approvals that are for some clusters, by cluster; nil when there are none.
	named map[v1alpha1.ClusterName][]*wire.DeleteApproval
}

// PolicyOf makes the policy of a Package of its spec and of whose it is. A spec of the platform that says nothing makes none, and agents go by their defaults.
func PolicyOf(spec *v1alpha1.PackageSpec, team Team) Policy {
	policy := &wire.Policy{ActsAs: team.ActsAs}
	var named map[v1alpha1.ClusterName][]*wire.DeleteApproval
	if deletes := spec.Deletes; deletes != nil {
		policy.DeleteBudget = budgetOf(deletes.Budget)
		for _, approved := range deletes.Approved {
			approval := &wire.DeleteApproval{
				Release: approved.Release, Objects: uint32(max(0, approved.Objects)), Protected: uint32(max(0, approved.Protected)),
				Id: approved.At.UTC().Format(time.RFC3339Nano),
			}
			if len(approved.Clusters) == 0 {
				policy.DeleteApprovals = append(policy.DeleteApprovals, approval)
				continue
			}
			if named == nil {
				named = map[v1alpha1.ClusterName][]*wire.DeleteApproval{}
			}
			for _, cluster := range approved.Clusters {
				named[cluster] = append(named[cluster], approval)
			}
		}
	}
	addDrift(policy, spec)
	everywhere, id := identified(policy)
	return Policy{everywhere, id, named}
}

// budgetOf is a budget as agents read it; nil where none is given. The API takes no other text than a percentage.
func budgetOf(given *intstr.IntOrString) *wire.Budget {
	if given == nil {
		return nil
	}
	if given.Type == intstr.Int {
		return &wire.Budget{Limit: &wire.Budget_Count{Count: uint32(max(0, given.IntVal))}}
	}
	percent, err := strconv.ParseUint(strings.TrimSuffix(given.StrVal, "%"), 10, 32)
	if err != nil {
		percent = 0 // nothing is allowed by what nobody understands
	}
	return &wire.Budget{Limit: &wire.Budget_Percent{Percent: uint32(percent)}}
}

// identified returns the policy with what tells it from others, and none when it says nothing.
func identified(policy *wire.Policy) (*wire.Policy, string) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(policy)
	if err != nil || len(raw) == 0 { // there is no text in it that is not one
		return nil, ""
	}
	sum := sha256.Sum256(raw)
	return policy, hex.EncodeToString(sum[:8])
}

// Equal says whether two policies are the same, for every cluster.
func (p Policy) Equal(other Policy) bool {
	if p.id != other.id || len(p.named) != len(other.named) {
		return false
	}
	for cluster, approvals := range p.named {
		same := func(a, b *wire.DeleteApproval) bool { return proto.Equal(a, b) }
		if !slices.EqualFunc(approvals, other.named[cluster], same) {
			return false
		}
	}
	return true
}
