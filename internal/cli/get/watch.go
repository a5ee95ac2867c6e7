package get

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

// relistPause is what lies at least between two lists, when an API ends watches as soon as they begin.
const relistPause = time.Second

// watcher writes each change of the objects, and says so when the hub falls silent or comes back.
type watcher struct {
	*Options
	hub *client.Hub

	table *table
	pulse view.Pulse
	alive bool
	shown map[string]unstructured.Unstructured // by namespace/name
}

// run lists, then follows; when the API ends the watch, as it does from time to time, it lists again and writes what
// has changed meanwhile. It ends without an error when ctx does.
func (w *watcher) run(ctx context.Context) error {
	w.table = w.newTable()
	w.shown = map[string]unstructured.Unstructured{}
	moment := w.moment(ctx, w.hub)
	w.pulse, w.alive = moment.Pulse, moment.Pulse.Alive(moment.Now)
	for {
		version, err := w.list(ctx)
		if err == nil {
			err = w.follow(ctx, version)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(relistPause):
		}
	}
}

// list writes what has changed since it was written last, and returns the version of the list.
func (w *watcher) list(ctx context.Context) (string, error) {
	list := w.newList()
	if err := w.hub.List(ctx, list, w.scope()...); err != nil {
		return "", err
	}
	current := map[string]bool{}
	var changed []unstructured.Unstructured
	for _, item := range list.Items {
		current[keyOf(&item)] = true
		if w.news(&item) {
			changed = append(changed, item)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(w.shown)) {
		if gone := w.shown[key]; !current[key] {
			w.forget(&gone)
		}
	}
	if err := w.missing(); err != nil {
		return "", err
	}
	return list.GetResourceVersion(), w.print(changed)
}

// missing reports a name that does not exist: nobody waits for a typo.
func (w *watcher) missing() error {
	for _, name := range w.Names {
		if !slices.ContainsFunc(slices.Collect(maps.Values(w.shown)), func(u unstructured.Unstructured) bool { return u.GetName() == name }) {
			return apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource(w.Kind.Resource).GroupResource(), name)
		}
	}
	return nil
}

// follow writes changes until the API ends one of the watches.
func (w *watcher) follow(ctx context.Context, version string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	objects, err := w.hub.Watch(ctx, w.newList(), append(w.scope(), &kube.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}})...)
	if err != nil {
		return err
	}
	defer objects.Stop()
	beats, stop := w.watchPulse(ctx)
	defer stop()
	silence := time.NewTimer(w.patience())
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, ok := <-objects.ResultChan():
			if !ok {
				return nil
			}
			if err := w.object(event); err != nil {
				return err
			}
		case event, ok := <-beats:
			if !ok {
				return nil
			}
			if lease, is := event.Object.(*coordinationv1.Lease); is {
				w.pulse = view.PulseOf(lease)
				silence.Reset(w.patience())
			}
			if err := w.judge(); err != nil {
				return err
			}
		case <-silence.C:
			if err := w.judge(); err != nil {
				return err
			}
		}
	}
}

// patience is how long the last sign of life is good for.
func (w *watcher) patience() time.Duration {
	return max(time.Second, w.pulse.Ends().Sub(w.Now())+time.Millisecond)
}

// watchPulse watches the hub's Lease. Where that is not allowed or not needed, nothing ever comes.
func (w *watcher) watchPulse(ctx context.Context) (<-chan watch.Event, func()) {
	nothing := func() {}
	if !w.showsStatus() {
		return nil, nothing
	}
	leases, err := w.hub.Watch(ctx, &coordinationv1.LeaseList{},
		kube.InNamespace(v1alpha1.SystemNamespace), kube.MatchingFields{"metadata.name": v1alpha1.HubLease})
	if err != nil {
		return nil, nothing
	}
	return leases.ResultChan(), leases.Stop
}

// judge writes everything anew when the hub has fallen silent or has come back: what was written reads otherwise now.
func (w *watcher) judge() error {
	now := w.Now()
	alive := w.pulse.Alive(now)
	if !w.showsStatus() || alive == w.alive {
		return nil
	}
	w.alive = alive
	if alive {
		w.Note("the hub is heard of again")
	}
	if warning := w.pulse.Warning(now); warning != "" {
		w.Note("%s", warning)
	}
	if w.Format == output.JSON || w.Format == output.YAML {
		return nil // objects have not changed
	}
	var all []unstructured.Unstructured
	for _, key := range slices.Sorted(maps.Keys(w.shown)) {
		all = append(all, w.shown[key])
	}
	return w.print(all)
}

func (w *watcher) object(event watch.Event) error {
	if event.Type == watch.Error {
		return apierrors.FromObject(event.Object)
	}
	item, ok := event.Object.(*unstructured.Unstructured)
	if !ok {
		return errors.New("the API sent something that is not an object")
	}
	if event.Type == watch.Deleted {
		w.forget(item)
		return nil
	}
	if !w.news(item) {
		return nil
	}
	return w.print([]unstructured.Unstructured{*item})
}

// news remembers an object and says whether it is asked for and has changed.
func (w *watcher) news(item *unstructured.Unstructured) bool {
	if len(w.Names) > 0 && !slices.Contains(w.Names, item.GetName()) {
		return false
	}
	before, known := w.shown[keyOf(item)]
	w.shown[keyOf(item)] = *item
	return !known || before.GetResourceVersion() != item.GetResourceVersion()
}

func (w *watcher) forget(item *unstructured.Unstructured) {
	if _, known := w.shown[keyOf(item)]; !known {
		return
	}
	delete(w.shown, keyOf(item))
	w.Note("%s %q is gone", w.Kind.Singular, strings.TrimPrefix(keyOf(item), "/"))
}

// print writes objects one after the other: a stream has no end that a List could have.
func (w *watcher) print(items []unstructured.Unstructured) error {
	switch w.Format {
	case output.Name:
		return w.writeNames(items)
	case output.JSON, output.YAML:
		for _, item := range items {
			if w.Format == output.YAML {
				fmt.Fprintln(w.Out, "---")
			}
			if err := output.Encode(w.Out, w.Format, clean(item)); err != nil {
				return err
			}
		}
		return nil
	}
	if len(items) == 0 {
		return nil
	}
	return w.table.write(view.Moment{Now: w.Now(), Pulse: w.pulse}, items)
}

func keyOf(item *unstructured.Unstructured) string { return item.GetNamespace() + "/" + item.GetName() }
