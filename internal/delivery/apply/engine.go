package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/apply/witness"
)

// Needs is what an Engine needs. All fields but Verify, Vault and AuditLog are required.
type Needs struct {
	// Dir is where the desired state and the inventories are kept; it has to survive the process.
	Dir string
	// Config reaches the member's API server.
	Config *rest.Config
	// Secrets opens what came encrypted.
	Secrets Secrets
	// Fetch pulls a blob of size bytes by its digest. The engine verifies the digest itself.
	Fetch func(ctx context.Context, repository, digest string, size int64) ([]byte, error)
	// Verify says why the hub did not make what an assignment says, by its seal; nil when it did. Without it nothing is verified.
	Verify func(*wire.Assignment) error
	// Vault tells the orders that the agent wrote from those that somebody else did. Without it all count.
	Vault Vault
	// AuditLog names the files in which the member's API servers write down who did what, as filepath.Match has it. Without it nobody
	// is named who deletes an object.
	AuditLog string
	// Observes has nothing written on the member: what packages put there is watched, and told.
	Observes bool
	Log      *slog.Logger
	// Now is the clock.
	Now func() time.Time
}

// Engine holds every package of the member.
type Engine struct {
	needs     Needs
	grace     time.Duration // handoverGrace, but in tests
	dir       string        // of the packages
	cast      *cast
	index     *index
	watches   *watches
	writer    *writer
	doctor    *doctor
	guards    *guards
	reports   *reports
	witness   *witness.Witness // nil without an audit log
	roster    *roster
	deletions *disk.Deletions
	history   *disk.History
	leftOff   leftOff
	undos     chan struct{} // something is to come back
	storing   sync.Mutex    // one change of the desired state at a time, in the order in which they come
	lost      lost
}

// DeletedDir is where, in the agent's folder, the objects are kept that were deleted.
const DeletedDir = "deleted"

// HistoryDir is where, in the agent's folder, it is written down what happened to objects.
const HistoryDir = "history"

// New opens the folder and takes up what is in it. Nothing is written to the member before Run.
func New(needs Needs) (*Engine, error) {
	api, err := member.New(needs.Config)
	if err != nil {
		return nil, fmt.Errorf("preparing the client of the member's API server: %w", err)
	}
	e := &Engine{
		needs: needs, grace: handoverGrace, dir: filepath.Join(needs.Dir, "packages"), cast: &cast{own: api},
		index: newIndex(), reports: newReports(),
		roster: &roster{units: map[v1alpha1.PackageKey]*unit{}}, undos: make(chan struct{}, 1),
	}
	e.deletions = disk.OpenDeletions(filepath.Join(needs.Dir, DeletedDir), disk.DefaultLimits)
	if err := e.deletions.Known(); err != nil {
		needs.Log.Error("nothing is pruned and nothing brought back until the journal of deletions can be read; all else goes on", "because", err)
	}
	e.history = disk.OpenHistory(filepath.Join(needs.Dir, HistoryDir), disk.DefaultHistory)
	e.guards = newGuards(e, needs.Dir)
	e.writer = &writer{index: e.index, log: needs.Log, now: needs.Now, queue: newQueue()}
	e.doctor = newDoctor(needs.Log, e.changed)
	e.watches = &watches{
		api: api, index: e.index, log: needs.Log, now: needs.Now, running: map[schema.GroupVersionResource]*kindWatch{},
		drifted: e.writer.drifted, ailing: e.doctor.ailing, ruled: e.ruled,
		broke: func() {
			for _, u := range e.roster.all() {
				e.changed(u)
			}
		},
	}
	if needs.AuditLog != "" {
		e.witness = witness.New(witness.Needs{
			Pattern: needs.AuditLog, Self: api.WhoAmI, Manager: v1alpha1.FieldManager, Holds: e.holds, Log: needs.Log, Now: needs.Now,
		})
	}
	return e, e.open()
}

// open takes up every package that is on disk. One that cannot be read stands still, and the others go on.
func (e *Engine) open() error {
	folders, err := disk.List(e.dir)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		order, why := e.ordered(folder)
		if order.Package == "" {
			e.lose(folder, why)
			continue
		}
		u := loadUnit(e, folder, order)
		u.unread.order = why
		u.standStill()
		e.roster.add(u)
		if why == nil {
			e.guards.expect(u.key, u.protection())
		}
	}
	units := e.roster.all()
	slices.SortStableFunc(units, func(a, b *unit) int { // the platform's before teams'
		return cmp.Compare(rank(a), rank(b))
	})
	for _, u := range units {
		u.reclaim()
	}
	return e.close()
}

// rank is the place of a package among those that want an object: the platform's come before teams'.
func rank(u *unit) int {
	if u.team() {
		return 1
	}
	return 0
}

// Run applies, watches and repairs, or watches alone, until the context ends, and returns when everything has stopped.
func (e *Engine) Run(ctx context.Context) error {
	e.watches.life = ctx
	e.roster.begin(ctx)
	var workers sync.WaitGroup
	workers.Go(func() { e.watches.patrol(ctx) })
	workers.Go(func() { e.doctor.run(ctx) })
	if !e.needs.Observes {
		for range member.Writers {
			workers.Go(func() { e.writer.run(ctx) })
		}
		workers.Go(func() { e.undoing(ctx) })
		workers.Go(func() { e.guards.run(ctx) })
	}
	if e.witness != nil {
		workers.Go(func() { e.witness.Run(ctx) })
	}
	<-ctx.Done()
	e.writer.queue.ShutDown()
	workers.Wait()
	e.roster.wait()
	e.watches.wait()
	return nil
}

// Store takes a change of the desired state in. When it returns nil, the change is on disk and will be carried out,
// whatever happens to the process or the hub. Storing the same again changes nothing. What of it cannot be taken in is named in the
// error, and keeps nothing else from being.
func (e *Engine) Store(_ context.Context, change *wire.DesiredState) error {
	if e.needs.Observes {
		return errObserved
	}
	e.storing.Lock()
	defer e.storing.Unlock()
	var errs []error
	for _, a := range change.GetAssign() {
		errs = append(errs, e.assign(a))
	}
	for _, name := range change.GetRemove() {
		if u := e.roster.get(v1alpha1.PackageKey(name)); u != nil {
			errs = append(errs, e.tell(u, func(o *disk.Order) { o.Removing = true }))
		}
	}
	for _, id := range change.GetUndo() {
		errs = append(errs, e.ask(id))
	}
	return first(errs)
}

// assign gives a package its release; the caller holds storing.
func (e *Engine) assign(a *wire.Assignment) error {
	key := v1alpha1.PackageKey(a.GetPackage())
	if namespace, name := key.Split(); namespace == "" || name == "" || strings.ContainsAny(name+namespace, "/\\") {
		return fmt.Errorf("package %q: its name is not of the form NAMESPACE/NAME", a.GetPackage())
	}
	content := contentOf(a)
	want := &disk.Release{
		Release: a.GetRelease(), Revision: a.GetRevision(),
		Repository: content.GetRepository(), Digest: content.GetDigest(), Size: content.GetSize(),
	}
	policy, err := policyOf(a)
	if err != nil {
		return fmt.Errorf("package %s: %w", key, err)
	}
	change := func(o *disk.Order) {
		o.Next, o.Removing, o.Policy, o.ActsAs = want, false, policy, actsAs(a)
		if o.Current.Equal(want) {
			o.Next, o.Begun = nil, ""
		}
	}
	if why := e.mistrusts(key, want, a); why != nil {
		return e.refuse(key, a, why)
	}
	if u := e.roster.get(key); u != nil {
		u.trust()
		return e.tell(u, change)
	}
	u := loadUnit(e, disk.Open(e.dir, key), disk.Order{Package: key})
	if err := u.tell(change); err != nil {
		return err
	}
	e.welcome(u)
	e.find(u)
	return nil
}

// tell changes what a package is asked for that is here. From then on it is known whose its folder is, be it that it was not.
func (e *Engine) tell(u *unit, change func(*disk.Order)) error {
	if err := u.tell(change); err != nil {
		return err
	}
	e.find(u)
	return nil
}

// welcome takes up a package that was not here, with what its folder says that it has on the member.
func (e *Engine) welcome(u *unit) {
	u.standStill()
	u.reclaim()
	e.roster.add(u)
}

// RemoveAll asks for every package to be pruned and returns when all are.
func (e *Engine) RemoveAll(ctx context.Context) error {
	for {
		gone := e.reports.awaitRemoval()
		var names []string
		for _, u := range e.roster.all() {
			names = append(names, string(u.key))
		}
		if len(names) == 0 {
			return nil
		}
		if err := e.Store(ctx, &wire.DesiredState{Remove: names}); err != nil {
			return err
		}
		select {
		case <-gone:
		case <-ctx.Done():
			return fmt.Errorf("pruning %s: %w", strings.Join(names, ", "), context.Cause(ctx))
		}
	}
}

// forget drops a package whose objects are all pruned.
func (e *Engine) forget(u *unit) error {
	e.storing.Lock()
	defer e.storing.Unlock()
	if !u.asked().Removing {
		return errors.New("it was assigned again meanwhile")
	}
	u.folder.Lock()
	defer u.folder.Unlock()
	if err := u.folder.Remove(); err != nil {
		return err
	}
	e.roster.drop(u)
	e.reports.removed(u.key)
	e.watches.retain()
	e.wake(u)
	return nil
}

// wish is what another package wants to hold.
type wish struct {
	unit    *unit
	content *disk.Content
}

// wishes returns what every other package wants, in the order of their names, and those of which that is not known,
// because their content is not here yet, as far as except minds them. Of one that cannot be read it is not even known what it has on
// the member, which stands in everybody's way.
func (e *Engine) wishes(except *unit) (known []wish, unknown []string) {
	for _, u := range e.roster.all() {
		if u == except {
			continue
		}
		unreadable := u.unreadable() != nil
		content, ok := u.wanted()
		switch {
		case unreadable:
			unknown = append(unknown, u.described())
		case !ok && !except.minds(u):
		case !ok:
			unknown = append(unknown, u.described())
		case content != nil:
			known = append(known, wish{u, content})
		}
	}
	return known, append(unknown, e.lostOnes()...)
}

// wake has the packages that wait for others look again, after something of by's has changed.
func (e *Engine) wake(by *unit) {
	for _, u := range e.roster.all() {
		if u != by && u.waits() {
			poke(u.kick)
		}
	}
}

func (e *Engine) changed(u *unit) { e.reports.changed(u.key) }

// ruled says whether a package brings a health rule along for a kind.
func (e *Engine) ruled(gk schema.GroupKind) bool {
	return slices.ContainsFunc(e.roster.all(), func(u *unit) bool { return u.ruleFor(gk) != nil })
}

// roster is the packages of the member, and the life of those that run.
type roster struct {
	mu    sync.Mutex
	units map[v1alpha1.PackageKey]*unit
	life  context.Context // of Run; nil before and after
	wg    sync.WaitGroup
}

// begin runs the units, those that come later as well, until ctx ends.
func (r *roster) begin(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.life = ctx
	for _, u := range r.units {
		r.wg.Go(func() { u.run(ctx) })
	}
}

// wait returns when every unit has stopped; begin's context is over by then, and none that is added runs any more.
func (r *roster) wait() {
	r.mu.Lock()
	r.life = nil
	r.mu.Unlock()
	r.wg.Wait()
}

func (r *roster) add(u *unit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.units[u.key] = u
	if life := r.life; life != nil && life.Err() == nil {
		r.wg.Go(func() { u.run(life) })
	}
}

func (r *roster) drop(u *unit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.units, u.key)
}

func (r *roster) get(key v1alpha1.PackageKey) *unit {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.units[key]
}

// all returns the units in the order of their names.
func (r *roster) all() []*unit {
	r.mu.Lock()
	defer r.mu.Unlock()
	units := make([]*unit, 0, len(r.units))
	for _, u := range r.units {
		units = append(units, u)
	}
	slices.SortFunc(units, func(a, b *unit) int { return strings.Compare(string(a.key), string(b.key)) })
	return units
}
