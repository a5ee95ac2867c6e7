package rollout

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	byPackage   = "rollout: package"
	byPlacement = "rollout: placement"

	// gather is how long changes of clusters are gathered before a rollout is looked at: each look reads all of its clusters,
	// and writes them.
	gather = time.Second
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Needs is what the controller needs.
type Needs struct {
	// Digest returns the digest of the content that a Release has for a cluster; empty when it has none.
	Digest func(*v1alpha1.ReleaseSpec, *v1alpha1.MemberCluster) string
	// Waits says which clusters would not take a Release of a Package now that a Rollout gives them, and what each waits for: another
	// Package, an agent that knows what it takes, or a Plan. It reads caches alone.
	Waits func(context.Context, *v1alpha1.Package, *v1alpha1.Rollout, *v1alpha1.Release) (map[v1alpha1.ClusterName]string, error)
	// Ask says whether a condition in PromQL holds of what clusters measure, now. It is nil where no metrics are kept.
	Ask func(ctx context.Context, query string, clusters []v1alpha1.ClusterName) (bool, error)
	// Now is the clock.
	Now func() time.Time
}

// Setup adds the controller to the manager. The context is that of the manager's start; Setup itself calls no API.
func Setup(ctx context.Context, mgr ctrl.Manager, needs Needs) error {
	c := &Controller{
		client: mgr.GetClient(), live: mgr.GetAPIReader(), events: mgr.GetEventRecorder("umbel-rollout"), digest: needs.Digest, waits: needs.Waits,
		ask: needs.Ask, now: needs.Now,
	}
	if err := index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("rollout").
		WithOptions(controller.Options{MaxConcurrentReconciles: 2}).
		For(&v1alpha1.Package{}).
		Watches(&v1alpha1.Rollout{}, ofRollout(itsPackage)).
		Watches(&v1alpha1.Placement{}, handler.EnqueueRequestsFromMapFunc(c.ofPlacement)).
		Watches(&v1alpha1.MemberCluster{}, c.ofMember()).
		Complete(c)
	if err != nil {
		return fmt.Errorf("setting up the rollout controller: %w", err)
	}
	k := &kubernetes{c}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("rollout-kubernetes").
		Watches(&v1alpha1.Rollout{}, ofRollout(itself)).
		Watches(&v1alpha1.MemberCluster{}, k.ofMember()).
		Complete(k)
	if err != nil {
		return fmt.Errorf("setting up the controller of rollouts about Kubernetes: %w", err)
	}
	return nil
}

func index(ctx context.Context, indexer client.FieldIndexer) error {
	for _, each := range []struct {
		object client.Object
		field  string
		value  func(client.Object) []string
	}{
		{&v1alpha1.Rollout{}, byPackage, func(o client.Object) []string {
			if name := o.(*v1alpha1.Rollout).Spec.PackageRef.Name; name != "" {
				return []string{name}
			}
			return nil
		}},
		{&v1alpha1.Release{}, byPackage, func(o client.Object) []string {
			return []string{o.(*v1alpha1.Release).Spec.PackageRef.Name}
		}},
		{&v1alpha1.Package{}, byPlacement, func(o client.Object) []string {
			if p := o.(*v1alpha1.Package); p.Spec.Rollout != nil {
				return []string{p.Spec.PlacementRef.Name}
			}
			return nil
		}},
	} {
		if err := indexer.IndexField(ctx, each.object, each.field, each.value); err != nil {
			return fmt.Errorf("indexing by %s: %w", each.field, err)
		}
	}
	return nil
}

// itsPackage is what a Rollout of a Package has looked at, and itself one about Kubernetes.
func itsPackage(r *v1alpha1.Rollout) (types.NamespacedName, bool) {
	return types.NamespacedName{Namespace: r.Namespace, Name: r.Spec.PackageRef.Name}, r.Spec.PackageRef.Name != ""
}

func itself(r *v1alpha1.Rollout) (types.NamespacedName, bool) {
	return client.ObjectKeyFromObject(r), r.Spec.Kubernetes != nil
}

// ofRollout asks for a look at once when somebody changed the spec, or a Rollout came or went, and after a while when its
// status was written: that was us.
func ofRollout(at func(*v1alpha1.Rollout) (types.NamespacedName, bool)) handler.EventHandler {
	request := func(o client.Object) (reconcile.Request, bool) {
		r, ok := o.(*v1alpha1.Rollout)
		if !ok {
			return reconcile.Request{}, false
		}
		name, ok := at(r)
		return reconcile.Request{NamespacedName: name}, ok
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) {
			if r, ok := request(e.Object); ok {
				q.Add(r)
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			r, ok := request(e.ObjectNew)
			switch {
			case !ok:
			case e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration():
				q.Add(r)
			default:
				q.AddAfter(r, gather)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) {
			if r, ok := request(e.Object); ok {
				q.Add(r)
			}
		},
	}
}

func (c *Controller) ofPlacement(ctx context.Context, placement client.Object) []reconcile.Request {
	var packages v1alpha1.PackageList
	err := c.client.List(ctx, &packages, client.InNamespace(placement.GetNamespace()),
		client.MatchingFields{byPlacement: placement.GetName()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing the packages of a placement", "placement", client.ObjectKeyFromObject(placement))
		return nil
	}
	var requests []reconcile.Request
	for i := range packages.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&packages.Items[i])})
	}
	return requests
}

// ofMember asks for a look at the Packages that a change of a cluster concerns: those that it holds, or held, and says something
// new of, and when it comes or goes those as well that are about to be told. At the start every Package is looked at anyway.
func (c *Controller) ofMember() handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			if m, ok := e.Object.(*v1alpha1.MemberCluster); ok && !e.IsInInitialList {
				askSaid(nil, m.Status.Packages, q)
				c.askSelecting(ctx, m, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			before, ok := e.ObjectOld.(*v1alpha1.MemberCluster)
			after, too := e.ObjectNew.(*v1alpha1.MemberCluster)
			if !ok || !too {
				return
			}
			askSaid(before.Status.Packages, after.Status.Packages, q)
			if connected(before) != connected(after) || !equality.Semantic.DeepEqual(before.Labels, after.Labels) ||
				before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() {
				c.askSelecting(ctx, after, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			if m, ok := e.Object.(*v1alpha1.MemberCluster); ok {
				c.askSelecting(ctx, m, q)
			}
		},
	}
}

// askSaid asks for a look at the Packages of which a cluster says something else than before.
func askSaid(before, after []v1alpha1.MemberPackage, q queue) {
	said := make(map[v1alpha1.PackageKey]*v1alpha1.MemberPackage, len(before))
	for i := range before {
		said[before[i].Package] = &before[i]
	}
	ask := func(key v1alpha1.PackageKey) {
		namespace, name := key.Split()
		q.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}, gather)
	}
	for i := range after {
		key := after[i].Package
		if !equality.Semantic.DeepEqual(said[key], &after[i]) {
			ask(key)
		}
		delete(said, key)
	}
	for key := range said { // it says nothing of them any more
		ask(key)
	}
}

// askSelecting asks for a look at every Package with a strategy whose Placement selects the cluster.
func (c *Controller) askSelecting(ctx context.Context, m *v1alpha1.MemberCluster, q queue) {
	var placements v1alpha1.PlacementList
	if err := c.client.List(ctx, &placements, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing the placements of a cluster", "cluster", m.Name)
		return
	}
	for i := range placements.Items {
		if _, selected := slices.BinarySearch(placements.Items[i].Status.Clusters, v1alpha1.ClusterName(m.Name)); !selected {
			continue
		}
		for _, request := range c.ofPlacement(ctx, &placements.Items[i]) {
			q.AddAfter(request, gather)
		}
	}
}

func connected(m *v1alpha1.MemberCluster) bool {
	return meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionConnected)
}

// ofMember asks for a look at the Rollouts about Kubernetes that a change of a cluster may concern.
func (k *kubernetes) ofMember() handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			if m, ok := e.Object.(*v1alpha1.MemberCluster); ok && !e.IsInInitialList {
				k.ask(ctx, m, q)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			before, ok := e.ObjectOld.(*v1alpha1.MemberCluster)
			after, too := e.ObjectNew.(*v1alpha1.MemberCluster)
			if !ok || !too {
				return
			}
			if connected(before) != connected(after) || !equality.Semantic.DeepEqual(before.Labels, after.Labels) ||
				before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
				before.Annotations[v1alpha1.ManagedAnnotation] != after.Annotations[v1alpha1.ManagedAnnotation] ||
				!equality.Semantic.DeepEqual(before.Status.Lifecycle, after.Status.Lifecycle) {
				k.ask(ctx, after, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			if m, ok := e.Object.(*v1alpha1.MemberCluster); ok {
				k.ask(ctx, m, q)
			}
		},
	}
}

func (k *kubernetes) ask(ctx context.Context, m *v1alpha1.MemberCluster, q queue) {
	namespace, _, managed := v1alpha1.SplitManaged(m.Annotations[v1alpha1.ManagedAnnotation])
	if !managed {
		return
	}
	var rollouts v1alpha1.RolloutList
	if err := k.client.List(ctx, &rollouts, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing the rollouts of a cluster", "cluster", m.Name)
		return
	}
	for i := range rollouts.Items {
		if name, ok := itself(&rollouts.Items[i]); ok && !over(&rollouts.Items[i].Status) {
			q.AddAfter(reconcile.Request{NamespacedName: name}, gather)
		}
	}
}
