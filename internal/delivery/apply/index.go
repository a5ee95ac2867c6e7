package apply

import (
	"iter"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/internal/delivery/bundle"
)

// index is every object that the agent holds on the member, by its key. An object has one holder.
type index struct {
	mu      sync.RWMutex
	records map[bundle.Key]*record
	held    map[*unit]map[*record]struct{} // the same by their holders
}

func newIndex() *index {
	return &index{records: map[bundle.Key]*record{}, held: map[*unit]map[*record]struct{}{}}
}

// hold notes who holds a record; the caller holds mu.
func (x *index) hold(r *record, holder *unit) {
	if x.held[holder] == nil {
		x.held[holder] = map[*record]struct{}{}
	}
	x.held[holder][r] = struct{}{}
}

// loose notes that it is held by that one no more; the caller holds mu.
func (x *index) loose(r *record, holder *unit) {
	delete(x.held[holder], r)
	if len(x.held[holder]) == 0 {
		delete(x.held, holder)
	}
}

// each calls f with every record of a holder, which must not come back to the index.
func (x *index) each(holder *unit, f func(*record)) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for r := range x.held[holder] {
		f(r)
	}
}

func (x *index) get(key bundle.Key) *record {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.records[key]
}

// claim gives the object to a package unless another one holds it, and returns its record and its holder.
func (x *index) claim(key bundle.Key, gvr schema.GroupVersionResource, claimant *unit) (r *record, holder *unit) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r = x.records[key]
	if r == nil {
		r = &record{key: key, holder: claimant, gvr: gvr}
		x.records[key] = r
		x.hold(r, claimant)
	}
	return r, r.unit()
}

// give hands an object over from one package to another, unless the giver does not hold it.
func (x *index) give(key bundle.Key, from, to *unit) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.records[key]
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holder == from {
		r.holder, r.from, r.proven, r.given, r.content = to, "", false, true, nil // until the heir has claimed it, nobody judges it
		x.loose(r, from)
		x.hold(r, to)
	}
}

// within returns the records of objects that live in a foundation.
func (x *index) within(f bundle.Key) []*record {
	if !foundation(f) {
		return nil
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	var found []*record
	for key, r := range x.records {
		if houses(f, key, r.task().gvr.Resource) {
			found = append(found, r)
		}
	}
	return found
}

// drop takes an object of a package out of the index, and says whether nobody else holds it.
func (x *index) drop(r *record, holder *unit) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !r.heldBy(holder) {
		return false
	}
	if x.records[r.key] == r {
		delete(x.records, r.key)
		x.loose(r, holder)
	}
	return true
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

// unused returns which of some resources there is no record of. It looks no further than until it has met one of each: it is asked
// after every release of every package, and most objects of a member are of few kinds.
func (x *index) unused(of iter.Seq[schema.GroupVersionResource]) map[schema.GroupVersionResource]bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	unmet := map[schema.GroupVersionResource]bool{}
	for gvr := range of {
		unmet[gvr] = true
	}
	for _, r := range x.records {
		if len(unmet) == 0 {
			break
		}
		r.mu.Lock()
		delete(unmet, r.gvr)
		r.mu.Unlock()
	}
	return unmet
}
