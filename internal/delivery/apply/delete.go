package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
)

// Why deletes are allowed, as the journal says it.
const (
	causeBudget   = "Budget"   // they are within the package's budget
	causeApproved = "Approved" // somebody approved them
	causeRemoved  = "Removed"  // the package does not belong on the member any more
)

// together is how many objects are read, kept and deleted at a time.
const together = 32

// because is why objects are deleted.
type because struct {
	release  disk.Release
	cause    string
	approval string
	deletion string // how the journal calls it, once it does
}

// releaseOf names the release of a content, and none when all of the package goes.
func (u *unit) releaseOf(c *disk.Content) string {
	if t := u.asked().Target(); t != nil && c != nil {
		return t.Release
	}
	return ""
}

// consent says which of the objects may be deleted, why, and what waits for a word. When all of the package goes, somebody
// decided that for this member.
func (u *unit) consent(c *disk.Content, keys []bundle.Key) ([]bundle.Key, because, *wire.DeletesHeld) {
	why := because{cause: causeRemoved}
	if t := u.asked().Target(); t != nil {
		why.release = *t
	}
	if c == nil {
		return keys, why, nil
	}
	p := proposal{release: why.release.Release}
	u.mu.Lock()
	p.holds = len(u.inventory)
	for _, key := range keys {
		it := u.inventory[key]
		p.leaving = append(p.leaving, leaver{key: key, kept: it.Kept, despite: it.Despite})
	}
	u.mu.Unlock()
	policy := u.policy()
	may, cause, held := consent(policy, p)
	why.cause = cause
	if cause == causeApproved {
		why.approval = approvalOf(policy, p.release).GetId()
	}
	return may, why, held
}

// prune deletes objects, gates first and foundations last; what fails stops only what comes in a later stage. Each is in the
// journal, as it was, before it is deleted. It leaves the inventory in memory when its deletion is accepted, and the caller
// writes it: to delete again what is gone is harmless.
func (u *unit) prune(ctx context.Context, keys []bundle.Key, why because) error {
	if len(keys) == 0 {
		return nil
	}
	journal := u.engine.deletions
	id, err := journal.Begin(disk.Deletion{
		Package: u.key, Release: why.release.Release, Revision: why.release.Revision,
		Cause: why.cause, Approval: why.approval, ActsAs: u.account(), At: u.engine.needs.Now(),
	})
	if err != nil {
		return fmt.Errorf("nothing was pruned, since it could not be kept how it was: %w", err)
	}
	why.deletion = id
	defer u.engine.deleted()
	levels := u.levelsOf(keys)
	for _, stage := range pruneOrder(keys, func(key bundle.Key) int { return levels[key].level }) {
		var errs []error
		for keys := range slices.Chunk(stage, together) {
			errs = append(errs, u.pruneSome(ctx, keys, why)...)
		}
		if err := first(errs); err != nil {
			return err
		}
		if err := u.awaitGone(ctx, stage, levels); err != nil {
			return err
		}
	}
	return journal.Close(id)
}

// pruneSome keeps objects as they are, all of them on the disk at once, and then deletes them. One that cannot be read or
// deleted does not stop the others.
func (u *unit) pruneSome(ctx context.Context, keys []bundle.Key, why because) []error {
	was, fates := make([]*disk.Deleted, len(keys)), make([]outgoing.Fate, len(keys))
	errs := each(keys, func(i int, key bundle.Key) (err error) {
		was[i], fates[i], err = u.asItIs(ctx, key)
		return err
	})
	var kept []disk.Deleted
	for i, o := range was {
		if o != nil && fates[i] == outgoing.Deleted {
			kept = append(kept, *o)
		}
	}
	u.deleting.Lock()
	defer u.deleting.Unlock()
	if err := u.engine.deletions.Record(why.deletion, kept); err != nil {
		return append(errs, fmt.Errorf("%s not pruned, since it could not be kept how they are: %w", v1alpha1.Counted(len(keys), "object"), err))
	}
	return each(keys, func(i int, key bundle.Key) error {
		if errs[i] != nil {
			return errs[i]
		}
		gone, err := u.pruneOne(ctx, key, fates[i])
		if gone && was[i] != nil && fates[i] == outgoing.Deleted {
			u.pruned(key, why)
		}
		return err
	})
}

// each runs f for every key, and returns what came of each.
func each(keys []bundle.Key, f func(i int, key bundle.Key) error) []error {
	errs := make([]error, len(keys))
	var group errgroup.Group
	group.SetLimit(member.Writers)
	for i, key := range keys {
		group.Go(func() error {
			errs[i] = f(i, key)
			return nil
		})
	}
	_ = group.Wait() // the functions above never fail
	return errs
}

// first returns the first of the errors, and how many more there are.
func first(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) <= 1 {
		return errors.Join(errs...)
	}
	return fmt.Errorf("%w, and %d more", errs[0], len(errs)-1)
}

// asItIs returns what goes into the journal of an object that is about to be deleted, and nothing when it is gone or another
// package's; and what becomes of it, by what it says itself.
func (u *unit) asItIs(ctx context.Context, key bundle.Key) (*disk.Deleted, outgoing.Fate, error) {
	it := u.lastKnown(key)
	end := outgoing.FateOf(it.Adopted, "")
	if ctx.Err() != nil {
		return nil, end, ctx.Err()
	}
	api, err := u.api()
	if err != nil {
		return nil, end, err
	}
	gvr, served, err := api.Locate(schema.GroupKind{Group: key.Group, Kind: key.Kind})
	if err != nil || !served {
		return nil, end, err
	}
	raw, err := api.Whole(ctx, gvr, key)
	if u.neverHad(key, err) {
		return nil, end, nil
	}
	if err != nil {
		return nil, end, fmt.Errorf("reading %s before it is pruned: %s", key, u.explain(err, member.Explain))
	}
	if raw == nil {
		return nil, end, nil
	}
	word, err := lastWord(raw, it.UID)
	if err != nil {
		return nil, end, fmt.Errorf("reading %s before it is pruned: %w", key, err)
	}
	it.Version, it.Resource = gvr.Version, gvr.Resource
	it.Sealed = it.Sealed || cameEncrypted(raw)
	kept, err := u.engine.journaled(ctx, disk.Deleted{Key: key, Item: it, Object: raw})
	return kept, outgoing.FateOf(it.Adopted, word), err
}

// lastKnown is what is known of an object of the inventory: its record knows more than what was written down last.
func (u *unit) lastKnown(key bundle.Key) disk.Item {
	u.mu.Lock()
	it := u.inventory[key]
	u.mu.Unlock()
	if r := u.engine.index.get(key); r != nil && r.heldBy(u) {
		r.recall(it)
		kept, despite := it.Kept, it.Despite
		it = r.item()
		it.Kept, it.Despite = kept, despite
	}
	return it
}

// lastWord is what an object says of its leaving. Another object that has its name by now has no say in it.
func lastWord(raw []byte, uid types.UID) (string, error) {
	var said metav1.PartialObjectMetadata
	if err := json.Unmarshal(raw, &said); err != nil {
		return "", err
	}
	if uid != "" && said.UID != uid {
		return "", nil
	}
	return said.Labels[v1alpha1.OnLeavingLabel], nil
}

// pruneOne says whether the object does not stay, and is nobody else's.
func (u *unit) pruneOne(ctx context.Context, key bundle.Key, end outgoing.Fate) (gone bool, err error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	u.mu.Lock()
	it, there := u.inventory[key]
	u.mu.Unlock()
	if !there || u.broughtBack(it) {
		return false, nil
	}
	if r, holder := u.hold(key, resourceOf(key, it)); holder == u { // otherwise it is another's by now, and not ours to delete
		r.recall(it)
		if r.dismiss(u) {
			if err := u.engine.writer.prune(ctx, u, r, end); err != nil && !u.neverHad(key, err) {
				return false, fmt.Errorf("pruning %s: %s", key, u.explain(err, wordingOf(key, it)))
			}
			gone = u.engine.index.drop(r, u)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.inventory, key)
	return gone, nil
}

// neverHad says whether an error is the word that a team's package may not even look at an object, which it never wrote: nothing
// of it is there to be pruned.
func (u *unit) neverHad(key bundle.Key, err error) bool {
	if !apierrors.IsForbidden(err) || !u.team() {
		return false
	}
	return u.lastKnown(key).UID == ""
}

// broughtBack says whether somebody brought an object back since it was decided that it may go.
func (u *unit) broughtBack(it disk.Item) bool {
	o := u.asked()
	return !o.Removing && leaver{kept: it.Kept, despite: it.Despite}.staysDespite(u.approval(o))
}

// approval is that of what an order asks for; nil when there is none.
func (u *unit) approval(o disk.Order) *wire.DeleteApproval {
	if t := o.Target(); t != nil {
		return approvalOf(u.policy(), t.Release)
	}
	return nil
}
