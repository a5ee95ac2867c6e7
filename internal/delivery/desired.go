package delivery

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/decide"
	"umbel.dev/umbel/internal/session"
)

// Desired knows what each cluster is to hold. It keeps one small view for each Package, which the controller replaces
// as a whole, and the labels and properties of each cluster; what one cluster is to hold is decided when somebody asks, by Assign.
// So the memory that it takes is that of Packages plus that of clusters, not their product. For takes about 200 ns
// for each Package of the hub.
type Desired struct {
	cache cache.Cache
	waits func(context.Context, *v1alpha1.Package, *v1alpha1.Rollout, *v1alpha1.Release) (map[v1alpha1.ClusterName]string, error)

	mu       sync.RWMutex
	views    map[v1alpha1.PackageKey]*view
	clusters map[v1alpha1.ClusterName]decide.Cluster
	// pending are the Packages that were there at the start and were not looked at yet; nil before they are known. Until then
	// early are those that were.
	pending, early map[v1alpha1.PackageKey]bool
	subscribers    map[v1alpha1.ClusterName]map[chan struct{}]bool
}

// view is what was seen of a Package, with the messages that go to clusters, one for each variant.
type view struct {
	decide.Seen
	assignments map[*v1alpha1.Variant]*wire.Assignment
}

func newDesired(c cache.Cache) *Desired {
	return &Desired{
		cache:       c,
		views:       map[v1alpha1.PackageKey]*view{},
		early:       map[v1alpha1.PackageKey]bool{},
		clusters:    map[v1alpha1.ClusterName]decide.Cluster{},
		subscribers: map[v1alpha1.ClusterName]map[chan struct{}]bool{},
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica of the hub has members to answer for.
func (d *Desired) NeedLeaderElection() bool { return false }

// Start follows the labels of clusters until the context ends. The answers are ready once every Package that is there
// now has been looked at.
func (d *Desired) Start(ctx context.Context) error {
	informer, err := d.cache.GetInformer(ctx, &v1alpha1.MemberCluster{})
	if err != nil {
		return fmt.Errorf("watching clusters: %w", err)
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(now any) { d.observe(now) },
		UpdateFunc: func(_, now any) { d.observe(now) },
		DeleteFunc: func(last any) { d.lose(last) },
	})
	if err != nil {
		return fmt.Errorf("watching clusters: %w", err)
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil // the manager ends
	}
	var packages v1alpha1.PackageList
	if err := d.cache.List(ctx, &packages); err != nil {
		return fmt.Errorf("listing packages: %w", err)
	}
	d.expect(packages.Items)
	<-ctx.Done()
	return nil
}

// expect makes the answers wait for these Packages.
func (d *Desired) expect(packages []v1alpha1.Package) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending = map[v1alpha1.PackageKey]bool{}
	for i := range packages {
		key := v1alpha1.KeyOf(packages[i].Namespace, packages[i].Name)
		if !d.early[key] {
			d.pending[key] = true
		}
	}
	d.early = nil
	d.becameReady()
}

// becameReady tells everybody when nothing is pending any more. The caller holds mu.
func (d *Desired) becameReady() {
	if d.pending == nil || len(d.pending) > 0 {
		return
	}
	for cluster := range d.subscribers {
		d.notify(cluster)
	}
}

func (d *Desired) observe(now any) {
	member, ok := now.(*v1alpha1.MemberCluster)
	if !ok {
		return
	}
	cluster := decide.ClusterOf(member)
	d.mu.Lock()
	defer d.mu.Unlock()
	before, known := d.clusters[cluster.Name]
	if known && before.Frozen() == cluster.Frozen() && before.Leaving == cluster.Leaving && maps.Equal(before.Labels, cluster.Labels) &&
		maps.Equal(before.Properties, cluster.Properties) {
		return
	}
	d.clusters[cluster.Name] = cluster
	d.notify(cluster.Name)
}

func (d *Desired) lose(last any) {
	if unknown, ok := last.(toolscache.DeletedFinalStateUnknown); ok {
		last = unknown.Obj
	}
	member, ok := last.(*v1alpha1.MemberCluster)
	if !ok {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.clusters, v1alpha1.ClusterName(member.Name))
	d.notify(v1alpha1.ClusterName(member.Name))
}

// known is how many clusters there are.
func (d *Desired) known() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.clusters)
}

// publish replaces the view of a Package and tells the clusters that it concerns.
func (d *Desired) publish(key v1alpha1.PackageKey, seen decide.Seen) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before, after := d.views[key], &view{Seen: seen}
	after.assign(key, before)
	d.views[key] = after
	defer d.settled(key)
	if before != nil && before.Same(&after.Seen) {
		return
	}
	var was decide.Seen
	if before != nil {
		was = before.Seen
	}
	sameTerms := was.Policy.Equal(after.Policy) && was.Plans.Equal(after.Plans)
	for name := range d.subscribers {
		cluster := d.clusters[name]
		actionBefore, variantBefore := decide.Assign(was, cluster)
		actionAfter, variantAfter := decide.Assign(after.Seen, cluster)
		if actionBefore != actionAfter || variantBefore != variantAfter || actionAfter == decide.Deliver && !sameTerms {
			d.notify(name)
		}
	}
}

// assign makes the messages for the clusters that get each variant of each Release. A Release that was in the view before
// stays the very same one there, with its messages as long as the policy is the same.
func (w *view) assign(key v1alpha1.PackageKey, before *view) {
	known := map[string]*v1alpha1.Release{}
	if before != nil {
		for release := range before.Releases() {
			known[release.Name] = release
		}
	}
	w.assignments = map[*v1alpha1.Variant]*wire.Assignment{}
	w.Replace(func(release *v1alpha1.Release) *v1alpha1.Release {
		same := known[release.Name]
		if !sameRelease(same, release) {
			known[release.Name], same = release, release
		}
		if before == nil || !before.Policy.Equal(w.Policy) || !before.tells(same) {
			w.add(key, same)
			return same
		}
		for i := range same.Spec.Variants {
			variant := &same.Spec.Variants[i]
			w.assignments[variant] = before.assignments[variant]
		}
		return same
	})
}

// tells says whether there are messages for a Release.
func (w *view) tells(release *v1alpha1.Release) bool {
	return len(release.Spec.Variants) > 0 && w.assignments[&release.Spec.Variants[0]] != nil
}

// add makes the messages for the clusters that get each variant of a Release.
func (w *view) add(key v1alpha1.PackageKey, release *v1alpha1.Release) {
	sealFor := seals(release)
	for i := range release.Spec.Variants {
		variant := &release.Spec.Variants[i]
		w.assignments[variant] = w.Policy.Message(key, release, variant, sealFor(i))
	}
}

func sameRelease(a, b *v1alpha1.Release) bool {
	return a == b || a != nil && b != nil && a.Name == b.Name && a.UID == b.UID &&
		a.Annotations[v1alpha1.VerifiedAnnotation] == b.Annotations[v1alpha1.VerifiedAnnotation] &&
		a.Annotations[v1alpha1.SealAnnotation] == b.Annotations[v1alpha1.SealAnnotation]
}

// forget drops the view of a Package that is gone.
func (d *Desired) forget(key v1alpha1.PackageKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.views, key)
	d.settled(key)
}

// giveUp notes that a Package cannot be looked at now. Nobody waits for that: what clusters hold of it they keep until it can.
func (d *Desired) giveUp(key v1alpha1.PackageKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settled(key)
}

// settled notes that a Package has been looked at. The caller holds mu.
func (d *Desired) settled(key v1alpha1.PackageKey) {
	if d.early != nil {
		d.early[key] = true
	}
	if d.pending[key] {
		delete(d.pending, key)
		d.becameReady()
	}
}

// selecting returns the Packages whose Placement selects the cluster, sorted.
func (d *Desired) selecting(cluster v1alpha1.ClusterName) []v1alpha1.PackageKey {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var keys []v1alpha1.PackageKey
	for key, view := range d.views {
		if view.Selects(cluster) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b v1alpha1.PackageKey) int { return strings.Compare(string(a), string(b)) })
	return keys
}

// For returns what the cluster is to hold, without blocking. It is not ready while the hub is still looking at the
// Packages that were there when it started; a cluster that nobody heard of, or that is leaving, gets an empty set,
// which changes nothing there. The messages are shared: nobody writes to them.
func (d *Desired) For(cluster v1alpha1.ClusterName) (set session.DesiredSet, isReady bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.pending == nil || len(d.pending) > 0 {
		return session.DesiredSet{}, false
	}
	set.Assign = map[v1alpha1.PackageKey]*wire.Assignment{}
	known, ok := d.clusters[cluster]
	if !ok {
		return set, true
	}
	for key, view := range d.views {
		switch action, variant := decide.Assign(view.Seen, known); action {
		case decide.Deliver:
			set.Assign[key] = view.MessageFor(cluster, variant, view.assignments[variant])
		case decide.Remove:
			set.Remove = append(set.Remove, key)
		case decide.Keep:
		}
	}
	slices.Sort(set.Remove)
	return set, true
}

// Subscribe returns a channel that gets a token after the answer for the cluster may have changed. Many changes may
// share a token. cancel ends it, and may be called more than once.
func (d *Desired) Subscribe(cluster v1alpha1.ClusterName) (changed <-chan struct{}, cancel func()) {
	token := make(chan struct{}, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.subscribers[cluster] == nil {
		d.subscribers[cluster] = map[chan struct{}]bool{}
	}
	d.subscribers[cluster][token] = true
	return token, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.subscribers[cluster], token)
		if len(d.subscribers[cluster]) == 0 {
			delete(d.subscribers, cluster)
		}
	}
}

// notify gives a token to the subscribers of a cluster. The caller holds mu.
func (d *Desired) notify(cluster v1alpha1.ClusterName) {
	for token := range d.subscribers[cluster] {
		select {
		case token <- struct{}{}:
		default:
		}
	}
}
