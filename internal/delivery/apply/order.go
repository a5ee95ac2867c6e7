package apply

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// queue is who waits for whom while a release is applied. The unit's own loop alone uses it.
type queue struct {
	digest string
	// since is when an object began to wait: another attempt does not begin anew.
	since map[bundle.Key]time.Time
	// records of the release, as its content calls them.
	records map[bundle.Key]*record
}

// lineUp begins the order of a release, or goes on with it.
func (q *queue) lineUp(c *disk.Content) {
	if q.digest != c.Digest {
		*q = queue{digest: c.Digest, since: map[bundle.Key]time.Time{}}
	}
	q.records = map[bundle.Key]*record{}
}

// applyInOrder applies the objects of a stage, each of those that depend on others once those are healthy. One that waits too
// long is refused; what depends on it goes on waiting, and everything else goes on.
func (u *unit) applyInOrder(ctx context.Context, c *disk.Content, stage claimed, refused refusals) (failed int, err error) {
	if c.Order.Levels() == 1 {
		return u.applyStage(ctx, stage)
	}
	for _, r := range stage.records {
		u.queue.records[r.sourceKey()] = r
	}
	left := stage.records
	for len(left) > 0 && ctx.Err() == nil {
		turn := u.takeTurns(c, left, refused)
		if len(turn.ready) > 0 {
			n, err := u.applyStage(ctx, claimed{records: turn.ready, kinds: stage.of(turn.ready)})
			failed += n
			if err != nil {
				return failed, err
			}
		}
		if left = turn.wait; len(left) == 0 {
			break
		}
		if len(turn.ready) == 0 {
			u.awaitTurn(ctx, turn)
		}
	}
	return failed, ctx.Err()
}

// of returns the kinds of some of the records.
func (s claimed) of(records []*record) map[schema.GroupVersionKind]kind {
	kinds := map[schema.GroupVersionKind]kind{}
	for _, r := range records {
		gvk := schema.FromAPIVersionAndKind(r.sourceID().APIVersion, r.key.Kind)
		kinds[gvk] = s.kinds[gvk]
	}
	return kinds
}

// turn is who may go now and who has to wait, for what and how long at least.
type turn struct {
	ready, wait []*record
	what        string
	until       time.Duration
}

// takeTurns sorts out who may go. Those that waited too long are refused.
func (u *unit) takeTurns(c *disk.Content, left []*record, refused refusals) (t turn) {
	now := u.engine.needs.Now()
	var first *bundle.Key
	for _, r := range left {
		source := r.sourceKey()
		why, hopeless := "", false
		if r.task().do != actNothing {
			why, hopeless = u.waitsFor(c, source, refused)
		}
		if why == "" {
			delete(u.queue.since, source)
			t.ready = append(t.ready, r)
			continue
		}
		if u.queue.since[source].IsZero() {
			u.queue.since[source] = now
		}
		o := r.sourceObject()
		rest := o.Asks.Wait() - now.Sub(u.queue.since[source])
		if hopeless || rest <= 0 {
			refused.add(r.key, o, fmt.Sprintf("it was not applied: it depends on %s", why))
			continue
		}
		t.wait = append(t.wait, r)
		if t.until == 0 || rest < t.until {
			t.until = rest
		}
		if level := c.Order.Level(source); first == nil || level < c.Order.Level(*first) || level == c.Order.Level(*first) && source.Compare(*first) < 0 {
			first, t.what = &source, fmt.Sprintf("%s waits for %s", r.key, why) // what the others wait for as well
		}
	}
	return t
}

// waitsFor says what an object has to wait for, and whether there is no hope in this attempt.
func (u *unit) waitsFor(c *disk.Content, key bundle.Key, refused refusals) (why string, hopeless bool) {
	for _, target := range c.Order.After(key) {
		r := u.queue.records[target]
		if r == nil {
			return fmt.Sprintf("%s, which is applied later or was refused", target), true
		}
		if refused[r.key] != nil {
			return fmt.Sprintf("%s, which was not applied", target), true
		}
		if why := r.failing(); why != "" {
			return fmt.Sprintf("%s, which could not be written: %s", target, why), true // another attempt comes, and this one has to end for it
		}
		if is, ready := r.readiness(); !ready {
			return fmt.Sprintf("%s, which is not healthy: %s", target, is), false
		}
	}
	return "", false
}

// failing is why an object could not be written the last time.
func (r *record) failing() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failure
}

// readiness says whether an object is applied and healthy, or what it is instead.
func (r *record) readiness() (is string, ready bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.did.hash != r.want().hash:
		return "it is not applied yet", false
	case r.health.OK():
		return "", true
	case r.why != "":
		return r.why, false
	case r.health.Message != "":
		return strings.TrimSuffix(r.health.Message, "."), false
	}
	return "nothing is known of it yet", false
}

// awaitTurn waits until something changes that somebody may wait for.
func (u *unit) awaitTurn(ctx context.Context, t turn) {
	u.mu.Lock()
	failed := u.standing.phase == wire.PackageStatus_FAILED
	u.mu.Unlock()
	if !failed { // while a failed release is tried again it stays failed
		u.say(wire.PackageStatus_APPLYING, "%s", t.what)
	}
	timer := time.NewTimer(t.until)
	defer timer.Stop()
	select {
	case <-u.moved:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (r *record) sourceObject() disk.Object {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.source
}

func (r *record) sourceID() bundle.ID { return r.sourceObject().ID }

// sourceKey is what the content calls the object.
func (r *record) sourceKey() bundle.Key { return r.sourceID().Key() }

// goneTimeout is how long an object may take to go before those are pruned that it depends on; goneGap is how often it is
// looked for.
const (
	goneTimeout = 30 * time.Second
	goneGap     = 100 * time.Millisecond
)

// placed is an object of the inventory and its place in the order.
type placed struct {
	item  disk.Item
	level int
}

// levelsOf is the places of objects in the order in which they were applied.
func (u *unit) levelsOf(keys []bundle.Key) map[bundle.Key]placed {
	levels := make(map[bundle.Key]placed, len(keys))
	for _, key := range keys {
		u.mu.Lock()
		it := u.inventory[key]
		u.mu.Unlock()
		if r := u.engine.index.get(key); r != nil && r.heldBy(u) {
			it = r.item()
		}
		levels[key] = placed{it, it.Level}
	}
	return levels
}

// awaitGone waits until objects that depend on others are gone, of which the deletion is accepted: those others are pruned
// next. Objects that depend on nothing are not waited for.
func (u *unit) awaitGone(ctx context.Context, keys []bundle.Key, levels map[bundle.Key]placed) error {
	ctx, cancel := context.WithTimeout(ctx, goneTimeout)
	defer cancel()
	for _, key := range keys {
		at := levels[key]
		if at.level == 0 || at.item.Adopted {
			continue
		}
		for {
			found, err := u.engine.cast.own.Metadata(ctx, resourceOf(key, at.item), key)
			if err == nil && (found == nil || found.GetUID() != at.item.UID) {
				break
			}
			select {
			case <-time.After(goneGap):
			case <-ctx.Done():
				return fmt.Errorf("waiting for %s to be gone, since what it depends on is pruned after it: %w", key, ctx.Err())
			}
		}
	}
	return nil
}
