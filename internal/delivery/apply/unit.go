package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// unit is one package on the member: its folder, what it holds, and the loop that brings it to its release.
type unit struct {
	key    v1alpha1.PackageKey
	engine *Engine
	disk   disk
	log    *slog.Logger
	kick   chan struct{} // something to do
	moved  chan struct{} // the health of an object changed

	mu        sync.Mutex // guards what follows
	order     order
	interrupt context.CancelFunc // of the pass under way
	content   *content           // what is wanted now
	previous  *content           // what was wanted before, until the new release is complete
	inventory map[Key]item
	phase     wire.PackageStatus_Phase
	message   string
	refused   refusals
	repairs   repairs
	recheck   *time.Timer // looks at a fight again when it may be over
}

// repairs is the history of the repairs of a package.
type repairs struct {
	count int64
	last  *wire.LastRepair
}

// loadUnit opens the folder of a package.
func loadUnit(e *Engine, d disk, o order) (*unit, error) {
	inventory, err := d.readInventory()
	if err != nil {
		return nil, err
	}
	return &unit{
		key: o.Package, engine: e, disk: d, log: e.log.With("package", string(o.Package)),
		kick: make(chan struct{}, 1), moved: make(chan struct{}, 1),
		order: o, inventory: inventory, phase: wire.PackageStatus_APPLYING, refused: refusals{},
	}, nil
}

// poke sends on a channel of capacity one: that it was sent is all that counts.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// tell changes what is asked for, on disk first. A pass that is under way for something else ends.
func (u *unit) tell(change func(*order)) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	changed := u.order
	change(&changed)
	if err := u.disk.writeOrder(changed); err != nil {
		return fmt.Errorf("storing the order for package %s: %w", u.key, err)
	}
	if t := changed.target(); t != nil && (u.order.target() == nil || *t != *u.order.target()) {
		u.phase, u.message = wire.PackageStatus_APPLYING, "release "+t.Release
	}
	u.order = changed
	if u.interrupt != nil {
		u.interrupt()
	}
	poke(u.kick)
	return nil
}

func (u *unit) say(phase wire.PackageStatus_Phase, format string, args ...any) {
	u.mu.Lock()
	u.phase, u.message = phase, fmt.Sprintf(format, args...)
	u.mu.Unlock()
	u.engine.changed(u)
}

// applying says whether a release is on its way.
func (u *unit) applying() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.phase == wire.PackageStatus_APPLYING
}

// begin tells that objects are being applied. While a failed release is tried again it stays failed.
func (u *unit) begin(objects int) {
	u.mu.Lock()
	failed := u.phase == wire.PackageStatus_FAILED
	u.mu.Unlock()
	if !failed {
		u.say(wire.PackageStatus_APPLYING, "applying %d objects", objects)
	}
}

// run brings the package to its release and keeps trying until the context ends or the package is gone.
func (u *unit) run(ctx context.Context) {
	if err := u.restore(); err != nil {
		u.log.Warn("the release that was applied last is not whole on disk; it will be pulled again", "error", err)
	}
	for attempt := 0; ctx.Err() == nil; {
		passCtx, cancel := context.WithCancel(ctx)
		u.mu.Lock()
		u.interrupt = cancel
		u.mu.Unlock()
		complete, gone := u.pass(passCtx)
		interrupted := passCtx.Err() != nil
		cancel()
		if gone {
			return
		}
		var retry <-chan time.Time
		if attempt = attempt + 1; complete || interrupted {
			attempt = 0
		}
		if !complete && !interrupted {
			retry = time.After(retryAfter(attempt))
		}
		select {
		case <-ctx.Done():
		case <-u.kick:
		case <-retry:
		}
	}
	u.close()
}

// close writes what was learnt since the last pass, so that the next start has nothing to apply.
func (u *unit) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.disk.writeInventory(u.refresh(u.inventory)); err != nil {
		u.log.Error("storing the inventory", "error", err)
	}
	u.content.close()
	u.previous.close()
}

// refresh returns the inventory with what the records of the index know now.
func (u *unit) refresh(inventory map[Key]item) map[Key]item {
	fresh := make(map[Key]item, len(inventory))
	for key, it := range inventory {
		if r := u.engine.index.get(key); r != nil && r.heldBy(u.key) {
			it = r.item()
		}
		fresh[key] = it
	}
	return fresh
}

// restore takes up, after a start, what was applied last: without the hub and without a write. From then on its
// objects are watched and repaired, also while a newer release cannot be pulled. When a newer one is on disk, the pass
// that follows goes straight to that: half of it may be applied already.
func (u *unit) restore() error {
	u.mu.Lock()
	o := u.order
	u.mu.Unlock()
	if o.Current == nil || o.Removing {
		return nil
	}
	c, err := u.disk.unpack(u.key, o.Current.Digest)
	if err != nil {
		return err
	}
	if o.Next != nil {
		if _, err := u.disk.readBlob(o.Next.Digest); err == nil {
			u.mu.Lock()
			u.previous = c
			u.mu.Unlock()
			return nil
		}
	}
	u.mu.Lock()
	u.content = c
	u.mu.Unlock()
	refused := refusals{}
	for s := range stageCount {
		u.claim(c, s, refused)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.refused = refused
	return nil
}

// load makes the content of a release the one that is wanted, pulling it when it is not on disk.
func (u *unit) load(ctx context.Context, want release) (*content, error) {
	u.mu.Lock()
	now := u.content
	u.mu.Unlock()
	if now != nil && now.digest == want.Digest {
		return now, nil
	}
	if _, err := u.disk.readBlob(want.Digest); errors.Is(err, fs.ErrNotExist) {
		raw, err := u.engine.fetch(ctx, want.Repository, want.Digest, want.Size)
		if err != nil {
			return nil, fmt.Errorf("pulling release %s: %w", want.Release, err)
		}
		if err := u.disk.writeBlob(want.Digest, raw); err != nil {
			return nil, fmt.Errorf("storing release %s: %w", want.Release, err)
		}
	}
	c, err := u.disk.unpack(u.key, want.Digest)
	if err != nil {
		return nil, fmt.Errorf("unpacking release %s: %w", want.Release, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.previous == nil {
		u.previous = u.content // an unfinished release in between was never complete: the older one stays
	} else {
		u.content.close()
	}
	u.content = c
	return c, nil
}

// pass does everything that the order asks for, once. It is complete when nothing is left to do.
func (u *unit) pass(ctx context.Context) (complete, gone bool) {
	u.mu.Lock()
	o := u.order
	u.mu.Unlock()
	if o.Removing {
		return u.removeAll(ctx)
	}
	target := o.target()
	if target == nil {
		return true, false
	}
	c, err := u.load(ctx, *target)
	if err != nil {
		u.fail(ctx, err)
		return false, false
	}
	if err := u.applyAll(ctx, c); err != nil {
		u.fail(ctx, err)
		return false, false
	}
	if err := u.pruneAll(ctx, c); err != nil {
		u.fail(ctx, err)
		return false, false
	}
	if err := u.complete(*target); err != nil {
		u.fail(ctx, err)
		return false, false
	}
	u.say(wire.PackageStatus_APPLIED, "")
	return true, false
}

// fail tells why a pass ended, unless it was interrupted: then another one begins at once.
func (u *unit) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	u.log.Warn("package is not applied", "error", err)
	u.say(wire.PackageStatus_FAILED, "%s", err)
}

// complete records that the release is applied and that what left it is pruned.
func (u *unit) complete(done release) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.inventory = u.refresh(u.inventory)
	if err := u.disk.writeInventory(u.inventory); err != nil {
		return fmt.Errorf("storing the inventory: %w", err)
	}
	o := u.order
	if t := o.target(); t == nil || *t != done || o.Removing {
		return nil // something newer has been asked for meanwhile
	}
	o.Current, o.Next = &done, nil
	if o.Current != u.order.Current || u.order.Next != nil {
		if err := u.disk.writeOrder(o); err != nil {
			return fmt.Errorf("storing the order: %w", err)
		}
	}
	u.order = o
	u.previous.close()
	u.previous = nil
	return u.disk.keep(done.Digest)
}

// removeAll prunes everything that the package put on the member, and then forgets the package.
func (u *unit) removeAll(ctx context.Context) (complete, gone bool) {
	u.say(wire.PackageStatus_REMOVING, "pruning what the package put here")
	if err := u.pruneAll(ctx, nil); err != nil {
		if ctx.Err() == nil {
			u.say(wire.PackageStatus_REMOVING, "%s", err)
		}
		return false, false
	}
	u.mu.Lock()
	u.content.close()
	u.previous.close()
	u.content, u.previous = nil, nil
	u.mu.Unlock()
	if err := u.engine.forget(u); err != nil {
		u.say(wire.PackageStatus_REMOVING, "forgetting the package: %s", err)
		return false, false
	}
	return true, true
}
