package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
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
	before := u.leaving(c)
	if len(before) == 0 {
		u.holdsBack("", nil)
		return ctx.Err()
	}
	u.expect()
	held, err := u.pruneKeys(ctx, c, before)
	left := u.leaving(c)
	if len(left) < len(before) { // otherwise nobody is woken: two that wait for each other would never rest
		u.folder.Lock()
		err = errors.Join(err, u.folder.WriteInventory(u.snapshot))
		u.folder.Unlock()
		u.engine.wake(u)
	}
	if err != nil {
		return err
	}
	u.holdsBack(u.releaseOf(c), held)
	if more := len(left) - int(held.GetObjects()); more > 0 {
		return fmt.Errorf("%w for other packages to take over %s", errWaits, v1alpha1.Counted(more, "object"))
	}
	return nil
}

// pruneKeys hands over what others want, and deletes the rest once all wishes are known, as far as it may.
func (u *unit) pruneKeys(ctx context.Context, c *disk.Content, keys []bundle.Key) (held *wire.DeletesHeld, err error) {
	others, _ := u.engine.wishes(u)
	rest := u.handOver(ctx, keys, others)
	if len(rest) == 0 {
		return nil, nil
	}
	if err := u.grace(ctx); err != nil {
		return nil, err
	}
	others, unknown := u.engine.wishes(u)
	if len(unknown) > 0 {
		return nil, fmt.Errorf("%w to prune: package %s may want what this one gives up, and its release is not here yet",
			errWaits, strings.Join(unknown, ", "))
	}
	rest, because, held := u.consent(c, u.handOver(ctx, rest, others))
	rest, blocked := u.mayPrune(rest, c, others)
	if blocked != nil && !errors.Is(blocked, errWaits) {
		return held, blocked
	}
	return held, errors.Join(u.prune(ctx, rest, because), blocked)
}

// grace waits until nobody may be about to be told to take what this package gives up.
func (u *unit) grace(ctx context.Context) error {
	if len(u.engine.roster.all()) == 1 {
		return ctx.Err()
	}
	u.mu.Lock()
	left := u.engine.grace - u.engine.needs.Now().Sub(u.orders.since)
	u.mu.Unlock()
	select {
	case <-time.After(min(left, u.engine.grace)): // whatever the clock does
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// handOver gives the objects that another package wants to it, and returns those that nobody does. An object stays in
// this inventory until it is in its heir's, so that a crash finds it in one at least, and while it is not known whether there
// is an heir.
func (u *unit) handOver(ctx context.Context, keys []bundle.Key, others []wish) (rest []bundle.Key) {
	for _, key := range keys {
		heir, err := u.heirOf(ctx, key, others)
		if err != nil {
			u.log.Warn("whether another package may have an object is not known; it stays for now", "object", key.String(), "error", err)
			continue
		}
		if heir == nil {
			rest = append(rest, key)
			continue
		}
		u.engine.index.give(key, u, heir)
		poke(heir.kick)
		if heir.remembers(key) {
			u.mu.Lock()
			delete(u.inventory, key)
			u.mu.Unlock()
		}
	}
	return rest
}

// heirOf returns the first package that wants an object and may have it, or nil: one that comes before a team's or acts as the
// same; or the team's that the object was taken from, as long as it has a right to it. Otherwise a team could keep what is not
// its own, such as a right that is taken away, from being deleted, just by naming it.
func (u *unit) heirOf(ctx context.Context, key bundle.Key, others []wish) (*unit, error) {
	var owner *wish
	for i, w := range others {
		if _, wants := w.content.Find(key); !wants {
			continue
		}
		if u.minds(w.unit) {
			return w.unit, nil
		}
		if r := u.engine.index.get(key); r != nil && r.dueTo(w.unit) {
			owner = &others[i]
		}
	}
	if owner == nil {
		return nil, nil
	}
	o, _ := owner.content.Find(key)
	if may, err := owner.unit.mayHave(ctx, key, owner.content, o); !may || err != nil {
		return nil, err
	}
	return owner.unit, nil
}

// minds says whether what another package wants stands in this one's way: the platform's does in everybody's, and a team's in
// that of those that act as the same.
func (u *unit) minds(other *unit) bool {
	account := other.account()
	return account == nil || account.Equal(u.account())
}

// mayPrune leaves out the foundations whose deletion would take along what is to stay, and says which and why: an errWaits
// when what stands in the way is about to go as well.
func (u *unit) mayPrune(keys []bundle.Key, c *disk.Content, others []wish) (may []bundle.Key, blocked error) {
	others = slices.DeleteFunc(slices.Clone(others), func(w wish) bool { return !u.minds(w.unit) })
	if c != nil {
		others = append([]wish{{u, c}}, others...)
	}
	for _, key := range keys {
		if !foundation(key) {
			may = append(may, key)
			continue
		}
		if holder, inside, stays := u.engine.wantedWithin(key, others); stays {
			return nil, fmt.Errorf("nothing was pruned: deleting %s would take along what package %s is to hold, such as %s", key, holder.key, inside)
		}
		if heir, inside, gives := u.givingWithin(key); gives {
			blocked = fmt.Errorf("%w for package %s to take over %s, which would go with %s", errWaits, heir.key, inside, key)
			continue
		}
		if holder, inside, there := u.engine.heldWithin(key, u); there {
			blocked = fmt.Errorf("%w for package %s to give up %s, which would go with %s", errWaits, holder.key, inside, key)
			continue
		}
		may = append(may, key)
	}
	return may, blocked
}

// wantedWithin returns an object that somebody wants and that goes with a foundation.
func (e *Engine) wantedWithin(f bundle.Key, wishes []wish) (holder *unit, inside bundle.Key, found bool) {
	for _, w := range wishes {
		var within []bundle.Key
		for key, o := range w.content.Objects {
			resource := ""
			if f.Kind == definition && strings.HasSuffix(f.Name, "."+key.Group) {
				gvr, _, err := e.cast.own.Resolve(schema.FromAPIVersionAndKind(o.ID.APIVersion, o.ID.Kind))
				if resource = gvr.Resource; err != nil {
					resource = strings.TrimSuffix(f.Name, "."+key.Group) // not known: it may well be
				}
			}
			if houses(f, key, resource) {
				within = append(within, key)
			}
		}
		if len(within) > 0 {
			return w.unit, slices.MinFunc(within, bundle.Key.Compare), true
		}
	}
	return nil, bundle.Key{}, false
}

// heldWithin returns an object that another package than u holds and that goes with a foundation.
func (e *Engine) heldWithin(f bundle.Key, u *unit) (holder *unit, inside bundle.Key, found bool) {
	for _, other := range e.roster.all() {
		if other == u || !u.minds(other) && !u.team() { // a team's holds up no other's, unless it has something there
			continue
		}
		var within []bundle.Key
		team := other.team()
		other.mu.Lock()
		for key, it := range other.inventory {
			if houses(f, key, it.Resource) && (!team || e.provenBy(key, other)) {
				within = append(within, key)
			}
		}
		other.mu.Unlock()
		if len(within) > 0 {
			return other, slices.MinFunc(within, bundle.Key.Compare), true
		}
	}
	return nil, bundle.Key{}, false
}

// givingWithin returns an object that goes with a foundation and is on its way to another package.
func (u *unit) givingWithin(f bundle.Key) (heir *unit, inside bundle.Key, found bool) {
	u.mu.Lock()
	within := map[bundle.Key]bool{}
	for key, it := range u.inventory {
		within[key] = houses(f, key, it.Resource)
	}
	u.mu.Unlock()
	for key, is := range within {
		if r := u.engine.index.get(key); is && r != nil && !r.heldBy(u) {
			return r.unit(), key, true
		}
	}
	return nil, bundle.Key{}, false
}

// definition is the kind of what defines kinds.
const definition = "CustomResourceDefinition"

// foundation says whether other objects live in an object, or are of the kind that it defines.
func foundation(key bundle.Key) bool {
	return key.Group == "" && key.Kind == "Namespace" || key.Group == "apiextensions.k8s.io" && key.Kind == definition
}

// houses says whether an object, of a resource, lives in the foundation f or is of the kind that it defines.
func houses(f, key bundle.Key, resource string) bool {
	if f.Kind == definition {
		return key.Group != "" && resource+"."+key.Group == f.Name
	}
	return key.Namespace == f.Name
}

// provenBy says whether a package holds an object and has written it.
func (e *Engine) provenBy(key bundle.Key, u *unit) bool {
	r := e.index.get(key)
	return r != nil && r.provenBy(u)
}

// hold claims an object. Who was to take it over, has not, and does not want it any more, does not hold it. A team's package
// holds what it has written: by naming an object alone, it keeps nobody from it.
func (u *unit) hold(key bundle.Key, gvr schema.GroupVersionResource) (r *record, holder *unit) {
	r, holder = u.engine.index.claim(key, gvr, u)
	if holder == u {
		return r, holder
	}
	if good := !holder.team() || r.provenBy(holder); good && (holder.remembers(key) || holder.mayWant(key)) {
		return r, holder
	}
	u.engine.index.give(key, holder, u)
	return r, u
}
