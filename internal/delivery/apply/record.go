package apply

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// record is one object of the index: what it should be, what was done to it, and what it is.
type record struct {
	key  bundle.Key
	busy sync.Mutex // held while the object is being written, so that one hand writes it at a time

	mu      sync.Mutex // guards what follows
	holder  *unit
	proven  bool                // the holder has written the object: its claim is good
	given   bool                // by another package, and not written since
	from    v1alpha1.PackageKey // of a team, which it was taken from
	gvr     schema.GroupVersionResource
	content *disk.Content // of source; nil when the object is to go
	source  disk.Object
	rule    *treatment // how drift of it is treated; nil is by the defaults
	level   int        // in the order of its package
	sealed  bool       // something in it came encrypted, now or before
	did     applied
	is      member.Seen
	health  member.Health
	why     string // it has not been healthy for a while, as far as could be found out
	failure string // why the object could not be written the last time
	bout    bout
	clue    *clue     // what is known of the drift that is being repaired
	seen    time.Time // when the object was last seen as it should be
}

// want is what the object should be; the caller holds mu.
func (r *record) want() desired {
	if r.content == nil {
		return desired{}
	}
	return desired{present: true, hash: r.source.Hash ^ r.rule.hash(), takeOver: r.source.TakeOver, leave: r.rule.leaves()}
}

// desire makes the record an object of its holder's content, and says how drift of it is treated. It returns the holder: when that is
// another by now nothing is done, or the content of one package would be written by the right of another.
func (r *record) desire(by *unit, gvr schema.GroupVersionResource, content *disk.Content, source disk.Object, rule *treatment) (holder *unit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holder != by {
		return r.holder
	}
	r.rule, r.level = rule, content.Order.Level(source.ID.Key())
	if r.content == nil || r.source.Hash != source.Hash {
		r.failure = "" // it was about other content
	}
	r.gvr, r.content, r.source = gvr, content, source
	r.sealed = r.sealed || source.Sealed()
	return by
}

// dismiss makes a package's object one that is to go, unless it has changed hands meanwhile.
func (r *record) dismiss(by *unit) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holder != by {
		return false
	}
	r.content = nil
	return true
}

// task is what has to be done to an object, and with what: taken together, so that an order that comes meanwhile does
// not mix with it.
type task struct {
	do      action
	holder  *unit
	gvr     schema.GroupVersionResource
	source  disk.Object
	content *disk.Content
	rule    *treatment
	did     applied
	version uint64 // of the object, as far as it was seen
}

func (r *record) task() task {
	r.mu.Lock()
	defer r.mu.Unlock()
	return task{judge(r.want(), r.did, r.is), r.holder, r.gvr, r.source, r.content, r.rule, r.did, r.is.Version}
}

// hash is that of what is wanted.
func (t task) hash() uint64 { return t.source.Hash ^ t.rule.hash() }

// noticed is what an event means.
type noticed struct {
	drifted bool // the object needs repair now
	left    bool // it would, and is to be left
	first   bool // nothing was known of the object before
	health  bool // it is not as healthy as before, or healthier
}

// notice takes in what an event tells. Events may come late: one that is older than what is known changes nothing.
func (r *record) notice(is member.Seen, h member.Health) (n noticed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if is.Version < r.is.Version {
		return n
	}
	n.health = r.health != h
	r.health = h
	if h.OK() {
		r.why = ""
	}
	if is == r.is {
		return n
	}
	if is.Gone {
		is.By, is.UID = "", ""
	}
	before := r.is
	r.is = is
	n.first = before.Version == 0
	n.drifted = r.adrift()
	n.left = r.left() && (n.first || before.Gone != is.Gone || before.Owned != is.Owned || before.UID != is.UID)
	return n
}

// adrift says whether the object is not what was applied to it; the caller holds mu. What a release has yet to apply is
// no drift.
func (r *record) adrift() bool {
	want := r.want()
	return want.present && r.did.hash == want.hash && judge(want, r.did, r.is) == actRestore
}

// left says whether the object is not what was applied to it, and is to be left so; the caller holds mu.
func (r *record) left() bool {
	want := r.want()
	return want.present && want.leave && r.did.hash == want.hash && departed(r.did, r.is)
}

// drifted says whether the object is not what was applied to it, and to be put back.
func (r *record) drifted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.adrift()
}

// unseen says that nothing is known of the object on the member.
func (r *record) unseen() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.is.Version == 0
}

// unsee forgets what was seen: the member's store went back in time, so that all versions mean something else.
func (r *record) unsee() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.is = member.Seen{}
}

// written takes in the response to an apply, by a package, of the bytes with the hash, and whether the object was somebody else's
// before. The response is an observation as well, unless an event has told of something newer. It says whether the object had
// changed hands before.
func (r *record) written(by *unit, hash uint64, got member.Written, adopted bool) (settled bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.did.uid == got.UID {
		adopted = r.did.adopted // it was known before: who made it has not changed
	}
	r.did = applied{hash: hash, uid: got.UID, owned: got.Owned, adopted: adopted}
	r.failure = ""
	if r.holder == by { // otherwise it has changed hands meanwhile, and the holder has yet to write it
		settled = r.given
		r.proven, r.given = true, false
	}
	if got.Version >= r.is.Version {
		r.is = got.Seen
	}
	return settled
}

// made takes in that an apply of which nobody knew how it ended made the object.
func (r *record) made(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.did.uid == "" {
		r.did.uid = uid
	}
}

// stood notes that the object was as it should be at now.
func (r *record) stood(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = now
}

// failed keeps why the object could not be written, and says whether that is news. Whether something was written all the
// same is not known.
func (r *record) failed(why string) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.did == (applied{}) {
		r.did.unsure = true
	}
	news = r.failure != why
	r.failure = why
	return news
}

// recall takes up what the inventory knows, unless more is known already.
func (r *record) recall(it disk.Item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.did == (applied{}) {
		r.did = applied{hash: it.Hash, uid: it.UID, owned: it.Owned, adopted: it.Adopted, unsure: it.UID == ""}
		r.level, r.from, r.given, r.proven = it.Level, it.From, it.Given, it.UID != "" && !it.Given
	}
	r.sealed = r.sealed || it.Sealed
}

// returned takes in that the object was brought back.
func (r *record) returned(it disk.Item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.did = applied{hash: it.Hash, uid: it.UID, owned: it.Owned, adopted: it.Adopted}
	r.failure, r.proven, r.given = "", true, false
}

// wanted says whether the object is to be there.
func (r *record) wanted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.content != nil
}

// item is the record as it goes to the inventory.
func (r *record) item() disk.Item {
	r.mu.Lock()
	defer r.mu.Unlock()
	return disk.Item{
		Version: r.gvr.Version, Resource: r.gvr.Resource,
		Hash: r.did.hash, UID: r.did.uid, Owned: r.did.owned, Adopted: r.did.adopted, Level: r.level, Given: r.given, From: r.from, Sealed: r.sealed,
	}
}

// resourceOf is where an object of the inventory was reached.
func resourceOf(key bundle.Key, it disk.Item) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: key.Group, Version: it.Version, Resource: it.Resource}
}

func (r *record) heldBy(u *unit) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.holder == u
}

// provenBy says whether a package holds the object and has written it.
func (r *record) provenBy(u *unit) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proven && r.holder == u
}

// taken notes from whom a package took the object.
func (r *record) taken(by *unit, from v1alpha1.PackageKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holder == by {
		r.from = from
	}
}

// dueTo says whether an object is a team's to have when nobody else wants it: it was taken from it, or was given back and is not
// written yet.
func (r *record) dueTo(u *unit) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.from == u.key || r.holder == u && r.given
}

func (r *record) unit() *unit {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.holder
}

func (r *record) healthy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.health.OK()
}

// repairing marks the beginning of a repair at now: how long it still has to wait, and why it is needed.
func (r *record) repairing(now time.Time) (pause time.Duration, cause string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.is.Gone:
		cause = "Deleted"
	case r.is.By != "":
		cause = "Changed by " + r.is.By
	default:
		cause = "Changed"
	}
	return r.bout.next(now), cause
}

func (r *record) repaired(now time.Time) (fighting bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bout = r.bout.repaired(now)
	return r.bout.fighting(now)
}
