package apply

import (
	"errors"
	"slices"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/health"
	"umbel.dev/umbel/internal/delivery/asks"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
)

// rules are what a package's policy says of drift and health, ready for use. Nobody writes to them.
type rules struct {
	policy *wire.Policy
	left   outgoing.Rules
	health health.Rules
	wrong  error // what of the policy cannot be used
	// observes has all drift told and left, whatever anybody asks for.
	observes bool
}

// treatment is how drift of one object is treated. The nil value is by the defaults: it is put back.
type treatment struct {
	leave bool
	left  *outgoing.Left
}

// leftAlone is the treatment of an object of which drift is told and left, and nothing else.
var leftAlone = &treatment{leave: true}

func (t *treatment) leaves() bool { return t != nil && t.leave }

// hash is mixed into the hash of an object's bytes: other fields are sent when other fields are left out.
func (t *treatment) hash() uint64 {
	if t == nil {
		return 0
	}
	return t.left.Digest()
}

func (t *treatment) ignores() bool { return t.hash() != 0 }

// rulesOf makes a policy ready for use. What of it cannot be used is left out, and told.
func rulesOf(policy *wire.Policy) *rules {
	r := &rules{policy: policy}
	var written []health.Rule
	for _, h := range policy.GetHealth() {
		written = append(written, health.Rule{
			Group: h.GetGroup(), Kind: h.GetKind(), Healthy: h.GetHealthy(),
			Progressing: h.GetProgressing(), Failed: h.GetFailed(), Message: h.GetMessage(),
		})
	}
	var unread, unmade error
	r.left, unread = outgoing.RulesOf(policy.GetDriftIgnore())
	r.left.Report = policy.GetDriftMode() == wire.Policy_REPORT
	r.health, unmade = health.Compile(written)
	r.wrong = errors.Join(unread, unmade)
	return r
}

// of returns how drift of an object is treated.
func (r *rules) of(key bundle.Key, wants asks.Asks) *treatment {
	leave := r.observes || r.left.Leaves(wants)
	if left := r.left.Left(key, wants); left != nil {
		return &treatment{leave, left}
	}
	if leave {
		return leftAlone
	}
	return nil
}

// takeUp makes the rules of the policy that is asked for the ones in force. Kinds whose health is judged otherwise from now
// on are looked at anew.
func (u *unit) takeUp() *rules {
	policy := u.policy()
	before := u.rules.Load()
	if before != nil && proto.Equal(before.policy, policy) {
		return before
	}
	now := rulesOf(policy)
	now.observes = u.engine.needs.Observes
	u.rules.Store(now)
	if now.wrong != nil {
		u.log.Warn("not all of the package's policy can be used", "error", now.wrong)
	}
	if before == nil {
		return now // nothing has been judged by others yet
	}
	kinds := map[schema.GroupKind]bool{}
	if !slices.EqualFunc(before.policy.GetHealth(), policy.GetHealth(), func(a, b *wire.HealthRule) bool { return proto.Equal(a, b) }) {
		for gk := range before.health {
			kinds[gk] = true
		}
		for gk := range now.health {
			kinds[gk] = true
		}
	}
	for gk := range kinds {
		u.engine.watches.again(gk)
	}
	return now
}

// ruleFor returns the health rule of a kind, or nil.
func (u *unit) ruleFor(gk schema.GroupKind) *health.Compiled {
	if r := u.rules.Load(); r != nil {
		return r.health[gk]
	}
	return nil
}
