package apply

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/fields"
	"umbel.dev/umbel/internal/delivery/apply/health"
	"umbel.dev/umbel/internal/delivery/asks"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// rules are what a package's policy says of drift and health, ready for use. Nobody writes to them.
type rules struct {
	policy *wire.Policy
	leave  bool // drift is told, and left
	ignore []ignoring
	health health.Rules
	wrong  error // what of the policy cannot be used
}

// ignoring is fields of some objects that are left to others.
type ignoring struct {
	of    *wire.DriftIgnore
	rule  treatment
	exact string // of names the rule, for its hash
}

// treatment is how drift of one object is treated. The nil value is by the defaults: it is put back.
type treatment struct {
	leave    bool
	whole    bool // all of it is left to others, once it is there
	pointers []fields.Pointer
	managers []string
	digest   uint64 // of what is left to others; 0 when nothing is
}

// leftAlone is the treatment of an object of which drift is told and left, and nothing else.
var leftAlone = &treatment{leave: true}

func (t *treatment) leaves() bool { return t != nil && t.leave }

// hash is mixed into the hash of an object's bytes: other fields are sent when other fields are left out.
func (t *treatment) hash() uint64 {
	if t == nil {
		return 0
	}
	return t.digest
}

func (t *treatment) ignores() bool { return t != nil && t.digest != 0 }

// rulesOf makes a policy ready for use. What of it cannot be used is left out, and told.
func rulesOf(policy *wire.Policy) *rules {
	r := &rules{policy: policy, leave: policy.GetDriftMode() == wire.Policy_REPORT}
	var errs []error
	for i, each := range policy.GetDriftIgnore() {
		one := ignoring{of: each, rule: treatment{managers: each.GetManagers()}}
		for _, text := range each.GetJsonPointers() {
			p, err := fields.ParsePointer(text)
			if err != nil {
				errs = append(errs, fmt.Errorf("spec.drift.ignore[%d]: %w", i, err))
				continue
			}
			one.rule.pointers = append(one.rule.pointers, p)
			one.exact += p.String() + "\n"
		}
		one.exact += strings.Join(each.GetManagers(), "\x00") + "\x01"
		r.ignore = append(r.ignore, one)
	}
	var written []health.Rule
	for _, h := range policy.GetHealth() {
		written = append(written, health.Rule{
			Group: h.GetGroup(), Kind: h.GetKind(), Healthy: h.GetHealthy(),
			Progressing: h.GetProgressing(), Failed: h.GetFailed(), Message: h.GetMessage(),
		})
	}
	var err error
	r.health, err = health.Compile(written)
	r.wrong = errors.Join(append(errs, err)...)
	return r
}

// of returns how drift of an object is treated.
func (r *rules) of(key bundle.Key, wants asks.Asks) *treatment {
	leave := r.leave
	switch wants.Drift {
	case asks.DriftIgnore:
		return &treatment{whole: true, digest: wholeDigest}
	case asks.DriftRepair:
		leave = false
	case asks.DriftReport:
		leave = true
	}
	t := treatment{leave: leave}
	exact := ""
	for _, each := range r.ignore {
		if !concerns(each.of, key) {
			continue
		}
		t.pointers = append(t.pointers, each.rule.pointers...)
		t.managers = append(t.managers, each.rule.managers...)
		exact += each.exact
	}
	switch {
	case exact != "":
		t.digest = xxhash.Sum64String(exact)
		return &t
	case leave:
		return leftAlone
	}
	return nil
}

// wholeDigest is mixed into the hash of objects that are left to others as a whole.
var wholeDigest = xxhash.Sum64String("whole")

// core is how the group is written that has no name.
const core = "core"

// concerns says whether a rule is about an object.
func concerns(rule *wire.DriftIgnore, key bundle.Key) bool {
	is := func(wanted, got string) bool { return wanted == "" || wanted == got }
	group := key.Group
	if group == "" && rule.GetGroup() == core {
		group = core
	}
	return is(rule.GetGroup(), group) && is(rule.GetKind(), key.Kind) && is(rule.GetNamespace(), key.Namespace) && is(rule.GetName(), key.Name)
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
