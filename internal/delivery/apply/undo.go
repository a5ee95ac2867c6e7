package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// What was deleted comes back in a loop of its own, since it outlives its package. Each object goes like this:
//
//  1. If its package is on the member and does not want it, the object enters the package's inventory first, marked as
//     brought back: from then on it is the package's, and no pass deletes it until somebody approves that anew.
//  2. It is made as it was, foundations first and owners before what they own.
//  3. What is there under its name is left as it is, and so is what another package has.
//
// When the package is not on the member any more, the objects are there as they were and belong to nobody, until the package
// comes back: it knows them by its label and its entry in managedFields.

// errBack says that the package itself has the object again.
var errBack = errors.New("the package has it again")

// undoing brings back what is asked for, until ctx ends.
func (e *Engine) undoing(ctx context.Context) {
	for attempt := 0; ; attempt++ {
		var retry <-chan time.Time
		if e.undoAll(ctx) {
			retry = time.After(retryAfter(attempt))
		}
		select {
		case <-ctx.Done():
			return
		case <-e.undos:
			attempt = 0
		case <-retry:
		}
	}
}

// undoAll makes one attempt at every deletion that is to be undone, and says whether another one is needed.
func (e *Engine) undoAll(ctx context.Context) (again bool) {
	if e.deletions.Known() != nil {
		return true
	}
	if e.reports.owes() { // they were not known when they were to be reported
		poke(e.reports.wake)
	}
	for _, d := range slices.Backward(e.deletions.List()) {
		if d.Undo == nil || d.Undo.Done || ctx.Err() != nil {
			continue
		}
		undo := e.undo(ctx, d)
		if ctx.Err() != nil {
			return false
		}
		if _, err := e.deletions.SetUndo(d.ID, undo); err != nil {
			e.needs.Log.Error("how far an undo is could not be kept", "deletion", d.ID, "error", err)
			again = true
		}
		again = again || !undo.Done
		if undo.Done {
			e.needs.Log.Info("a deletion was undone", "deletion", d.ID, "package", string(d.Package), "back", undo.Back, "left", undo.Left)
		}
		e.deleted()
	}
	return again
}

// ask has a deletion undone. The wish is on the disk when it returns nil. What is not in the journal any more is no error:
// the reports say what is.
func (e *Engine) ask(id string) error {
	if err := e.deletions.Known(); err != nil {
		poke(e.undos)
		return fmt.Errorf("undoing deletion %s: %w", id, err)
	}
	for _, d := range e.deletions.List() {
		if d.ID != id || d.Undo != nil {
			continue
		}
		if _, err := e.deletions.SetUndo(id, disk.Undo{}); err != nil {
			return fmt.Errorf("storing that deletion %s is to be undone: %w", id, err)
		}
		e.deleted()
		poke(e.undos)
	}
	return nil
}

// undo makes one attempt at bringing the objects of a deletion back.
func (e *Engine) undo(ctx context.Context, d disk.Deletion) (undo disk.Undo) {
	u := e.roster.get(d.Package)
	if u != nil && u.asked().Removing {
		undo.Waits = "the package is still being removed"
		return undo
	}
	api, err := e.castFor(d, u)
	if err != nil {
		undo.Waits = err.Error()
		return undo
	}
	kept, err := e.deletions.Read(d.ID)
	if err != nil {
		undo.Waits = err.Error()
		return undo
	}
	objects, waits := e.unjournaled(ctx, kept)
	refused := map[bundle.Key]error{}
	if u != nil {
		if refused, err = u.keep(objects); err != nil {
			undo.Waits = err.Error()
			return undo
		}
		defer u.lookAgainAt(d.ID)
	}
	back := comeback{own: e.cast.own, api: api, unit: u, id: d.ID, uids: map[types.UID]types.UID{}}
	for _, o := range backOrder(objects) {
		err := refused[o.Key]
		if err == nil {
			err = back.bring(ctx, o)
		}
		switch {
		case ctx.Err() != nil:
			return undo
		case err == nil, errors.Is(err, errBack):
			undo.Back++
		case errors.Is(err, member.ErrThere), errors.Is(err, errTaken):
			undo.Left = append(undo.Left, fmt.Sprintf("%s: %s", o.Key, err))
		default:
			waits = append(waits, fmt.Errorf("%s: %s", o.Key, explainAs(accountFor(d, u), err, wordingOf(o.Key, o.Item))))
		}
	}
	undo.Left = undo.Left[:min(len(undo.Left), maxNamed)]
	if err := first(waits); err != nil {
		undo.Waits = err.Error()
		return undo
	}
	undo.Done = true
	return undo
}

// errTaken says that an object belongs to another package.
var errTaken = errors.New("another package has it")

// comeback is an attempt at bringing objects back.
type comeback struct {
	own  *member.API             // as the agent
	api  *member.API             // as whom the package acts
	unit *unit                   // nil when the package is not on the member any more
	id   string                  // of the deletion
	uids map[types.UID]types.UID // of those that are back, by what they were
}

// accountFor is whom an undo acts as: whom the package acts as now, or acted as when it lost the objects and is not here any more.
func accountFor(d disk.Deletion, u *unit) *member.Account {
	if u != nil {
		return u.account()
	}
	return d.ActsAs
}

func (e *Engine) castFor(d disk.Deletion, u *unit) (*member.API, error) {
	return e.cast.of(accountFor(d, u))
}

// bring makes one object as it was.
func (c comeback) bring(ctx context.Context, o disk.Deleted) error {
	was := &unstructured.Unstructured{}
	if err := json.Unmarshal(o.Object, &was.Object); err != nil {
		return fmt.Errorf("reading it from the journal: %w", err)
	}
	gvr, served, err := c.own.Locate(schema.GroupKind{Group: o.Key.Group, Kind: o.Key.Kind})
	if err != nil {
		return err
	}
	if !served {
		return errors.New("the cluster does not have this kind any more")
	}
	owners, err := c.owners(ctx, was)
	if err != nil {
		return err
	}
	was.SetOwnerReferences(owners)
	seen, err := c.api.Restore(ctx, gvr, o.Key, was, c.id)
	if c.unit != nil && errors.Is(err, member.ErrThere) {
		err = cmp.Or(c.unit.leave(o), err)
	}
	if err != nil {
		return err
	}
	if c.unit != nil {
		c.unit.kept(o, seen)
	}
	c.uids[was.GetUID()] = seen.UID
	return nil
}

// owners returns the owners that an object is to have again: those that are there, under the uid that they have now if they
// came back with it. One that is gone is left out, or the garbage collector would take the object along; one that is
// another by now did not make it.
func (c comeback) owners(ctx context.Context, was *unstructured.Unstructured) ([]metav1.OwnerReference, error) {
	var owners []metav1.OwnerReference
	for _, ref := range was.GetOwnerReferences() {
		if now, back := c.uids[ref.UID]; back {
			ref.UID = now
			owners = append(owners, ref)
			continue
		}
		uid, err := c.own.Owner(ctx, was.GetNamespace(), ref)
		if err != nil {
			return nil, fmt.Errorf("looking for its owner, %s %s: %w", ref.Kind, ref.Name, err)
		}
		if uid == ref.UID {
			owners = append(owners, ref)
		}
	}
	return owners, nil
}

// backOrder returns objects in the order in which they come back: stage by stage, and owners before what they own.
func backOrder(objects []disk.Deleted) []disk.Deleted {
	type node struct {
		disk.Deleted
		uid    types.UID
		owners []types.UID
	}
	var left []node
	there := map[types.UID]bool{}
	for _, o := range objects {
		var meta metav1.PartialObjectMetadata
		n := node{Deleted: o}
		if err := json.Unmarshal(o.Object, &meta); err == nil {
			n.uid = meta.UID
			for _, ref := range meta.OwnerReferences {
				n.owners = append(n.owners, ref.UID)
			}
		}
		there[n.uid] = true
		left = append(left, n)
	}
	place := func(key bundle.Key) stage { return stageOf(schema.GroupKind{Group: key.Group, Kind: key.Kind}) }
	slices.SortStableFunc(left, func(a, b node) int { return int(place(a.Key)) - int(place(b.Key)) })
	var ordered []disk.Deleted
	for len(left) > 0 {
		next := slices.IndexFunc(left, func(n node) bool {
			return !slices.ContainsFunc(n.owners, func(owner types.UID) bool { return there[owner] })
		})
		next = max(next, 0) // owners in a circle: any of them
		delete(there, left[next].uid)
		ordered = append(ordered, left[next].Deleted)
		left = slices.Delete(left, next, next+1)
	}
	return ordered
}

// keep takes objects into the inventory that are about to come back, on the disk first, and says which of them are not for
// it: errBack when the package wants one itself, errTaken when another package has it.
func (u *unit) keep(objects []disk.Deleted) (refused map[bundle.Key]error, err error) {
	content, known := u.wanted()
	if !known {
		return nil, errors.New("the package's release is not here yet")
	}
	refused = map[bundle.Key]error{}
	despite := u.approval(u.asked()).GetId()
	u.deleting.Lock()
	defer u.deleting.Unlock()
	u.folder.Lock()
	defer u.folder.Unlock()
	for _, o := range objects {
		if content != nil {
			if _, wants := content.Find(o.Key); wants {
				refused[o.Key] = errBack
				continue
			}
		}
		it := o.Item
		it.UID, it.Owned = "", 0
		r, holder := u.hold(o.Key, resourceOf(o.Key, it))
		if holder != u {
			refused[o.Key] = fmt.Errorf("%w: %s", errTaken, holder.key)
			continue
		}
		u.mu.Lock()
		if was, there := u.inventory[o.Key]; there { // it was never deleted, or this is not the first attempt
			it = was
		}
		it.Kept, it.Despite = true, despite
		u.inventory[o.Key] = it
		u.mu.Unlock()
		r.recall(it)
	}
	if err := u.folder.WriteInventory(u.snapshot); err != nil {
		return nil, fmt.Errorf("storing the inventory: %w", err)
	}
	return refused, nil
}

// kept notes how an object came back, as what is learnt of any object is noted.
func (u *unit) kept(o disk.Deleted, seen member.Seen) {
	u.mu.Lock()
	it, there := u.inventory[o.Key]
	if !there || !it.Kept {
		u.mu.Unlock()
		return // the package wants it by now
	}
	it.Hash, it.UID, it.Owned, it.Adopted = o.Item.Hash, seen.UID, seen.Owned, false
	u.inventory[o.Key] = it
	u.mu.Unlock()
	if r := u.engine.index.get(o.Key); r != nil && r.heldBy(u) {
		r.returned(it)
	}
	if _, err := u.folder.Note(o.Key, it); err != nil {
		u.log.Error("that an object is back could not be noted", "object", o.Key.String(), "error", err)
	}
}

// leave gives up an object that did not come back, since something else is there: errBack when that is what came back before,
// and was changed since.
func (u *unit) leave(o disk.Deleted) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	it, there := u.inventory[o.Key]
	if there && it.UID != "" {
		return errBack
	}
	delete(u.inventory, o.Key)
	if r := u.engine.index.get(o.Key); there && r != nil {
		u.engine.index.drop(r, u)
	}
	return nil
}

// lookAgainAt writes the inventory after an attempt at an undo, and has a pass say what waits for a word now.
func (u *unit) lookAgainAt(deletion string) {
	u.folder.Lock()
	err := u.folder.WriteInventory(u.snapshot)
	u.folder.Unlock()
	if err != nil {
		u.log.Error("what was brought back could not be stored; it will be found out again", "deletion", deletion, "error", err)
	}
	poke(u.kick)
}

// deleted has what the journal holds reported, after it changed.
func (e *Engine) deleted() {
	if _, err := e.deletions.Trim(e.needs.Now()); err != nil {
		e.needs.Log.Warn("the journal of deletions could not be trimmed", "error", err)
	}
	e.reports.mu.Lock()
	e.reports.deletions = true
	e.reports.mu.Unlock()
	poke(e.reports.wake)
}

// deletionsTold is how many deletions are reported, the newest: as many as MemberCluster.status has room for.
const deletionsTold = v1alpha1.MaxDeletions

// journal is what is reported of deletions. Their objects are named, and nothing else of them leaves the member.
func (e *Engine) journal() *wire.Deletions {
	journal := &wire.Deletions{}
	list := e.deletions.List()
	for _, d := range list[:min(len(list), deletionsTold)] {
		said := &wire.Deletion{
			Id: d.ID, Package: string(d.Package), Release: d.Release, Revision: d.Revision, Cause: d.Cause, Approval: d.Approval,
			AtUnix: d.At.Unix(), Objects: uint32(d.Objects), Names: d.Names,
		}
		if d.Undo != nil {
			said.Undo = &wire.Undo{Done: d.Undo.Done, Back: uint32(d.Undo.Back), Left: d.Undo.Left, Waits: d.Undo.Waits}
		}
		journal.Items = append(journal.Items, said)
	}
	return journal
}
