package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// handoverGrace is how long the objects that leave a package stay when there are other packages on the member: one of
// them may be about to be told to take them, since a commit that moves an object comes as two orders.
const handoverGrace = 2 * time.Second

// errWaits says that another package has to do something first. It is looked at again when that package changes.
var errWaits = errors.New("waiting")

// leaving returns the objects of the inventory that are not in the content (nil: all of them).
func (u *unit) leaving(c *disk.Content) []bundle.Key {
	u.mu.Lock()
	defer u.mu.Unlock()
	var keys []bundle.Key
	for key := range u.inventory {
		if c != nil {
			if _, stays := c.Find(key); stays {
				continue
			}
		}
		keys = append(keys, key)
	}
	return keys
}

// pruneAll deletes what is in the inventory and not in the content (nil: everything), in reverse order. Only after
// everything else succeeded does a pass come here. What another package wants is handed over instead.
func (u *unit) pruneAll(ctx context.Context, c *disk.Content) error {
	keys := u.leaving(c)
	if len(keys) == 0 {
		return ctx.Err()
	}
	u.expect()
	others, _ := u.engine.wishes(u)
	rest, waiting := u.handOver(keys, others)
	var failed error
	if len(rest) > 0 {
		var more int
		more, failed = u.pruneRest(ctx, rest)
		waiting += more
	}
	u.folder.Lock()
	err := u.folder.WriteInventory(u.snapshot)
	u.folder.Unlock()
	u.engine.watches.retain()
	u.engine.wake(u)
	if err := errors.Join(failed, err); err != nil || waiting == 0 {
		return err
	}
	return fmt.Errorf("%w for other packages to take over %d objects", errWaits, waiting)
}

// pruneRest deletes what no package is known to want, once all wishes are known, and returns how many objects wait for
// their heirs all the same.
func (u *unit) pruneRest(ctx context.Context, keys []bundle.Key) (waiting int, err error) {
	others, err := u.othersWishes(ctx)
	if err != nil {
		return 0, err
	}
	keys, waiting = u.handOver(keys, others)
	if err := u.mayPrune(keys, others); err != nil {
		return waiting, err
	}
	return waiting, u.prune(ctx, keys)
}

// othersWishes returns what the other packages want, when that is known and nothing is about to change it.
func (u *unit) othersWishes(ctx context.Context) ([]wish, error) {
	if len(u.engine.roster.all()) > 1 {
		u.mu.Lock()
		grace := u.engine.grace - u.engine.needs.Now().Sub(u.orders.since)
		u.mu.Unlock()
		select {
		case <-time.After(min(grace, u.engine.grace)): // whatever the clock does
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	others, unknown := u.engine.wishes(u)
	if len(unknown) > 0 {
		return nil, fmt.Errorf("%w to prune: package %s may want what this one gives up, and its release is not here yet",
			errWaits, strings.Join(unknown, ", "))
	}
	return others, nil
}

// handOver gives the objects that another package wants to it, and returns those that nobody does, and of how many the
// heir has yet to take note. An object stays in this inventory until it is in its heir's, so that a crash finds it in
// one at least.
func (u *unit) handOver(keys []bundle.Key, others []wish) (rest []bundle.Key, waiting int) {
	for _, key := range keys {
		heir := heirOf(key, others)
		if heir == nil {
			rest = append(rest, key)
			continue
		}
		u.engine.index.give(key, u, heir)
		if !heir.remembers(key) {
			waiting++
			poke(heir.kick)
			continue
		}
		u.mu.Lock()
		delete(u.inventory, key)
		u.mu.Unlock()
	}
	return rest, waiting
}

// heirOf returns the first package that wants an object, or nil.
func heirOf(key bundle.Key, others []wish) *unit {
	for _, w := range others {
		if _, wants := w.content.Find(key); wants {
			return w.unit
		}
	}
	return nil
}

// mayPrune refuses when deleting an object would take others' along: those of another package that are in a namespace, or
// of a kind that a definition defines.
func (u *unit) mayPrune(keys []bundle.Key, others []wish) error {
	for _, key := range keys {
		if !foundation(key) {
			continue
		}
		for _, other := range u.engine.roster.all() {
			if other == u {
				continue
			}
			inside, found := other.inside(key)
			if !found {
				continue
			}
			err := fmt.Errorf("nothing was pruned: deleting %s would take along what package %s holds, such as %s", key, other.key, inside)
			if heirOf(inside, others) == nil {
				return fmt.Errorf("%w: %w", errWaits, err) // it is about to go as well
			}
			return err
		}
	}
	return nil
}

// foundation says whether other objects live in an object, or are of the kind that it defines.
func foundation(key bundle.Key) bool {
	return key.Group == "" && key.Kind == "Namespace" || key.Kind == definition
}

const definition = "CustomResourceDefinition"

// inside returns an object of the inventory that goes with a foundation.
func (u *unit) inside(f bundle.Key) (_ bundle.Key, found bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, it := range u.inventory {
		defined := f.Kind == definition && it.Resource+"."+key.Group == f.Name
		if defined || f.Kind == "Namespace" && key.Namespace == f.Name {
			return key, true
		}
	}
	return bundle.Key{}, false
}

// prune deletes objects, gates first and foundations last. Each leaves the inventory in memory when it is gone, and the
// caller writes it: to delete again what is gone is harmless.
func (u *unit) prune(ctx context.Context, keys []bundle.Key) error {
	for _, together := range pruneOrder(keys) {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(member.Writers)
		for _, key := range together {
			group.Go(func() error { return u.pruneOne(ctx, key) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func (u *unit) pruneOne(ctx context.Context, key bundle.Key) error {
	u.mu.Lock()
	it := u.inventory[key]
	u.mu.Unlock()
	r, holder := u.engine.index.claim(key, placeOf(key, it), u)
	if holder != u && !holder.remembers(key) {
		u.engine.index.give(key, holder, u) // it was to take the object over, and was told otherwise
		holder = u
	}
	if holder == u { // otherwise it is another package's by now, and not ours to delete
		r.recall(it)
		r.dismiss()
		if err := u.engine.writer.prune(ctx, r); err != nil {
			return fmt.Errorf("pruning %s: %s", key, member.Explain(err))
		}
		u.engine.index.drop(r)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.inventory, key)
	return nil
}
