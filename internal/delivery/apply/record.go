package apply

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/v1alpha1"
)

// record is one object of the index: what it should be, what was done to it, and what it is.
type record struct {
	key  Key
	busy sync.Mutex // held while the object is being written, so that one hand writes it at a time

	mu      sync.Mutex // guards what follows
	holder  v1alpha1.PackageKey
	place   place
	version string // of the API
	want    desired
	source  object   // where the bytes are, while want.present
	content *content // of source
	did     applied
	is      seen
	health  health
	failure string // why the object could not be written the last time
	bout    bout
}

// action judges the record as it is now.
func (r *record) action() action {
	return r.task().do
}

// task is what has to be done to an object, and with what: taken together, so that an order that comes meanwhile does
// not mix with it.
type task struct {
	do      action
	place   place
	source  object
	content *content
	first   bool // nothing was ever applied to it
}

func (r *record) task() task {
	r.mu.Lock()
	defer r.mu.Unlock()
	return task{judge(r.want, r.did, r.is), r.place, r.source, r.content, r.did == (applied{})}
}

// notice takes in what an event tells and says whether the object needs repair now. Events may come late: one that
// is older than what is known changes nothing.
func (r *record) notice(is seen, h *health) (drifted, healthChanged bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if is.version < r.is.version {
		return false, false
	}
	if h != nil {
		healthChanged = r.health != *h
		r.health = *h
	}
	if is == r.is {
		return false, healthChanged
	}
	if is.gone {
		is.by, is.uid = "", ""
	}
	r.is = is
	drifted = r.want.present && judge(r.want, r.did, r.is) == actRestore && r.did.hash == r.want.hash
	return drifted, healthChanged
}

// at returns where the object is reached.
func (r *record) at() place {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.place
}

// unseen says that nothing is known of the object on the member.
func (r *record) unseen() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.is.version == 0
}

// written takes in the response to an apply of the bytes with the hash. The response is an observation as well, and
// newer than any event that came before it.
func (r *record) written(hash uint64, is seen, adopted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.did.uid == is.uid {
		adopted = r.did.adopted // it was known before: who made it has not changed
	}
	r.did = applied{hash: hash, uid: is.uid, owned: is.owned, adopted: adopted}
	r.failure = ""
	if is.version >= r.is.version {
		r.is = is
	}
}

func (r *record) failed(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = why
}

// recall takes up what the inventory knows, unless more is known already.
func (r *record) recall(it item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.did != (applied{}) {
		return
	}
	r.did = applied{hash: it.Hash, uid: it.UID, owned: it.Owned, adopted: it.Adopted}
	r.version = it.Version
	r.place = place{schema.GroupVersionResource{Group: r.key.Group, Version: it.Version, Resource: it.Resource}, it.Namespaced}
}

// item is the record as it goes to the inventory.
func (r *record) item() item {
	r.mu.Lock()
	defer r.mu.Unlock()
	return item{
		Version: r.version, Resource: r.place.gvr.Resource, Namespaced: r.place.namespaced,
		Hash: r.did.hash, UID: r.did.uid, Owned: r.did.owned, Adopted: r.did.adopted,
	}
}

// index is every object that the agent holds on the member, by its key.
type index struct {
	mu      sync.RWMutex
	records map[Key]*record
}

func (x *index) get(key Key) *record {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.records[key]
}

// claim gives the object to a package, or says who holds it.
func (x *index) claim(key Key, claimant v1alpha1.PackageKey) (_ *record, holder v1alpha1.PackageKey) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.records[key]
	if r == nil {
		r = &record{key: key, holder: claimant}
		x.records[key] = r
	}
	return r, r.holder
}

// drop takes an object out of the index.
func (x *index) drop(r *record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.records[r.key] == r {
		delete(x.records, r.key)
	}
}

// of returns the records of a kind.
func (x *index) of(gk schema.GroupKind) []*record {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var found []*record
	for key, r := range x.records {
		if key.Group == gk.Group && key.Kind == gk.Kind {
			found = append(found, r)
		}
	}
	return found
}

// repairing marks the beginning of a repair at now: how long it still has to wait, and why it is needed.
func (r *record) repairing(now time.Time) (pause time.Duration, cause string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.is.gone:
		cause = "Deleted"
	case r.is.by != "":
		cause = "Changed by " + r.is.by
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
