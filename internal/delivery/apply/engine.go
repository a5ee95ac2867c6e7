package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// Needs is what an Engine needs. All fields are required.
type Needs struct {
	// Dir is where the desired state and the inventories are kept; it has to survive the process.
	Dir string
	// Config reaches the member's API server.
	Config *rest.Config
	// Fetch pulls a blob of size bytes by its digest. The engine verifies the digest itself.
	Fetch func(ctx context.Context, repository, digest string, size int64) ([]byte, error)
	Log   *slog.Logger
	// Now is the clock.
	Now func() time.Time
}

// Engine holds every package of the member.
type Engine struct {
	dir     string
	fetch   func(ctx context.Context, repository, digest string, size int64) ([]byte, error)
	log     *slog.Logger
	now     func() time.Time
	member  *member
	index   *index
	watches *watches
	writer  *writer
	reports *reports

	life context.Context // of Run; units start with it
	wg   sync.WaitGroup

	mu    sync.Mutex
	units map[v1alpha1.PackageKey]*unit
}

// New opens the folder and takes up what is in it. Nothing is written to the member before Run.
func New(needs Needs) (*Engine, error) {
	m, err := newMember(needs.Config)
	if err != nil {
		return nil, fmt.Errorf("preparing the client of the member's API server: %w", err)
	}
	e := &Engine{
		dir: filepath.Join(needs.Dir, "packages"), fetch: needs.Fetch, log: needs.Log, now: needs.Now, member: m,
		index: &index{records: map[Key]*record{}}, reports: newReports(), units: map[v1alpha1.PackageKey]*unit{},
	}
	e.writer = &writer{
		member: m, log: needs.Log, now: needs.Now, previous: e.previous, repaired: e.repaired, troubled: e.healthChanged, queue: newQueue(),
	}
	e.watches = &watches{
		member: m, index: e.index, log: needs.Log, running: map[schema.GroupVersionResource]*kindWatch{},
		drifted: func(r *record) { e.writer.queue.Add(r) },
		changed: e.healthChanged,
		broke: func() {
			for _, u := range e.all() {
				e.changed(u)
			}
		},
	}
	return e, e.open()
}

// open reads the orders of all packages. One that cannot be read stops the start: to guess would be to delete.
func (e *Engine) open() error {
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(e.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		d := disk{filepath.Join(e.dir, entry.Name())}
		o, err := d.readOrder()
		if errors.Is(err, fs.ErrNotExist) {
			continue // a crash before the first order was complete: nothing was done for it
		}
		if err != nil {
			return err
		}
		u, err := loadUnit(e, d, o)
		if err != nil {
			return err
		}
		e.units[u.key] = u
		for key, it := range u.inventory { // whoever held an object holds it still, whoever asks first after the start
			if r, holder := e.index.claim(key, u.key); holder == u.key {
				r.recall(it)
			}
		}
	}
	return nil
}

// Run applies, watches and repairs until the context ends, and returns when everything has stopped.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	e.life = ctx
	for _, u := range e.units {
		e.start(u)
	}
	e.mu.Unlock()
	var workers sync.WaitGroup
	for range writers {
		workers.Go(func() { e.writer.run(ctx) })
	}
	<-ctx.Done()
	e.writer.queue.ShutDown()
	workers.Wait()
	e.wg.Wait()
	e.watches.wait()
	return nil
}

// start runs a unit; the caller holds mu.
func (e *Engine) start(u *unit) {
	if e.life != nil && e.life.Err() == nil {
		e.wg.Go(func() { u.run(e.life) })
	}
}

// Store takes a change of the desired state in. When it returns nil, the change is on disk and will be carried out,
// whatever happens to the process or the hub. Storing the same again changes nothing.
func (e *Engine) Store(_ context.Context, change *wire.DesiredState) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range change.GetAssign() {
		if err := e.assign(a); err != nil {
			return err
		}
	}
	for _, name := range change.GetRemove() {
		if u := e.units[v1alpha1.PackageKey(name)]; u != nil {
			if err := u.tell(func(o *order) { o.Removing = true }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Engine) assign(a *wire.Assignment) error {
	key := v1alpha1.PackageKey(a.GetPackage())
	if namespace, name := key.Split(); namespace == "" || name == "" || strings.ContainsAny(name+namespace, "/\\") {
		return fmt.Errorf("package %q: its name is not of the form NAMESPACE/NAME", a.GetPackage())
	}
	want := release{a.GetRelease(), a.GetRevision(), a.GetRepository(), a.GetDigest(), a.GetSize()}
	change := func(o *order) {
		o.Next, o.Removing = &want, false
		if o.Current != nil && *o.Current == want {
			o.Next = nil
		}
	}
	u := e.units[key]
	if u == nil {
		o := order{Package: key}
		d := disk{packageDir(e.dir, key)}
		if err := d.writeOrder(o); err != nil {
			return fmt.Errorf("storing the order for package %s: %w", key, err)
		}
		var err error
		if u, err = loadUnit(e, d, o); err != nil {
			return err
		}
		if err := u.tell(change); err != nil {
			return err
		}
		e.units[key] = u
		e.start(u)
		return nil
	}
	return u.tell(change)
}

// RemoveAll asks for every package to be pruned and returns when all are.
func (e *Engine) RemoveAll(ctx context.Context) error {
	for {
		e.mu.Lock()
		left := len(e.units)
		names := make([]string, 0, left)
		for key := range e.units {
			names = append(names, string(key))
		}
		e.mu.Unlock()
		if left == 0 {
			return nil
		}
		gone := e.reports.awaitRemoval()
		if err := e.Store(ctx, &wire.DesiredState{Remove: names}); err != nil {
			return err
		}
		select {
		case <-gone:
		case <-ctx.Done():
			slices.Sort(names)
			return fmt.Errorf("pruning %s: %w", strings.Join(names, ", "), context.Cause(ctx))
		}
	}
}

// forget drops a package whose objects are all pruned.
func (e *Engine) forget(u *unit) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	u.mu.Lock()
	removing := u.order.Removing
	u.mu.Unlock()
	if !removing {
		return errors.New("it was assigned again meanwhile")
	}
	if err := u.disk.remove(); err != nil {
		return err
	}
	delete(e.units, u.key)
	e.reports.removed(u.key)
	e.retainWatches()
	return nil
}

// retainWatches stops the watches of kinds that no package has any more; the caller holds mu.
func (e *Engine) retainWatches() {
	needed := map[schema.GroupVersionResource]bool{}
	e.index.mu.RLock()
	for _, r := range e.index.records {
		r.mu.Lock()
		needed[r.place.gvr] = true
		r.mu.Unlock()
	}
	e.index.mu.RUnlock()
	e.watches.retain(needed)
}

// claimedByOther says whether another package wants an object: then it is handed over instead of deleted.
func (e *Engine) claimedByOther(except *unit, key Key) bool {
	for _, u := range e.all() {
		if u == except {
			continue
		}
		u.mu.Lock()
		_, refused := u.refused[key]
		u.mu.Unlock()
		if refused {
			return true
		}
	}
	return false
}

// released wakes the packages that were refused objects: one of them may be free now.
func (e *Engine) released(by *unit) {
	for _, u := range e.all() {
		if u == by {
			continue
		}
		u.mu.Lock()
		waiting := len(u.refused) > 0
		u.mu.Unlock()
		if waiting {
			poke(u.kick)
		}
	}
}

func (e *Engine) all() []*unit {
	e.mu.Lock()
	defer e.mu.Unlock()
	units := make([]*unit, 0, len(e.units))
	for _, u := range e.units {
		units = append(units, u)
	}
	return units
}

func (e *Engine) unit(key v1alpha1.PackageKey) *unit {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.units[key]
}

// previous returns what a package applied to an object before its current release, and the hash of it.
func (e *Engine) previous(key v1alpha1.PackageKey, object Key) ([]byte, uint64) {
	u := e.unit(key)
	if u == nil {
		return nil, 0
	}
	u.mu.Lock()
	before := u.previous
	u.mu.Unlock()
	if before == nil {
		return nil, 0
	}
	o, ok := before.objects[object]
	if !ok {
		return nil, 0
	}
	body, err := before.body(o)
	if err != nil {
		return nil, 0
	}
	return body, o.hash
}

func (e *Engine) repaired(r *record, cause string, fighting bool) {
	r.mu.Lock()
	holder := r.holder
	r.mu.Unlock()
	u := e.unit(holder)
	if u == nil {
		return
	}
	if fighting {
		e.log.Warn("object is undone again and again", "object", r.key.String(), "cause", cause)
	}
	u.mu.Lock()
	u.repairs = repairs{u.repairs.count + 1, &wire.LastRepair{Object: r.key.String(), Cause: cause}}
	u.mu.Unlock()
	e.changed(u)
}

func (e *Engine) healthChanged(r *record) {
	r.mu.Lock()
	holder := r.holder
	r.mu.Unlock()
	u := e.unit(holder)
	if u == nil {
		return
	}
	poke(u.moved)
	if u.applying() {
		e.reports.progressed(u.key)
		return
	}
	e.changed(u)
}

func (e *Engine) changed(u *unit) { e.reports.changed(u.key) }
