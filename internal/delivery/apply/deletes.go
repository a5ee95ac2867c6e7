package apply

import (
	"cmp"
	"slices"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/budget"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// maxNamed is how many objects a report about deletes names; MemberCluster.status allows no more.
const maxNamed = 10

// proposal is what a pass would prune for a release.
type proposal struct {
	release string
	holds   int // objects of the package, those that leave included
	leaving []leaver
}

// leaver is an object that leaves the package.
type leaver struct {
	key bundle.Key
	// kept: somebody brought it back after it was deleted, despite the approval with that id.
	kept    bool
	despite string
}

// staysDespite says whether the object is one that somebody brought back, and nobody has approved since that it goes.
func (l leaver) staysDespite(approval *wire.DeleteApproval) bool {
	return l.kept && (approval == nil || approval.GetId() == l.despite)
}

// consent says which of the objects may be deleted, why, and what waits for a word. It is all or nothing for those that
// nobody brought back: half of what a release deletes may be what the other half needs.
//
//   - An approval of the release lets all go, when there are not more of them than were approved. It is not about what
//     somebody brought back since it was given.
//   - Otherwise so many may go as the budget allows, and none of a kind that no budget allows.
//   - What was brought back stays until it is approved.
func consent(policy *wire.Policy, p proposal) (may []bundle.Key, cause string, held *wire.DeletesHeld) {
	approval := approvalOf(policy, p.release)
	var fresh, kept []leaver
	for _, l := range p.leaving {
		if l.staysDespite(approval) {
			kept = append(kept, l)
			continue
		}
		fresh = append(fresh, l)
	}
	allowed := budget.Allows(policy.GetDeleteBudget(), p.holds)
	approved := approval != nil && len(p.leaving) <= int(approval.GetObjects()) && protectedOf(p.leaving) <= int(approval.GetProtected())
	switch {
	case approved:
		return keysOf(fresh), causeApproved, waiting(p, kept, kept, allowed)
	case len(fresh) <= allowed && protectedOf(fresh) == 0:
		return keysOf(fresh), causeBudget, waiting(p, kept, kept, allowed)
	}
	return nil, "", waiting(p, p.leaving, kept, allowed)
}

// approvalOf returns the approval of a release that was given last, or nil.
func approvalOf(policy *wire.Policy, release string) *wire.DeleteApproval {
	for _, a := range slices.Backward(policy.GetDeleteApprovals()) {
		if a.GetRelease() == release {
			return a
		}
	}
	return nil
}

func protectedOf(leaving []leaver) (n int) {
	for _, l := range leaving {
		if budget.Protects(l.key) {
			n++
		}
	}
	return n
}

func keysOf(leaving []leaver) []bundle.Key {
	var keys []bundle.Key
	for _, l := range leaving {
		keys = append(keys, l.key)
	}
	return keys
}

// waiting tells of the objects that wait for a word; nil when none does.
func waiting(p proposal, objects, kept []leaver, allowed int) *wire.DeletesHeld {
	if len(objects) == 0 {
		return nil
	}
	return &wire.DeletesHeld{
		Objects: uint32(len(objects)), Holds: uint32(p.holds), Allowed: uint32(allowed),
		Protected: uint32(protectedOf(objects)), Kept: uint32(len(kept)), Names: named(keysOf(objects)),
	}
}

// named returns the names of a few objects, those of which most depends first.
func named(keys []bundle.Key) []string {
	keys = slices.Clone(keys)
	rank := func(key bundle.Key) int {
		if budget.Protects(key) {
			return 0
		}
		return 1
	}
	slices.SortFunc(keys, func(a, b bundle.Key) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), a.Compare(b)) })
	var names []string
	for _, key := range keys[:min(len(keys), maxNamed)] {
		names = append(names, key.String())
	}
	return names
}
