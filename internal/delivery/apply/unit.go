package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
)

// unit is one package on the member: its folder, what it holds, and the loop that brings it to its release.
//
// Who needs more than one lock takes them in this order: the engine's storing, deleting, the folder's, a record's busy, mu, that of
// the watches, the index's, a record's mu. A unit's mu is never held while the disk or the API server is waited for: events come through here.
type unit struct {
	key    v1alpha1.PackageKey
	engine *Engine
	folder *disk.Folder
	log    *slog.Logger
	kick   chan struct{} // something to do
	moved  chan struct{} // the health of an object changed

	mu        sync.Mutex // guards what follows
	orders    orders
	content   *disk.Content  // what is wanted now
	previous  *disk.Content  // what was wanted before, until the new release is complete
	inventory disk.Inventory // which objects; what is known of them is in their records
	standing  standing
	unread    unread

	ways // how it is treated
}

// ways is how a package is treated, by its policy and by what its objects ask for.
type ways struct {
	rules atomic.Pointer[rules]
	queue queue // of the unit's own loop
	// refused is of the unit's own loop too, as is whether what was applied last is taken up.
	refused  refusedPlan
	restored bool
	// deleting is held while objects are written to the journal and deleted: who brings them back comes before or after, never
	// between the last look at an object and its deletion.
	deleting sync.Mutex
}

// orders is what the unit is told to do.
type orders struct {
	now       disk.Order
	since     time.Time
	interrupt context.CancelFunc // of the pass under way
	ahead     *disk.Content      // of a release that is here and not begun, since its plan is refused
}

// loadUnit takes up a package from its folder. It stands still when its inventory cannot be read.
func loadUnit(e *Engine, folder *disk.Folder, o disk.Order) *unit {
	inventory, err := folder.ReadInventory()
	if err != nil {
		inventory = disk.Inventory{}
	}
	return &unit{
		key: o.Package, engine: e, folder: folder, log: e.needs.Log.With("package", string(o.Package)),
		kick: make(chan struct{}, 1), moved: make(chan struct{}, 1), inventory: inventory, unread: unread{inventory: err},
		orders:   orders{now: o, since: e.needs.Now()},
		standing: standing{phase: wire.PackageStatus_APPLYING, refused: refusals{}},
	}
}

// poke sends on a channel of capacity one: that it was sent is all that counts.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// tell changes what is asked for, on disk first. A pass that is under way for something else ends.
func (u *unit) tell(change func(*disk.Order)) error {
	u.folder.Lock()
	defer u.folder.Unlock()
	known := u.orderKnown()
	u.readOrder() // of one that can be read again, what it was at and whom it acts as counts
	before := u.asked()
	after := before
	change(&after)
	if after.Equal(before) && known {
		return nil
	}
	if err := u.write(after); err != nil {
		return fmt.Errorf("storing the order for package %s: %w", u.key, err)
	}
	if !u.orderKnown() || before.Target() == nil {
		u.engine.guards.expect(u.key, protectionBy(u.policyIn(after), after.ActsAs))
	}
	u.mu.Lock()
	if t := after.Target(); t != nil && !t.Equal(before.Target()) {
		u.standing.held = nil
		u.standing.phase, u.standing.message = wire.PackageStatus_APPLYING, "release "+t.Release
	}
	u.orders.now, u.orders.since = after, u.engine.needs.Now()
	u.unread.order = nil
	if u.orders.interrupt != nil {
		u.orders.interrupt()
	}
	u.mu.Unlock()
	poke(u.kick)
	poke(u.engine.guards.kick) // they may have waited to know the order
	u.engine.wake(u)
	return nil
}

// asked is the order as it is now.
func (u *unit) asked() disk.Order {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.orders.now
}

// wanted returns the content that the package is to hold: nil when that is nothing, and not ok when it is not here yet.
func (u *unit) wanted() (_ *disk.Content, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	target := u.orders.now.Target()
	switch {
	case u.unread.why() != nil:
		return nil, false
	case u.orders.now.Removing || target == nil:
		return nil, true
	case u.content != nil && u.content.Digest == target.Digest:
		return u.content, true
	case u.orders.ahead != nil && u.orders.ahead.Digest == target.Digest:
		return u.orders.ahead, true // others need not wait to know it
	}
	return nil, false
}

// mayWant says whether the package wants the object, or it is not known yet whether it does.
func (u *unit) mayWant(key bundle.Key) bool {
	content, known := u.wanted()
	if content == nil {
		return !known
	}
	_, wants := content.Find(key)
	return wants
}

// remembers says whether the object is in the inventory.
func (u *unit) remembers(key bundle.Key) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, there := u.inventory[key]
	return there
}

// run brings the package to its release and keeps trying until the context ends or the package is gone.
func (u *unit) run(ctx context.Context) {
	if u.engine.needs.Observes {
		u.observe(ctx)
		return
	}
	u.restore(ctx)
	for attempt := 0; ctx.Err() == nil; {
		passCtx, cancel := context.WithCancel(ctx)
		u.mu.Lock()
		u.orders.interrupt = cancel
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
			attempt = 0 // what failed before may not fail any more
		case <-retry:
		}
	}
}

// restore takes up, after a start and as soon as the package's files can be read, what was applied last.
func (u *unit) restore(ctx context.Context) {
	if u.restored || u.unreadable() != nil {
		return
	}
	u.restored = true
	if err := u.restoreCurrent(ctx); err != nil {
		u.log.Warn("the release that was applied last is not whole on disk; it will be pulled again", "error", err)
	}
}

// restoreCurrent takes it up without the hub and without a write. From then on its objects are watched and repaired, also
// while a newer release cannot be pulled. When a newer one is on disk, the pass that follows goes straight to that: half of
// it may be applied already.
func (u *unit) restoreCurrent(ctx context.Context) error {
	u.takeUp()
	o := u.asked()
	if o.Current == nil || o.Removing {
		return nil
	}
	current, err := u.folder.Unpack(u.key, o.Current.Digest)
	if err != nil {
		return err
	}
	if o.Next != nil && u.mayGoOn(o) {
		if next, err := u.folder.Unpack(u.key, o.Next.Digest); err == nil {
			u.mu.Lock()
			u.previous, u.content = current, next
			u.mu.Unlock()
			u.engine.wake(u)
			u.watch(ctx, u.claim(current, stageGates, refusals{})) // they come last, and not while others fail
			return nil
		}
	}
	u.mu.Lock()
	u.content = current
	u.mu.Unlock()
	u.engine.wake(u)
	refused := refusals{}
	for s := range stageCount {
		u.watch(ctx, u.claim(current, s, refused))
	}
	for _, f := range refused {
		if f.holder != nil && u.team() {
			f.holder, f.Message = nil, "another package has it" // the pass that follows finds out what may be said of that
		}
	}
	u.refuse(refused)
	return nil
}

// load returns the content of a release, pulling it when it is not on disk.
func (u *unit) load(ctx context.Context, want disk.Release) (*disk.Content, error) {
	u.mu.Lock()
	now, ahead := u.content, u.orders.ahead
	u.mu.Unlock()
	for _, known := range []*disk.Content{now, ahead} {
		if known != nil && known.Digest == want.Digest {
			return known, nil
		}
	}
	c, err := u.folder.Unpack(u.key, want.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		if err := u.pull(ctx, want); err != nil {
			return nil, err
		}
		c, err = u.folder.Unpack(u.key, want.Digest)
	}
	if err != nil {
		return nil, fmt.Errorf("unpacking release %s: %w", want.Release, err)
	}
	return c, nil
}

// turnTo makes a content the one that is wanted.
func (u *unit) turnTo(c *disk.Content) {
	u.mu.Lock()
	turns := u.content != c
	if turns && u.previous == nil {
		u.previous = u.content // an unfinished release in between was never complete: the older one stays
	}
	u.content, u.orders.ahead = c, nil
	u.mu.Unlock()
	if turns {
		u.engine.wake(u)
	}
}

func (u *unit) pull(ctx context.Context, want disk.Release) error {
	raw, err := u.engine.needs.Fetch(ctx, want.Repository, want.Digest, want.Size)
	if err != nil {
		return fmt.Errorf("pulling release %s: %w", want.Release, err)
	}
	if err := u.folder.WriteBlob(want.Digest, raw); err != nil {
		return fmt.Errorf("storing release %s: %w", want.Release, err)
	}
	return nil
}

// pass does everything that the order asks for, once. It is complete when nothing is left to do.
func (u *unit) pass(ctx context.Context) (complete, gone bool) {
	if err := u.readAgain(); err != nil {
		u.fail(ctx, err)
		return false, false
	}
	u.restore(ctx)
	o := u.asked()
	if o.Removing {
		return u.removeAll(ctx)
	}
	target := o.Target()
	if target == nil {
		return true, false
	}
	if err := u.bringTo(ctx, *target); err != nil {
		u.fail(ctx, err)
		return false, false
	}
	return true, false
}

func (u *unit) bringTo(ctx context.Context, target disk.Release) error {
	c, err := u.load(ctx, target)
	if err == nil {
		if err = u.asPlanned(ctx, target, c); err != nil {
			u.lookAhead(c)
		}
	}
	if err != nil {
		if kept := u.keepUp(ctx); kept != nil {
			return fmt.Errorf("%w; of the release before, %w", err, kept)
		}
		return err
	}
	u.turnTo(c)
	others, _ := u.engine.wishes(u)
	u.handOver(ctx, u.leaving(c), others)
	unguarded := u.engine.guards.keep(ctx, u.key, u.protection())
	if err := u.applyAll(ctx, c); err != nil {
		return err
	}
	if err := u.pruneAll(ctx, c); err != nil {
		return err
	}
	if unguarded != nil {
		return unguarded
	}
	return u.complete(target)
}

// keepUp sees to what was applied before while a newer release cannot be had: it writes nothing unless something differs,
// and prunes nothing.
func (u *unit) keepUp(ctx context.Context) error {
	u.mu.Lock()
	c := u.content
	u.mu.Unlock()
	if c == nil {
		return nil
	}
	return errors.Join(u.engine.guards.keep(ctx, u.key, u.protection()), u.applyAll(ctx, c))
}

// complete records that the release is applied and that what left it is pruned.
func (u *unit) complete(done disk.Release) error {
	u.folder.Lock()
	defer u.folder.Unlock()
	if u.folder.Noted() {
		if err := u.folder.WriteInventory(u.snapshot); err != nil {
			return fmt.Errorf("storing the inventory: %w", err)
		}
	}
	o := u.asked()
	if t := o.Target(); t == nil || *t != done || o.Removing {
		return nil // something newer has been asked for meanwhile
	}
	finished := o
	finished.Current, finished.Next, finished.Begun = &done, nil, ""
	if !finished.Equal(o) {
		if err := u.write(finished); err != nil {
			return fmt.Errorf("storing the order: %w", err)
		}
	}
	u.mu.Lock()
	u.orders.now, u.previous = finished, nil
	u.standing.phase, u.standing.message, u.standing.waiting = wire.PackageStatus_APPLIED, "", false
	u.mu.Unlock()
	u.engine.changed(u)
	u.engine.watches.retain()
	return u.folder.Keep(done.Digest)
}

// removeAll prunes everything that the package put on the member, and then forgets the package.
func (u *unit) removeAll(ctx context.Context) (complete, gone bool) {
	u.say(wire.PackageStatus_REMOVING, "pruning what the package put here")
	if err := u.engine.guards.keep(ctx, u.key, nil); err != nil {
		u.fail(ctx, err)
		return false, false
	}
	if err := u.pruneAll(ctx, nil); err != nil {
		u.fail(ctx, err)
		return false, false
	}
	u.mu.Lock()
	u.content, u.previous = nil, nil
	u.mu.Unlock()
	if err := u.engine.forget(u); err != nil {
		u.fail(ctx, fmt.Errorf("forgetting the package: %w", err))
		return false, false
	}
	return true, true
}

// snapshot is the inventory with what the records of the index know now.
func (u *unit) snapshot() disk.Inventory {
	u.mu.Lock()
	defer u.mu.Unlock()
	fresh := make(disk.Inventory, len(u.inventory))
	for key, it := range u.inventory {
		if r := u.engine.index.get(key); r != nil && r.heldBy(u) {
			kept, despite := it.Kept && !r.wanted(), it.Despite
			if it = r.item(); kept {
				it.Kept, it.Despite = true, despite
			}
		}
		fresh[key] = it
	}
	return fresh
}

// note keeps what was just learnt of an object, so that the next start has nothing to apply and nothing to guess.
func (u *unit) note(r *record) {
	due, err := u.folder.Note(r.key, r.item())
	if err != nil {
		u.log.Error("what was applied could not be noted", "object", r.key.String(), "error", err)
	}
	if due {
		poke(u.kick) // a pass writes the inventory
	}
}

// before returns an object as the package sent it last, by the hash of that, and how it was treated; not known when it is of neither the
// release that is wanted nor the one before.
func (u *unit) before(key bundle.Key, hash uint64) (sent outgoing.Object, left *outgoing.Left, known bool) {
	u.mu.Lock()
	contents := []*disk.Content{u.content, u.previous}
	u.mu.Unlock()
	rules := u.takeUp()
	for _, c := range contents {
		if c == nil {
			continue
		}
		o, there := c.Find(key)
		rule := rules.of(key, o.Asks)
		if !there || o.Hash^rule.hash() != hash {
			continue
		}
		if rule != nil {
			left = rule.left
		}
		sent, err := c.Outgoing(o)
		return sent, left, err == nil
	}
	return outgoing.Object{}, nil, false
}
