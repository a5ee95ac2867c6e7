package apply

import (
	"context"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// watches keeps one watch for each kind that is applied, restricted to the objects that carry the package label. It
// stores no object: each event is judged against the record of its object and dropped.
type watches struct {
	api   *member.API
	index *index
	log   *slog.Logger
	now   func() time.Time
	// drifted is called for a record whose object needs repair.
	drifted func(*record)
	// ailing is called for a record whose object is not as healthy as before, and not healthy.
	ailing func(*record)
	// ruled says whether a package brings a health rule along for a kind.
	ruled func(schema.GroupKind) bool
	// broke is called when the watch of a kind broke, or works again.
	broke func()
	life  context.Context // of Run: each watch lasts as long as there is something to watch, at most so long

	mu      sync.Mutex
	wg      sync.WaitGroup
	running map[schema.GroupVersionResource]*kindWatch
}

// kindWatch watches the objects of one kind. It is the store that its reflector writes to.
type kindWatch struct {
	*watches
	gvk      schema.GroupVersionKind
	cancel   context.CancelFunc
	answered chan struct{} // closed when a list has come, or could not
	ended    chan struct{} // closed when nothing comes any more

	mu  sync.Mutex
	err error // of the last list or watch
	// What was seen of objects that have no record yet, such as those of a package that is still being taken up after a
	// start; and, once a list has come, the version up to which everything was seen.
	unclaimed map[bundle.Key]sighting
	listed    bool
	version   uint64
}

// sighting is what an event told of an object.
type sighting struct {
	is     member.Seen
	health member.Health
	whole  *unstructured.Unstructured // of kinds whose health is judged by rules, until it is known by whose
}

// ensure starts the watch of a kind unless it runs. Records of the kind are in the index by then, so that retain does not
// stop it.
func (w *watches) ensure(gvk schema.GroupVersionKind, gvr schema.GroupVersionResource) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running[gvr] != nil || w.life.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(w.life)
	k := &kindWatch{watches: w, gvk: gvk, cancel: cancel, answered: make(chan struct{}), ended: make(chan struct{}), unclaimed: map[bundle.Key]sighting{}}
	w.running[gvr] = k
	lw, sample := w.api.ListWatch(gvk, gvr, k.note)
	reflector := cache.NewReflectorWithOptions(lw, sample, k, cache.ReflectorOptions{
		Name: gvr.String(), TypeDescription: gvk.String(),
	})
	w.wg.Go(func() {
		defer close(k.ended)
		reflector.RunWithContext(ctx)
	})
}

// listTimeout is how long await waits for the first list of a kind.
const listTimeout = 10 * time.Second

// await returns when the first list of a kind has come or has failed, or has taken too long: then the status tells.
func (w *watches) await(ctx context.Context, gvr schema.GroupVersionResource) {
	k := w.of(gvr)
	if k == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	select {
	case <-k.answered:
	case <-ctx.Done():
	}
}

func (w *watches) of(gvr schema.GroupVersionResource) *kindWatch {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running[gvr]
}

// introduce tells a record what its kind's watch has seen of its object before there was the record. When a list has
// come and the object was not on it, it is gone.
func (w *watches) introduce(r *record) {
	k := w.of(r.task().gvr)
	if k == nil {
		return
	}
	k.mu.Lock()
	s, known := k.unclaimed[r.key]
	delete(k.unclaimed, r.key)
	listed, version := k.listed, k.version
	k.mu.Unlock()
	switch {
	case known:
		if s.whole != nil {
			s.health = k.healthOf(r, s.whole)
		}
		k.notice(r, s.is, s.health, nil)
	case listed && r.unseen():
		k.notice(r, member.Seen{Version: version, Gone: true}, member.Absent, nil)
	case r.drifted(): // it was seen while nobody had claimed it
		k.drifted(r)
	}
}

// retain stops the watches of kinds that no record is of any more.
func (w *watches) retain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for gvr := range w.index.unused(maps.Keys(w.running)) {
		w.running[gvr].cancel()
		delete(w.running, gvr)
	}
}

// broken returns the error of the watch of a kind, or nil when it is well.
func (w *watches) broken(gvr schema.GroupVersionResource) error {
	k := w.of(gvr)
	if k == nil {
		return nil // its first objects are being written
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

func (w *watches) wait() { w.wg.Wait() }

func (k *kindWatch) note(err error) error {
	k.mu.Lock()
	changed := (k.err == nil) != (err == nil)
	k.err = err
	if err != nil {
		k.answer()
	}
	k.mu.Unlock()
	if changed {
		k.broke()
	}
	return err
}

// answer lets those go on who wait for the first list; the caller holds mu.
func (k *kindWatch) answer() {
	select {
	case <-k.answered:
	default:
		close(k.answered)
	}
}

// Add, Update, Delete, Replace and Resync are what a reflector calls.
func (k *kindWatch) Add(o any) error    { return k.event(o) }
func (k *kindWatch) Update(o any) error { return k.event(o) }

// Delete takes in that an object is gone, or has lost the label.
func (k *kindWatch) Delete(o any) error {
	accessor, err := meta.Accessor(o)
	if err != nil {
		return err
	}
	is := member.Observe(accessor)
	is.Gone, is.Owned = true, 0
	key := k.key(accessor)
	k.mu.Lock()
	k.version = max(k.version, is.Version)
	r := k.index.get(key)
	if r == nil {
		delete(k.unclaimed, key)
	}
	k.mu.Unlock()
	if r != nil {
		k.notice(r, is, member.Absent, accessor)
	}
	return nil
}

// Replace takes in a whole list: what is on it, and that everything else of the kind was gone at its version.
func (k *kindWatch) Replace(list []any, version string) error {
	at, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return nil // a list without a version cannot say what is gone
	}
	k.begin(at)
	listed := make(map[bundle.Key]bool, len(list))
	for _, o := range list {
		if accessor, err := meta.Accessor(o); err == nil {
			listed[k.key(accessor)] = true
		}
		if err := k.event(o); err != nil {
			return err
		}
	}
	k.mu.Lock()
	k.listed, k.version = true, max(k.version, at)
	k.mu.Unlock()
	for _, r := range k.index.of(k.gvk.GroupKind()) {
		if !listed[r.key] {
			k.notice(r, member.Seen{Version: at, Gone: true}, member.Absent, nil)
		}
	}
	k.mu.Lock()
	k.answer()
	k.mu.Unlock()
	return nil
}

// begin forgets what a new list, of the version at, tells anew. A list that is older than what was seen comes from a
// store that was restored from a backup: what was seen is no longer true.
func (k *kindWatch) begin(at uint64) {
	k.mu.Lock()
	clear(k.unclaimed)
	back := at < k.version
	k.listed, k.version = false, at
	k.mu.Unlock()
	if back {
		k.unsee()
	}
}

// unsee forgets what was seen of the objects of the kind.
func (k *kindWatch) unsee() {
	k.log.Warn("the API server's store went back in time; its objects are looked at anew", "kind", k.gvk.String())
	for _, r := range k.index.of(k.gvk.GroupKind()) {
		r.unsee()
	}
}

// patrolInterval is how often it is looked whether the member's store went back in time.
const patrolInterval = time.Minute

// patrol looks, until ctx ends, whether the member's store went back in time, as it does when it is restored from a
// backup: then a watch goes on from a version that lies in the future, and tells nothing until that has come.
func (w *watches) patrol(ctx context.Context) {
	ticker := time.NewTicker(patrolInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		seen := w.newest()
		version, err := w.api.Version(ctx)
		if err == nil && version < seen {
			w.anew()
		}
	}
}

// newest is the latest version that was seen of the kinds that are in the same store as all built-in ones.
func (w *watches) newest() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var newest uint64
	for gvr, k := range w.running {
		if strings.Contains(gvr.Group, ".") && !strings.HasSuffix(gvr.Group, ".k8s.io") {
			continue // a server of its own may have it in a store of its own
		}
		k.mu.Lock()
		newest = max(newest, k.version)
		k.mu.Unlock()
	}
	return newest
}

// again starts the watches of a kind again, whatever their versions, so that everything of it is looked at.
func (w *watches) again(gk schema.GroupKind) {
	w.mu.Lock()
	running := map[schema.GroupVersionResource]*kindWatch{}
	for gvr, k := range w.running {
		if k.gvk.GroupKind() == gk {
			running[gvr] = k
			delete(w.running, gvr)
		}
	}
	w.mu.Unlock()
	for gvr, k := range running {
		k.cancel()
		<-k.ended
		w.ensure(k.gvk, gvr)
	}
}

// anew starts every watch again, and forgets what the old ones saw.
func (w *watches) anew() {
	w.mu.Lock()
	running := w.running
	w.running = map[schema.GroupVersionResource]*kindWatch{}
	w.mu.Unlock()
	for gvr, k := range running {
		k.cancel()
		<-k.ended // from here on nothing of the old store comes
		k.unsee()
		w.ensure(k.gvk, gvr)
	}
}

// Resync has nothing to do: nothing is stored.
func (k *kindWatch) Resync() error { return nil }

func (k *kindWatch) event(o any) error {
	accessor, err := meta.Accessor(o)
	if err != nil {
		return err
	}
	is, key := member.Observe(accessor), k.key(accessor)
	whole, _ := o.(*unstructured.Unstructured)
	k.mu.Lock()
	k.version = max(k.version, is.Version)
	r := k.index.get(key)
	if r == nil {
		k.unclaimed[key] = k.sight(is, whole)
	}
	k.mu.Unlock()
	if r != nil {
		k.notice(r, is, k.healthOf(r, whole), accessor)
	}
	return nil
}

// sight is what is kept of an object that has no record yet.
func (k *kindWatch) sight(is member.Seen, whole *unstructured.Unstructured) sighting {
	if whole == nil {
		return sighting{is: is, health: member.Exists}
	}
	if k.ruled(k.gvk.GroupKind()) {
		return sighting{is: is, whole: whole}
	}
	return sighting{is: is, health: member.HealthOf(whole)}
}

// healthOf judges an object by the rule that its package has for the kind, or by kstatus. Of a kind of which the metadata
// alone is watched, existence is all.
func (k *kindWatch) healthOf(r *record, whole *unstructured.Unstructured) member.Health {
	rule := r.unit().ruleFor(k.gvk.GroupKind())
	switch {
	case rule != nil && whole == nil:
		return member.Unknown("a health rule cannot see it: of this kind the metadata alone is watched")
	case rule != nil:
		state, message := rule.Of(whole.Object)
		return member.Health{State: state, Message: message}
	case whole == nil:
		return member.Exists
	}
	return member.HealthOf(whole)
}

func (k *kindWatch) key(o metav1.Object) bundle.Key {
	return bundle.Key{Group: k.gvk.Group, Kind: k.gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}

// notice takes in what was seen of an object, whose metadata is there if an event brought it.
func (k *kindWatch) notice(r *record, is member.Seen, h member.Health, object metav1.Object) {
	n := r.notice(is, h)
	switch {
	case n.drifted:
		r.suspect(object, is, k.now())
		k.drifted(r)
	case n.left:
		c := r.describe(object, is, k.now())
		c.first = n.first
		r.unit().reported(c, k.now())
	case object != nil && !is.Gone && object.GetDeletionTimestamp() == nil: // a finalizer does not hide who deleted it
		r.stood(k.now())
	}
	if n.health && !h.OK() {
		k.ailing(r)
	}
	if n.health { // of a drift the repair is told
		r.unit().stirred()
	}
}
