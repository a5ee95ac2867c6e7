package placement

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/placement/decide"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// concerned asks again for the Placements that a cluster's change may concern, and for no other. Most of what changes of a
// member, its packages above all, concerns none.
func (c *Controller) concerned() handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { c.note(ctx, e.Object, see(e.Object), q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { c.note(ctx, e.ObjectNew, see(e.ObjectNew), q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { c.note(ctx, e.Object, nil, q) },
	}
}

func (c *Controller) note(ctx context.Context, member client.Object, now *decide.Cluster, q queue) {
	last := func(key types.NamespacedName) (decide.Before, bool) {
		var placement v1alpha1.Placement
		if err := c.client.Get(ctx, key, &placement, client.UnsafeDisableDeepCopy); err != nil {
			return decide.Before{}, false // it is gone, and its event is on its way
		}
		return decide.BeforeOf(&placement.Status), true
	}
	for _, key := range c.book.note(v1alpha1.ClusterName(member.GetName()), now, last) {
		q.Add(ctrl.Request{NamespacedName: key})
	}
}

// see returns what a decision sees of a member.
func see(object client.Object) *decide.Cluster {
	member, ok := object.(*v1alpha1.MemberCluster)
	if !ok {
		return nil
	}
	cluster := decide.See(member)
	return &cluster
}
