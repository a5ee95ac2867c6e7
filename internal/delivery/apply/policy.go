package apply

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
)

// policyOf is the policy of an assignment as it is kept: with what this version does not know of it, which a later one
// will. A hub that sends none means the defaults.
func policyOf(a *wire.Assignment) (*disk.Policy, error) {
	if a.GetPolicy() == nil {
		return nil, nil
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(a.GetPolicy())
	if err != nil {
		return nil, fmt.Errorf("keeping its policy: %w", err)
	}
	return &disk.Policy{ID: a.GetPolicyId(), Raw: raw}, nil
}

// policy is how the package is to be treated now; nil is by the defaults. What cannot be read on disk is no policy: the
// defaults are the careful ones.
func (u *unit) policy() *wire.Policy { return u.policyIn(u.asked()) }

func (u *unit) policyIn(o disk.Order) *wire.Policy {
	kept := o.Policy
	if kept == nil {
		return nil
	}
	policy := &wire.Policy{}
	if err := proto.Unmarshal(kept.Raw, policy); err != nil {
		u.log.Error("the policy on disk cannot be read; the defaults hold", "error", err)
		return nil
	}
	return policy
}

// policyID names the policy that an order has; empty when it has none.
func policyID(o disk.Order) string {
	if o.Policy == nil {
		return ""
	}
	return o.Policy.ID
}
