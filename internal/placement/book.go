package placement

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/placement/decide"
)

// book is what the controller remembers between decisions, so that a change of one cluster costs what follows from it and
// not a look at every cluster for every Placement: the clusters, the specs, read once, and which clusters changed since each
// was decided. All of it can be made again: a Placement that has no page is decided from all clusters.
type book struct {
	mu    sync.Mutex
	pages map[types.NamespacedName]*page
	// fleet is what was seen of all clusters: it is read when the first Placement is decided, and follows their changes.
	fleet decide.Fleet
	// gone are clusters that the API itself says are not there.
	gone map[v1alpha1.ClusterName]bool
}

// page is what is remembered of one Placement.
type page struct {
	uid        types.UID
	generation int64
	plan       *decide.Plan // nil when the spec is invalid, as problem says
	problem    error
	// pool is who could have a seat, where a number of clusters is asked for and one decision was made.
	pool *decide.Pool
	// whole: the next decision looks at all clusters, and not at those that changed alone.
	whole bool
	// changed are those, sorted. Each decision begins a new list.
	changed []v1alpha1.ClusterName
	// unsettled: a decision is being made or written, so that the cache does not say what the last one was. Until it does,
	// every change is noted; after that, those alone that it is wrong about.
	unsettled bool
	// basis is the version that the last write was made from. As long as the cache has it, it does not have the write.
	basis string
	// version is the one that was decided last, or what came of it. Another one is somebody else's, and is looked at whole.
	version string
}

func newBook() *book {
	return &book{pages: map[types.NamespacedName]*page{}, gone: map[v1alpha1.ClusterName]bool{}}
}

// open returns the page of a Placement with its spec read, and says whether the cache has what was written last.
func (b *book) open(placement *v1alpha1.Placement) (p *page, current bool) {
	key := types.NamespacedName{Namespace: placement.Namespace, Name: placement.Name}
	b.mu.Lock()
	defer b.mu.Unlock()
	p = b.pages[key]
	if p == nil || p.uid != placement.UID || p.generation != placement.Generation {
		basis := ""
		if p != nil && p.uid == placement.UID {
			basis = p.basis
		}
		p = &page{uid: placement.UID, generation: placement.Generation, whole: true, basis: basis}
		p.plan, p.problem = decide.Compile(placement)
		b.pages[key] = p
	}
	if p.basis != "" && p.basis == placement.ResourceVersion {
		return p, false
	}
	p.whole = p.whole || p.version != placement.ResourceVersion
	return p, true
}

func (b *book) forget(key types.NamespacedName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pages, key)
}

// see reads the fleet, the first time that it is called. Changes are not noted meanwhile: what is read has them.
func (b *book) see(read func() (decide.Fleet, error)) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fleet == nil {
		b.fleet, err = read()
	}
	return err
}

// decide decides a Placement, from what changed since it was decided last where that is enough. From now on changes are noted
// for the next decision; whoever asked says with lost, settled or wrote how it went.
func (b *book) decide(p *page, before decide.Before, now time.Time) decide.Decision {
	b.mu.Lock()
	defer b.mu.Unlock()
	whole, changed := p.whole, p.changed
	p.changed, p.whole, p.unsettled = nil, false, true
	switch {
	case p.plan.Seats():
		if p.pool == nil {
			p.pool = p.plan.Pool(b.fleet)
		}
		return p.pool.Decide(b.fleet, before, now)
	case whole:
		return p.plan.Decide(b.fleet, before, now)
	}
	return p.plan.Revise(b.fleet, changed, before, now)
}

// missing are those that are not among the clusters, and of which the API itself has not said that they are gone.
func (b *book) missing(names []v1alpha1.ClusterName) (missing []v1alpha1.ClusterName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range names {
		if b.fleet[name] == nil && !b.gone[name] {
			missing = append(missing, name)
		}
	}
	return missing
}

// buried notes that the API itself says that a cluster is gone.
func (b *book) buried(name v1alpha1.ClusterName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fleet[name] == nil {
		b.gone[name] = true
	}
}

// lost has everything looked at the next time: a decision was not written.
func (b *book) lost(p *page) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.whole = true
}

// settled notes that there was nothing to write to this version.
func (b *book) settled(p *page, version string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.unsettled, p.version = false, version
}

// wrote notes that a decision was written: from which version, and which one came of it.
func (b *book) wrote(p *page, basis, version string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.basis, p.version = basis, version
}

// note notes how a cluster is now, nil when it is gone, and returns the Placements whose last decision that may make a wrong
// one. last tells what that was; false when it is not known, and then the Placement has an event of its own to be decided by.
func (b *book) note(name v1alpha1.ClusterName, after *decide.Cluster, last func(types.NamespacedName) (decide.Before, bool)) []types.NamespacedName {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fleet == nil {
		return nil // nothing was decided yet
	}
	before := b.fleet[name]
	if after != nil {
		b.fleet[name] = after
		delete(b.gone, name)
	} else {
		delete(b.fleet, name)
	}
	differ := decide.Differences(before, after)
	if differ == 0 {
		return nil
	}
	var concerned []types.NamespacedName
	for key, p := range b.pages {
		var shift decide.Shift
		if p.pool != nil {
			shift = p.pool.Change(name, after, differ)
		}
		if p.plan == nil || !p.plan.Minds(differ) {
			continue
		}
		was, known := last(key)
		wrong := known && p.wrong(shift, before, after, was)
		if wrong {
			concerned = append(concerned, key)
		}
		if wrong || p.unsettled {
			if at, is := slices.BinarySearch(p.changed, name); !is {
				p.changed = slices.Insert(p.changed, at, name)
			}
		}
	}
	return concerned
}

// wrong says whether a change of a cluster can make the last decision a wrong one.
func (p *page) wrong(shift decide.Shift, before, after *decide.Cluster, last decide.Before) bool {
	switch {
	case !p.plan.Seats():
		return p.plan.Concerns(before, after, last)
	case p.pool == nil:
		return true // it is about to be decided for the first time
	}
	return p.unsettled && shift.Moves() || p.pool.Concerns(shift, before, after, last)
}
