package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/delivery/apply/member"
)

// A package whose order or inventory cannot be read, or whose order somebody else wrote, stands still: nothing of it is written or
// deleted, nobody knows what it wants, so that nothing is pruned that it may want, and no guard is changed that may be its. All other packages are
// repaired as ever. It goes on when the file can be read again, which is tried again and again, or, where it is the order, when
// the hub says anew what is to be. Nothing of what cannot be read is written over before that.

// unread is why files of a package are not known.
type unread struct{ order, inventory error }

// errForeign says that somebody else wrote an order.
var errForeign = errors.New("the order on the agent's disk was written by somebody else")

// why says why the package stands still; nil when it does not.
func (n unread) why() error {
	const still = "nothing of the package is applied or deleted"
	switch {
	case errors.Is(n.order, errForeign):
		return fmt.Errorf("%w: %s; the hub is asked what is to be here", n.order, still)
	case n.order != nil:
		return fmt.Errorf("the agent does not know what is to be here, so %s; the hub is asked, and a good copy of the file is taken up as well: %w", still, n.order)
	case n.inventory != nil:
		return fmt.Errorf("the agent does not know what it put here, so %s: bring the file back on the agent's disk, "+
			"or delete it, and what has left the package since stays on the cluster: %w", still, n.inventory)
	}
	return nil
}

// ordered reads an order, and says why it is not known. It names the package also then, if that is known.
func (e *Engine) ordered(folder *disk.Folder) (disk.Order, error) {
	o, err := folder.ReadOrder()
	if err == nil {
		var genuine bool
		if genuine, err = e.genuine(o); err == nil && !genuine {
			err = errForeign
		}
	}
	if err == nil {
		if err := folder.Sign(o.Package); err != nil { // on a full disk it is no worse than before
			e.needs.Log.Warn("whose a folder is could not be written down", "folder", folder.Name(), "package", o.Package, "error", err)
		}
		return o, nil
	}
	key := o.Package
	if key == "" {
		key, _ = folder.Key()
	}
	return disk.Order{Package: key}, err
}

// unreadable says why the package stands still; nil when it does not.
func (u *unit) unreadable() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.unread.why()
}

func (u *unit) orderKnown() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.unread.order == nil
}

// described is the package as those hear of it that wait for it.
func (u *unit) described() string {
	if u.unreadable() != nil {
		return string(u.key) + " (which cannot be read on the agent's disk)"
	}
	return string(u.key)
}

// standStill says that the package stands still, if it does.
func (u *unit) standStill() {
	if why := u.unreadable(); why != nil && u.stands(wire.PackageStatus_FAILED, why) {
		u.log.Error("the package stands still", "because", why)
	}
}

// readOrder takes the order up if it was not known and is now. The caller holds the folder's lock.
func (u *unit) readOrder() {
	if u.orderKnown() {
		return
	}
	o, why := u.engine.ordered(u.folder)
	if why == nil {
		u.engine.guards.expect(u.key, protectionBy(u.policyIn(o), o.ActsAs))
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.unread.order = why; why == nil {
		u.orders.now, u.orders.since = o, u.engine.needs.Now()
	}
}

// readInventory takes the inventory up if it was not known and is now. The caller holds the folder's lock.
func (u *unit) readInventory() {
	if u.inventoryKnown() {
		return
	}
	inventory, err := u.folder.ReadInventory()
	if err == nil {
		u.mu.Lock()
		u.inventory = inventory
		u.mu.Unlock()
		u.reclaim() // before anybody goes by it
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.unread.inventory = err
}

// readAgain takes up what was not known of the package and is now, and says why it still stands still.
func (u *unit) readAgain() error {
	if u.unreadable() == nil {
		return nil
	}
	u.folder.Lock()
	u.readOrder()
	u.readInventory()
	u.folder.Unlock()
	if err := u.unreadable(); err != nil {
		return err
	}
	u.log.Info("the package can be read again")
	u.say(wire.PackageStatus_APPLYING, "its files can be read again")
	poke(u.engine.guards.kick)
	u.engine.wake(u)
	return nil
}

// spare leaves objects to a package that does not know what it put here, as long as they say themselves that they are its, or are the
// agent's and somebody has changed whose: it had them first, and will say so when its inventory can be read. The platform's goes
// before a team's here as well.
func (u *unit) spare(ctx context.Context, records []*record, refused refusals) []*record {
	silent := map[string]*unit{}
	for _, other := range u.engine.roster.all() {
		if other != u && !other.inventoryKnown() && (u.team() || !other.team()) {
			silent[other.key.LabelValue()] = other
		}
	}
	if len(silent) == 0 {
		return records
	}
	return slices.DeleteFunc(records, func(r *record) bool {
		if u.remembers(r.key) {
			return false
		}
		t := r.task()
		label, ours, err := u.engine.cast.own.PackageOf(ctx, t.gvr, r.key)
		why := ""
		switch other := silent[label]; {
		case err != nil:
			why = "it was not applied: whose it is could not be found out: " + member.Explain(err)
		case other != nil && u.team(), ours && (label == "" || label == u.key.LabelValue()):
			why = "it was not applied: it may be of another package, of which the agent cannot read what it put here"
		case other != nil:
			why = fmt.Sprintf("it was not applied: it may be of package %s, of which the agent cannot read what it put here", other.key)
		default:
			return false
		}
		u.engine.index.drop(r, u)
		refused.add(r.key, t.source, why)
		return true
	})
}

func (u *unit) inventoryKnown() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.unread.inventory == nil
}

// reclaim takes what is in the inventory into the index. Of two packages that a crash left with the same object, the wrong one gives it up
// later.
func (u *unit) reclaim() {
	u.mu.Lock()
	inventory := maps.Clone(u.inventory)
	u.mu.Unlock()
	for key, it := range inventory {
		if r, holder := u.engine.index.claim(key, resourceOf(key, it), u); holder == u {
			r.recall(it)
		}
	}
}

// lost are folders of which it is not even known whose they are. Any of them may want anything.
type lost struct {
	mu      sync.Mutex
	folders []*disk.Folder
}

// lose notes such a folder.
func (e *Engine) lose(folder *disk.Folder, why error) {
	e.needs.Log.Error("a package's folder cannot be read, and does not say whose it is: nothing of it is applied, and nothing of other packages is pruned; "+
		"bring its files back and start the agent again, or delete it when its package is not to be here any more", "folder", folder.Name(), "because", why)
	e.lost.folders = append(e.lost.folders, folder)
}

// find notes that a folder is a package's, which is in the roster by then.
func (e *Engine) find(u *unit) {
	e.lost.mu.Lock()
	before := len(e.lost.folders)
	e.lost.folders = slices.DeleteFunc(e.lost.folders, func(f *disk.Folder) bool { return f.Is(u.key) })
	found := len(e.lost.folders) < before
	e.lost.mu.Unlock()
	if found {
		poke(u.kick)
		poke(e.guards.kick)
		e.wake(u)
	}
}

// lostOnes names them. One that was deleted since is none any more.
func (e *Engine) lostOnes() (names []string) {
	e.lost.mu.Lock()
	defer e.lost.mu.Unlock()
	e.lost.folders = slices.DeleteFunc(e.lost.folders, func(f *disk.Folder) bool {
		_, err := f.ReadOrder()
		return errors.Is(err, fs.ErrNotExist)
	})
	for _, f := range e.lost.folders {
		names = append(names, "in "+f.Name()+" (which cannot be read)")
	}
	return names
}

// allKnown says whether every package's order is known.
func (e *Engine) allKnown() bool {
	return len(e.lostOnes()) == 0 && !slices.ContainsFunc(e.roster.all(), func(u *unit) bool { return !u.orderKnown() })
}
