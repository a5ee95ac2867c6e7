package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// kindTimeout is how long a new CustomResourceDefinition may take until its kind is served.
const kindTimeout = 30 * time.Second

// errIncomplete says that objects failed; the status names them.
var errIncomplete = errors.New("not everything could be applied, so nothing was pruned")

// applyAll applies the content stage by stage. A failed object does not stop the others, but it makes the whole fail.
func (u *unit) applyAll(ctx context.Context, c *content) error {
	failures, refused := 0, refusals{}
	for s := range stageCount {
		if s == stageGates && failures+len(refused) > 0 {
			break // a gate whose own server could not be applied would keep everybody out
		}
		records := u.claim(c, s, refused)
		if err := u.remember(records); err != nil {
			return err
		}
		failed, err := u.settleAll(ctx, records)
		if err != nil {
			return err
		}
		failures += failed
		if s == stageFoundations && failed == 0 {
			u.awaitKinds(ctx, records)
		}
	}
	u.mu.Lock()
	u.refused = refused // at once: a retry does not make the status flap
	u.mu.Unlock()
	failures += len(refused)
	if failures > 0 {
		return fmt.Errorf("%d of %d objects: %w", failures, len(c.objects), errIncomplete)
	}
	return ctx.Err()
}

// claim brings the objects of a stage into the index, as this package's, and watches their kinds. Objects of unknown
// kinds and those that another package holds are refused.
func (u *unit) claim(c *content, s stage, refused refusals) []*record {
	places := map[schema.GroupVersionKind]place{}
	unknown := map[schema.GroupVersionKind]error{}
	records := make([]*record, 0, len(c.objects))
	for _, o := range c.objects {
		gvk := schema.FromAPIVersionAndKind(o.id.APIVersion, o.id.Kind)
		if stageOf(gvk.GroupKind()) != s {
			continue
		}
		p, known := places[gvk]
		if !known && unknown[gvk] == nil {
			var err error
			if p, err = u.resolve(gvk); err != nil {
				unknown[gvk] = err
			} else {
				places[gvk] = p
				u.engine.watches.ensure(u.engine.life, gvk, p)
			}
		}
		if err := unknown[gvk]; err != nil {
			refused.add(keyOf(o.id), o, explain(err))
			continue
		}
		if r := u.claimOne(c, o, p, refused); r != nil {
			u.engine.watches.introduce(r, p.gvr)
			records = append(records, r)
		}
	}
	return records
}

// resolve finds where a kind is served, asking anew once when it is unknown.
func (u *unit) resolve(gvk schema.GroupVersionKind) (place, error) {
	p, err := u.engine.member.resolve(gvk)
	if err == nil {
		return p, nil
	}
	u.engine.member.forget()
	return u.engine.member.resolve(gvk)
}

func (u *unit) claimOne(c *content, o object, p place, refused refusals) *record {
	key := keyOf(o.id)
	switch {
	case p.namespaced && key.Namespace == "":
		key.Namespace = "default"
		if twin, twice := c.objects[key]; twice {
			refused.add(key, o, fmt.Sprintf("the package has this object twice: also in %s, where the namespace is written out", twin.source))
			return nil
		}
	case !p.namespaced:
		key.Namespace = ""
	}
	r, holder := u.engine.index.claim(key, u.key)
	if holder != u.key {
		refused.add(key, o, fmt.Sprintf("it belongs to package %s already; an object has one package: take it out of one of the two", holder))
		return nil
	}
	u.mu.Lock()
	it, had := u.inventory[key]
	u.mu.Unlock()
	if had {
		r.recall(it)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.place, r.version, r.content, r.source = p, p.gvr.Version, c, o
	if r.want.hash != o.hash {
		r.failure = "" // it was about other content
	}
	r.want = desired{present: true, hash: o.hash, takeOver: o.takeOver}
	return r
}

// refusals are objects that are not even tried: of an unknown kind, or another package's.
type refusals map[Key]*wire.Failure

func (f refusals) add(key Key, o object, why string) {
	f[key] = &wire.Failure{Object: key.String(), File: o.source, Message: why}
}

// remember puts objects into the inventory on disk before any of them is written to the member.
func (u *unit) remember(records []*record) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	grown := u.refresh(u.inventory)
	for _, r := range records {
		if _, there := grown[r.key]; !there {
			grown[r.key] = r.item()
		}
	}
	if len(grown) == len(u.inventory) {
		return nil
	}
	if err := u.disk.writeInventory(grown); err != nil {
		return fmt.Errorf("storing the inventory: %w", err)
	}
	u.inventory = grown
	return nil
}

// settleAll writes the objects that need it and counts those that could not be written.
func (u *unit) settleAll(ctx context.Context, records []*record) (failed int, err error) {
	var todo []*record
	for _, r := range records {
		if r.action() != actNothing {
			todo = append(todo, r)
		}
	}
	if len(todo) == 0 {
		return 0, nil
	}
	u.begin(len(todo))
	results := make([]bool, len(todo))
	var group errgroup.Group
	group.SetLimit(writers)
	for i, r := range todo {
		group.Go(func() error {
			_, err := u.engine.writer.settle(ctx, r)
			results[i] = err != nil
			return nil // one failed object does not stop the others
		})
	}
	_ = group.Wait() // the functions above never fail
	for _, bad := range results {
		if bad {
			failed++
		}
	}
	return failed, ctx.Err()
}

// awaitKinds waits until the CustomResourceDefinitions among the records are established, or the time is over: what
// is not served by then fails by itself and is tried again.
func (u *unit) awaitKinds(ctx context.Context, records []*record) {
	ctx, cancel := context.WithTimeout(ctx, kindTimeout)
	defer cancel()
	for _, r := range records {
		for r.key.Kind == "CustomResourceDefinition" && !r.healthy() {
			select {
			case <-u.moved:
			case <-ctx.Done():
				return
			}
		}
	}
}

// pruneAll deletes what is in the inventory and not in the content (nil: everything), in reverse order. Only after
// everything else succeeded does a pass come here.
func (u *unit) pruneAll(ctx context.Context, c *content) error {
	u.mu.Lock()
	wanted := map[Key]bool{}
	for key := range u.inventory {
		r := u.engine.index.get(key)
		wanted[key] = c != nil && r != nil && r.heldBy(u.key) && r.wantedBy(c)
	}
	inventory := u.inventory
	u.mu.Unlock()
	keys := prunable(inventory, wanted)
	if len(keys) == 0 {
		return ctx.Err()
	}
	for _, together := range byStage(keys) {
		if err := u.pruneTogether(ctx, together, inventory); err != nil {
			return err
		}
	}
	u.mu.Lock()
	u.inventory = u.refresh(u.inventory)
	err := u.disk.writeInventory(u.inventory)
	u.mu.Unlock()
	u.engine.released(u)
	return err
}

// pruneTogether deletes the objects of one stage. Each leaves the inventory in memory when it is gone, and the one on
// disk at the end: to delete again what is gone is harmless.
func (u *unit) pruneTogether(ctx context.Context, keys []Key, inventory map[Key]item) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for _, key := range keys {
		u.mu.Lock()
		it := inventory[key]
		u.mu.Unlock()
		group.Go(func() error {
			if r := u.recordOf(key, it); r != nil {
				r.mu.Lock()
				r.want, r.content = desired{}, nil
				r.mu.Unlock()
				if !u.engine.claimedByOther(u, key) {
					if err := u.engine.writer.prune(ctx, r); err != nil {
						return fmt.Errorf("pruning %s: %s", key, explain(err))
					}
				}
				u.engine.index.drop(r)
			}
			u.mu.Lock()
			delete(u.inventory, key)
			u.mu.Unlock()
			return nil
		})
	}
	return group.Wait()
}

// recordOf returns the record of an object of the inventory, made from its item when the index has none. It is nil when
// the object is another package's by now: then it is not ours to delete.
func (u *unit) recordOf(key Key, it item) *record {
	r, holder := u.engine.index.claim(key, u.key)
	if holder != u.key {
		return nil
	}
	r.recall(it)
	return r
}

func (r *record) heldBy(key v1alpha1.PackageKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.holder == key
}

func (r *record) wantedBy(c *content) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.want.present && r.content == c
}

func (r *record) healthy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.health.ok()
}
