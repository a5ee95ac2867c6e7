package apply

import (
	"context"
	"log/slog"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"umbel.dev/umbel/api/v1alpha1"
)

// watches keeps one watch for each kind that is applied, restricted to the objects that carry the package label. It
// stores no object: each event is judged against the record of its object and dropped.
type watches struct {
	member *member
	index  *index
	log    *slog.Logger
	// drifted is called for a record whose object needs repair, changed when an object's health changed.
	drifted func(*record)
	changed func(*record)
	// broke is called when the watch of a kind broke, or works again.
	broke func()

	mu      sync.Mutex
	wg      sync.WaitGroup
	running map[schema.GroupVersionResource]*kindWatch
}

// kindWatch watches the objects of one kind. It is the store that its reflector writes to.
type kindWatch struct {
	*watches
	gvk    schema.GroupVersionKind
	cancel context.CancelFunc

	mu  sync.Mutex
	err error // of the last list or watch
	// What was seen of objects that have no record yet, such as those of a package that is still being taken up after a
	// start; and, once a list has come, the version up to which everything was seen.
	unclaimed map[Key]sighting
	listed    bool
	version   uint64
}

// sighting is what an event told of an object.
type sighting struct {
	is     seen
	health health
}

// ensure starts the watch of a kind unless it runs.
func (w *watches) ensure(ctx context.Context, gvk schema.GroupVersionKind, p place) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running[p.gvr] != nil || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	k := &kindWatch{watches: w, gvk: gvk, cancel: cancel, unclaimed: map[Key]sighting{}}
	w.running[p.gvr] = k
	lw, sample := k.listWatch(p.gvr)
	reflector := cache.NewReflectorWithOptions(lw, sample, k, cache.ReflectorOptions{
		Name: p.gvr.String(), TypeDescription: gvk.String(),
	})
	w.wg.Go(func() { reflector.RunWithContext(ctx) })
}

// introduce tells a record what its kind's watch has seen of its object before there was the record. When a list has
// come and the object was not on it, it is gone.
func (w *watches) introduce(r *record, gvr schema.GroupVersionResource) {
	w.mu.Lock()
	k := w.running[gvr]
	w.mu.Unlock()
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
		k.notice(r, s.is, &s.health)
	case listed && r.unseen():
		k.notice(r, seen{version: version, gone: true}, &absent)
	}
}

// retain stops the watches of kinds that are not needed any more.
func (w *watches) retain(needed map[schema.GroupVersionResource]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for gvr, k := range w.running {
		if !needed[gvr] {
			k.cancel()
			delete(w.running, gvr)
		}
	}
}

// broken returns the error of the watch of a kind, or nil when it is well.
func (w *watches) broken(gvr schema.GroupVersionResource) error {
	w.mu.Lock()
	k := w.running[gvr]
	w.mu.Unlock()
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

func (w *watches) wait() { w.wg.Wait() }

func (k *kindWatch) listWatch(gvr schema.GroupVersionResource) (*cache.ListWatch, runtime.Object) {
	selected := func(o metav1.ListOptions) metav1.ListOptions {
		o.LabelSelector = v1alpha1.PackageLabel
		return o
	}
	if quietKinds[k.gvk.GroupKind()] {
		client := k.member.metadata.Resource(gvr)
		return &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				list, err := client.List(ctx, selected(o))
				return list, k.note(err)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				stream, err := client.Watch(ctx, selected(o))
				return stream, k.note(err)
			},
		}, &metav1.PartialObjectMetadata{}
	}
	client := k.member.dynamic.Resource(gvr)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := client.List(ctx, selected(o))
			return list, k.note(err)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			stream, err := client.Watch(ctx, selected(o))
			return stream, k.note(err)
		},
	}, &unstructured.Unstructured{}
}

func (k *kindWatch) note(err error) error {
	k.mu.Lock()
	changed := (k.err == nil) != (err == nil)
	k.err = err
	k.mu.Unlock()
	if changed {
		k.broke()
	}
	return err
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
	is := observe(accessor)
	is.gone, is.owned = true, 0
	key := k.key(accessor)
	k.mu.Lock()
	k.version = max(k.version, is.version)
	r := k.index.get(key)
	if r == nil {
		delete(k.unclaimed, key)
	}
	k.mu.Unlock()
	if r != nil {
		k.notice(r, is, &absent)
	}
	return nil
}

// Replace takes in a whole list: what is on it, and that everything else of the kind was gone at its version.
func (k *kindWatch) Replace(list []any, version string) error {
	k.mu.Lock()
	clear(k.unclaimed)
	k.mu.Unlock()
	listed := make(map[Key]bool, len(list))
	for _, o := range list {
		if accessor, err := meta.Accessor(o); err == nil {
			listed[k.key(accessor)] = true
		}
		if err := k.event(o); err != nil {
			return err
		}
	}
	at, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return nil // a list without a version cannot say what is gone
	}
	k.mu.Lock()
	k.listed, k.version = true, max(k.version, at)
	k.mu.Unlock()
	for _, r := range k.index.of(k.gvk.GroupKind()) {
		if !listed[r.key] {
			k.notice(r, seen{version: at, gone: true}, &absent)
		}
	}
	return nil
}

// Resync has nothing to do: nothing is stored.
func (k *kindWatch) Resync() error { return nil }

func (k *kindWatch) event(o any) error {
	accessor, err := meta.Accessor(o)
	if err != nil {
		return err
	}
	s := sighting{observe(accessor), exists}
	if whole, ok := o.(*unstructured.Unstructured); ok {
		s.health = healthOf(whole)
	}
	key := k.key(accessor)
	k.mu.Lock()
	k.version = max(k.version, s.is.version)
	r := k.index.get(key)
	if r == nil {
		k.unclaimed[key] = s
	}
	k.mu.Unlock()
	if r != nil {
		k.notice(r, s.is, &s.health)
	}
	return nil
}

func (k *kindWatch) key(o metav1.Object) Key {
	return Key{Group: k.gvk.Group, Kind: k.gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}

func (k *kindWatch) notice(r *record, is seen, h *health) {
	drifted, changed := r.notice(is, h)
	if drifted {
		k.drifted(r)
	}
	if drifted || changed {
		k.changed(r)
	}
}
