package placement

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/placement/decide"
)

// book is what the controller remembers between decisions, so that a change of one cluster costs what follows from it and
// not a look at every cluster for every Placement: the specs, read once, and which clusters changed since each was decided.
// All of it can be made again: a Placement that has no page is decided from all clusters.
type book struct {
	mu    sync.Mutex
	pages map[types.NamespacedName]*page
	// fleet is what was seen of all clusters, until one changes; nil then.
	fleet []decide.Cluster
	// edition counts the changes, so that a fleet that was read meanwhile is not kept.
	edition int
}

// page is what is remembered of one Placement.
type page struct {
	uid        types.UID
	generation int64
	plan       *decide.Plan // nil when the spec is invalid, as problem says
	problem    error
	// whole: the next decision looks at all clusters, and not at those that changed alone.
	whole   bool
	changed map[v1alpha1.ClusterName]bool
	// unsettled: a decision is being made or written, so that the cache does not say what the last one was. Until it does,
	// every change is noted; after that, those alone that it is wrong about.
	unsettled bool
	// basis is the version that the last write was made from. As long as the cache has it, it does not have the write.
	basis string
	// version is the one that was decided last, or what came of it. Another one is somebody else's, and is looked at whole.
	version string
	// again is when to look again although nothing changed.
	again time.Time
}

func newBook() *book { return &book{pages: map[types.NamespacedName]*page{}} }

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
		p = &page{uid: placement.UID, generation: placement.Generation, whole: true, changed: map[v1alpha1.ClusterName]bool{}, basis: basis}
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

// task is what a decision has to look at.
type task struct {
	whole   bool // all clusters
	changed map[v1alpha1.ClusterName]bool
}

// take returns what has to be looked at since the last decision. From now on changes are noted for the next one; whoever
// took them says with lost, settled or wrote how it went.
func (b *book) take(p *page, now time.Time) task {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := task{whole: p.whole, changed: p.changed}
	if p.plan != nil && p.plan.Seats() { // where one change can move another cluster
		t.whole = t.whole || len(t.changed) > 0 || !p.again.IsZero() && !now.Before(p.again)
	}
	p.changed, p.whole, p.unsettled = map[v1alpha1.ClusterName]bool{}, false, true
	return t
}

// lost has everything looked at the next time: a decision was not written.
func (b *book) lost(p *page) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.whole = true
}

// settled notes that there was nothing to write to this version, and when to look again.
func (b *book) settled(p *page, version string, again time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.unsettled, p.version, p.again = false, version, again
}

// wrote notes that a decision was written: from which version, and which one came of it.
func (b *book) wrote(p *page, basis, version string, again time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.basis, p.version, p.again = basis, version, again
}

// note notes a change of a cluster, and returns the Placements whose last decision it may make a wrong one. last tells what
// that was; false when it is not known, and then the Placement has an event of its own to be decided by.
func (b *book) note(before, after *decide.Cluster, last func(types.NamespacedName) (decide.Before, bool)) []types.NamespacedName {
	differ := decide.Differences(before, after)
	if differ == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fleet = nil
	b.edition++
	var name v1alpha1.ClusterName
	if after != nil {
		name = after.Name
	} else {
		name = before.Name
	}
	var concerned []types.NamespacedName
	for key, p := range b.pages {
		if p.plan == nil || !p.plan.Minds(differ) {
			continue
		}
		was, known := last(key)
		wrong := known && p.plan.Concerns(before, after, was)
		if wrong {
			concerned = append(concerned, key)
		}
		if wrong || p.unsettled {
			p.changed[name] = true
		}
	}
	return concerned
}

// clusters returns what is seen of all clusters, and reads them when one changed since.
func (b *book) clusters(read func() ([]decide.Cluster, error)) ([]decide.Cluster, error) {
	b.mu.Lock()
	fleet, edition := b.fleet, b.edition
	b.mu.Unlock()
	if fleet != nil {
		return fleet, nil
	}
	fleet, err := read()
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.edition == edition {
		b.fleet = fleet
	}
	return fleet, nil
}
