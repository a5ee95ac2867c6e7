package delivery

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	ctrlsource "sigs.k8s.io/controller-runtime/pkg/source"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/delivery/source"
)

const (
	packageByPlacement  = "spec.placementRef.name"
	packageBySource     = "source"
	packageByRepository = "repository"
	releaseByPackage    = "spec.packageRef.name"
	rolloutByPackage    = "spec.packageRef.name"

	// gather is how long statuses of clusters are gathered before a Package is counted again, and gatherEach how much longer
	// for each cluster there is: to count looks at all of them.
	gather     = 200 * time.Millisecond
	gatherEach = 100 * time.Microsecond
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// queueRef is the controller's queue, once it runs.
type queueRef struct {
	mu    sync.Mutex
	queue queue
}

// Setup adds the controller, and what it runs in the background, to the manager. It returns what the gateway asks.
//
// The context is that of the manager's start; Setup itself calls no API.
func Setup(ctx context.Context, mgr ctrl.Manager, needs Needs) (*Desired, error) {
	if needs.Now == nil {
		needs.Now = time.Now
	}
	if needs.Renders == nil {
		var err error
		if needs.Renders, err = render.NewCache(render.CacheConfig{Dir: filepath.Join(needs.Dir, "rendered"), Log: needs.Log}); err != nil {
			return nil, err
		}
	}
	c := &Controller{
		client: mgr.GetClient(), live: mgr.GetAPIReader(), events: mgr.GetEventRecorder("umbel-delivery"),
		content: needs.Content, desired: newDesired(mgr.GetCache()), renders: needs.Renders, log: needs.Log,
		sealer: needs.Sealer, now: needs.Now, started: needs.Now(), memos: map[v1alpha1.PackageKey]*memo{},
	}
	c.desired.waits = c.waits
	c.renderings = newRenderings(atOnce, c.again)
	readers, err := readers(needs)
	if err != nil {
		return nil, err
	}
	c.fetcher = source.New(source.Needs{
		Readers: readers, Credentials: c.credentials, Log: needs.Log, Now: needs.Now, Fetched: c.fetched, Used: c.used,
	})
	if err := index(ctx, mgr.GetFieldIndexer()); err != nil {
		return nil, err
	}
	for _, runnable := range []manager.Runnable{c.fetcher, c.renderings, c.desired, manager.RunnableFunc(c.sealAnew)} {
		if err := mgr.Add(runnable); err != nil {
			return nil, fmt.Errorf("setting up delivery: %w", err)
		}
	}
	if needs.Elected != nil {
		if err := setupFollower(mgr, c, needs.Elected); err != nil {
			return nil, err
		}
	}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("delivery").
		WithOptions(controller.Options{MaxConcurrentReconciles: 4}).
		For(&v1alpha1.Package{}).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(c.ofNamespace), builder.WithPredicates(predicate.AnnotationChangedPredicate{})).
		Watches(&v1alpha1.Placement{}, handler.EnqueueRequestsFromMapFunc(c.ofPlacement)).
		Watches(&v1alpha1.Release{}, handler.EnqueueRequestsFromMapFunc(ofRelease)).
		Watches(&v1alpha1.Rollout{}, handler.EnqueueRequestsFromMapFunc(ofRollout)).
		Watches(&v1alpha1.Plan{}, handler.EnqueueRequestsFromMapFunc(ofPlan)).
		Watches(&v1alpha1.Package{}, handler.EnqueueRequestsFromMapFunc(c.ofDependency)).
		Watches(&v1alpha1.MemberCluster{}, c.ofMember(c.concerned)).
		WatchesRawSource(ctrlsource.Func(func(_ context.Context, q queue) error {
			c.queue.mu.Lock()
			defer c.queue.mu.Unlock()
			c.queue.queue = q
			return nil
		})).
		Complete(c)
	if err != nil {
		return nil, fmt.Errorf("setting up the delivery controller: %w", err)
	}
	return c.desired, nil
}

// index lets Packages be found by their Placement and their source, and Releases and Rollouts by their Package. An index is made
// before the cache starts.
func index(ctx context.Context, indexer client.FieldIndexer) error {
	for _, each := range []struct {
		object client.Object
		field  string
		value  func(client.Object) []string
	}{
		{&v1alpha1.Package{}, packageByPlacement, func(o client.Object) []string {
			return []string{o.(*v1alpha1.Package).Spec.PlacementRef.Name}
		}},
		{&v1alpha1.Package{}, packageBySource, func(o client.Object) []string {
			return indexed(o.(*v1alpha1.Package), sourceIndex)
		}},
		{&v1alpha1.Package{}, packageByRepository, func(o client.Object) []string {
			return indexed(o.(*v1alpha1.Package), repositoryIndex)
		}},
		{&v1alpha1.Package{}, packageByDependency, dependencyIndex},
		{&v1alpha1.Release{}, releaseByPackage, func(o client.Object) []string {
			return []string{o.(*v1alpha1.Release).Spec.PackageRef.Name}
		}},
		{&v1alpha1.Plan{}, planByPackage, func(o client.Object) []string {
			return []string{o.(*v1alpha1.Plan).Spec.PackageRef.Name}
		}},
		{&v1alpha1.Rollout{}, rolloutByPackage, func(o client.Object) []string {
			if name := o.(*v1alpha1.Rollout).Spec.PackageRef.Name; name != "" {
				return []string{name}
			}
			return nil // it is about Kubernetes
		}},
	} {
		if err := indexer.IndexField(ctx, each.object, each.field, each.value); err != nil {
			return fmt.Errorf("indexing by %s: %w", each.field, err)
		}
	}
	return nil
}

// indexed is by what a Package is found of each of its sources.
func indexed(pkg *v1alpha1.Package, by func(source.Ref) string) (values []string) {
	for _, ref := range refsOf(pkg) {
		if value := by(ref); !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return values
}

func sourceIndex(ref source.Ref) string { return fmt.Sprintf("%#v", ref) }

// used are the sources of all Packages.
func (c *Controller) used(ctx context.Context) ([]source.Ref, error) {
	var packages v1alpha1.PackageList
	if err := c.client.List(ctx, &packages, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing packages: %w", err)
	}
	var refs []source.Ref
	for i := range packages.Items {
		refs = append(refs, refsOf(&packages.Items[i])...)
	}
	return refs, nil
}

// again asks for a pass over a Package.
func (c *Controller) again(key v1alpha1.PackageKey) {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	if c.queue.queue != nil { // otherwise nothing runs yet, and everything will
		c.queue.queue.Add(request(key))
	}
}

// fetched asks again for the Packages of a source.
func (c *Controller) fetched(ctx context.Context, ref source.Ref) {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	if c.queue.queue == nil {
		return // nothing runs yet, and everything will
	}
	var packages v1alpha1.PackageList
	err := c.client.List(ctx, &packages, client.MatchingFields{packageBySource: sourceIndex(ref)}, client.UnsafeDisableDeepCopy)
	if err != nil {
		log.FromContext(ctx).Error(err, "listing the packages of a source", "url", source.Redact(ref.URL), "version", ref.Version())
		return
	}
	for i := range packages.Items {
		c.queue.queue.Add(ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&packages.Items[i])})
	}
}

func (c *Controller) ofPlacement(ctx context.Context, placement client.Object) []reconcile.Request {
	var packages v1alpha1.PackageList
	err := c.client.List(ctx, &packages, client.InNamespace(placement.GetNamespace()),
		client.MatchingFields{packageByPlacement: placement.GetName()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		log.FromContext(ctx).Error(err, "listing the packages of a placement", "placement", client.ObjectKeyFromObject(placement))
		return nil
	}
	var requests []reconcile.Request
	for i := range packages.Items {
		requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&packages.Items[i])})
	}
	return requests
}

func ofRelease(_ context.Context, object client.Object) []reconcile.Request {
	release, ok := object.(*v1alpha1.Release)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: release.Namespace, Name: release.Spec.PackageRef.Name}}}
}

func ofRollout(_ context.Context, object client.Object) []reconcile.Request {
	rollout, ok := object.(*v1alpha1.Rollout)
	if !ok || rollout.Spec.PackageRef.Name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: rollout.Namespace, Name: rollout.Spec.PackageRef.Name}}}
}

func ofPlan(_ context.Context, object client.Object) []reconcile.Request {
	plan, ok := object.(*v1alpha1.Plan)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: plan.Namespace, Name: plan.Spec.PackageRef.Name}}}
}

// ofMember asks again for the Packages that a change of a cluster concerns. At the start every Package is looked at anyway, and not
// once more for each cluster.
func (c *Controller) ofMember(concerned func(ctx context.Context, before, after *v1alpha1.MemberCluster) []v1alpha1.PackageKey) handler.EventHandler {
	changed := func(ctx context.Context, before, after *v1alpha1.MemberCluster, q queue) {
		gather := max(gather, time.Duration(c.desired.known())*gatherEach)
		for _, key := range concerned(ctx, before, after) {
			q.AddAfter(request(key), gather)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			if after, ok := e.Object.(*v1alpha1.MemberCluster); ok && !e.IsInInitialList {
				changed(ctx, &v1alpha1.MemberCluster{}, after, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			before, ok := e.ObjectOld.(*v1alpha1.MemberCluster)
			after, too := e.ObjectNew.(*v1alpha1.MemberCluster)
			if ok && too {
				changed(ctx, before, after, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			if before, ok := e.Object.(*v1alpha1.MemberCluster); ok {
				gone := &v1alpha1.MemberCluster{}
				gone.Name = before.Name
				changed(ctx, before, gone, q)
			}
		},
	}
}

// concerned are the Packages whose state on a cluster differs, those that depend on them and, where its labels or its connection
// differ, those whose Placement selects it.
func (c *Controller) concerned(ctx context.Context, before, after *v1alpha1.MemberCluster) (keys []v1alpha1.PackageKey) {
	for key := range changedPackages(before, after) {
		keys = append(append(keys, key), c.dependents(ctx, key)...)
	}
	if !sameMember(before, after) {
		keys = append(keys, c.desired.selecting(v1alpha1.ClusterName(after.Name))...)
	}
	return keys
}

func request(key v1alpha1.PackageKey) reconcile.Request {
	namespace, name := key.Split()
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

// sameMember says whether nothing differs that concerns every Package of the cluster.
func sameMember(before, after *v1alpha1.MemberCluster) bool {
	connected := func(m *v1alpha1.MemberCluster) bool {
		return meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionConnected)
	}
	return connected(before) == connected(after) && maps.Equal(before.Labels, after.Labels) &&
		maps.Equal(decide.ClusterOf(before).Properties, decide.ClusterOf(after).Properties) && slices.Equal(before.Status.AgentFeatures, after.Status.AgentFeatures) &&
		(before.Status.AgentVersion == "") == (after.Status.AgentVersion == "") &&
		before.DeletionTimestamp.IsZero() == after.DeletionTimestamp.IsZero()
}

// changedPackages returns the Packages whose state on the cluster differs.
func changedPackages(before, after *v1alpha1.MemberCluster) map[v1alpha1.PackageKey]bool {
	changed := map[v1alpha1.PackageKey]bool{}
	old := make(map[v1alpha1.PackageKey]*v1alpha1.MemberPackage, len(before.Status.Packages))
	for i := range before.Status.Packages {
		old[before.Status.Packages[i].Package] = &before.Status.Packages[i]
	}
	for i := range after.Status.Packages {
		now := &after.Status.Packages[i]
		if was := old[now.Package]; was == nil || !equality.Semantic.DeepEqual(was, now) {
			changed[now.Package] = true
		}
		delete(old, now.Package)
	}
	for key := range old {
		changed[key] = true
	}
	return changed
}
