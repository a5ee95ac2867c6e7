package placement

import (
	"context"
	"maps"
	"slices"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"umbel.dev/umbel/api/v1alpha1"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// membershipChanged passes what may change a selection: labels, approval, coming and going. A status does not.
func membershipChanged() predicate.Predicate {
	approval := func(object client.Object) bool {
		cluster, ok := object.(*v1alpha1.MemberCluster)
		return ok && admitted(cluster)
	}
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return approval(e.ObjectOld) != approval(e.ObjectNew) || !maps.Equal(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels()) ||
			e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
	}}
}

// concerned asks again for the Placements whose decision a cluster's change contradicts, and for no other.
func (c *Controller) concerned() handler.EventHandler {
	changed := func(ctx context.Context, object client.Object, q queue) {
		cluster, ok := object.(*v1alpha1.MemberCluster)
		if !ok {
			return
		}
		c.enqueue(ctx, q, func(p *v1alpha1.Placement) bool { return contradicts(p, cluster) })
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { changed(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { changed(ctx, e.ObjectNew, q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			gone := v1alpha1.ClusterName(e.Object.GetName())
			c.enqueue(ctx, q, func(p *v1alpha1.Placement) bool { return holds(p, gone) })
		},
	}
}

func (c *Controller) enqueue(ctx context.Context, q queue, concerned func(*v1alpha1.Placement) bool) {
	var placements v1alpha1.PlacementList
	if err := c.client.List(ctx, &placements, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "listing the placements that a cluster concerns")
		return
	}
	for i := range placements.Items {
		if concerned(&placements.Items[i]) {
			q.Add(ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&placements.Items[i])})
		}
	}
}

// contradicts says whether the Placement's last decision is wrong about the cluster. A selector that cannot be read
// contradicts nothing: its decision stands.
func contradicts(placement *v1alpha1.Placement, cluster *v1alpha1.MemberCluster) bool {
	selector, err := parse(placement.Spec)
	if err != nil {
		return false
	}
	return holds(placement, v1alpha1.ClusterName(cluster.Name)) != selects(selector, cluster)
}

// holds says whether the Placement's last decision names the cluster.
func holds(placement *v1alpha1.Placement, cluster v1alpha1.ClusterName) bool {
	_, held := slices.BinarySearch(placement.Status.Clusters, cluster)
	return held
}
