package apply

import (
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// reports knows what has changed since the hub was told last.
type reports struct {
	wake chan struct{}

	mu        sync.Mutex
	dirty     map[v1alpha1.PackageKey]bool
	gone      map[v1alpha1.PackageKey]bool
	told      map[v1alpha1.PackageKey]*wire.PackageStatus
	deletions bool          // the journal of deletions is to be told
	removal   chan struct{} // closed at the next removal
	later     *time.Timer   // tells of progress that is not told yet
	pace      *rate.Limiter // of news of drifts
	drift     *time.Timer   // tells of drifts that are not told yet
}

const (
	// progressGap is how long the progress of an apply may wait to be told: each telling is a write on the hub, of all that the member says of its
	// packages. How an apply ended is told at once.
	progressGap = 3 * time.Second
	// driftGap is how long news of drifts may wait while they go on and on, and driftBurst how often they are told at once before.
	driftGap   = 5 * time.Second
	driftBurst = 5
)

func newReports() *reports {
	return &reports{
		wake: make(chan struct{}, 1), removal: make(chan struct{}), pace: rate.NewLimiter(rate.Every(driftGap), driftBurst),
		dirty: map[v1alpha1.PackageKey]bool{}, gone: map[v1alpha1.PackageKey]bool{}, told: map[v1alpha1.PackageKey]*wire.PackageStatus{},
	}
}

// owes says whether the journal of deletions is still to be told.
func (r *reports) owes() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.deletions
}

func (r *reports) changed(key v1alpha1.PackageKey) {
	r.mu.Lock()
	r.dirty[key] = true
	r.mu.Unlock()
	poke(r.wake)
}

// progressed notes a change that is not news by itself: one object more of a release that is being applied.
func (r *reports) progressed(key v1alpha1.PackageKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirty[key] = true
	if r.later == nil {
		r.later = time.AfterFunc(progressGap, func() {
			r.mu.Lock()
			r.later = nil
			r.mu.Unlock()
			poke(r.wake)
		})
	}
}

// drifted notes news of a drift at now: that it was put back, or whose it was. News by itself is told at once; of much in a row, in
// whichever packages, each would be a write on the hub.
func (r *reports) drifted(key v1alpha1.PackageKey, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirty[key] = true
	if r.drift != nil {
		return
	}
	wait := r.pace.ReserveN(now, 1).DelayFrom(now)
	if wait == 0 {
		poke(r.wake)
		return
	}
	r.drift = time.AfterFunc(wait, func() {
		r.mu.Lock()
		r.drift = nil
		r.mu.Unlock()
		poke(r.wake)
	})
}

func (r *reports) removed(key v1alpha1.PackageKey) {
	r.mu.Lock()
	r.gone[key] = true
	delete(r.told, key)
	close(r.removal)
	r.removal = make(chan struct{})
	r.mu.Unlock()
	poke(r.wake)
}

func (r *reports) awaitRemoval() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.removal
}

// Changed receives when Take has something to say.
func (e *Engine) Changed() <-chan struct{} { return e.reports.wake }

// Held returns the state of every package, sorted by name. What it returned counts as told: Take speaks of later
// changes only.
func (e *Engine) Held() []*wire.PackageStatus {
	e.reports.mu.Lock()
	clear(e.reports.dirty)
	clear(e.reports.gone)
	clear(e.reports.told)
	e.reports.deletions = true
	e.reports.mu.Unlock()
	var held []*wire.PackageStatus
	for _, u := range e.roster.all() {
		held = append(held, u.status(e.needs.Now()))
	}
	slices.SortFunc(held, func(a, b *wire.PackageStatus) int { return strings.Compare(a.GetPackage(), b.GetPackage()) })
	e.reports.mu.Lock()
	defer e.reports.mu.Unlock()
	for _, s := range held {
		e.reports.told[v1alpha1.PackageKey(s.GetPackage())] = s
	}
	return held
}

// Take returns what changed since the last call of Take or Held, or nil.
func (e *Engine) Take() *wire.StatusReport {
	e.reports.mu.Lock()
	dirty, gone := e.reports.dirty, e.reports.gone
	e.reports.dirty, e.reports.gone = map[v1alpha1.PackageKey]bool{}, map[v1alpha1.PackageKey]bool{}
	deletions := e.reports.deletions && e.deletions.Known() == nil // or nothing is said of them: not known is not none
	e.reports.deletions = e.reports.deletions && !deletions
	e.reports.mu.Unlock()
	report := &wire.StatusReport{}
	if deletions {
		report.Deletions = e.journal()
	}
	for key := range gone {
		report.Removed = append(report.Removed, string(key))
	}
	for key := range dirty {
		u := e.roster.get(key)
		if u == nil {
			continue
		}
		s := u.status(e.needs.Now())
		e.reports.mu.Lock()
		if told := e.reports.told[key]; told == nil || !proto.Equal(told, s) {
			e.reports.told[key] = s
			report.Packages = append(report.Packages, s)
		}
		e.reports.mu.Unlock()
	}
	if len(report.Packages) == 0 && len(report.Removed) == 0 && report.Deletions == nil {
		return nil
	}
	slices.Sort(report.Removed)
	slices.SortFunc(report.Packages, func(a, b *wire.PackageStatus) int { return strings.Compare(a.GetPackage(), b.GetPackage()) })
	return report
}
