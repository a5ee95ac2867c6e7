package scope

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"umbel.dev/umbel/api/v1alpha1"
)

// many is from how many clusters on a Scope is not looked at for each change by itself, but a second after the first: its role
// names every one of them, and is written as a whole.
const many = 100

// gather has the Scope looked at that owns what changed.
type gather struct{ handler.EventHandler }

func gathered(mgr ctrl.Manager) handler.EventHandler {
	return gather{handler.EnqueueRequestForOwner(mgr.GetScheme(), mgr.GetRESTMapper(), &v1alpha1.Scope{}, handler.OnlyControllerOwner())}
}

// Update implements handler.EventHandler.
func (g gather) Update(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	owner := metav1.GetControllerOf(e.ObjectNew)
	if owner == nil || clustersOf(e.ObjectNew) < many {
		g.EventHandler.Update(ctx, e, q)
		return
	}
	q.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Name: owner.Name}}, time.Second)
}

// clustersOf is how many clusters a Placement or a Package is about.
func clustersOf(o client.Object) int {
	switch o := o.(type) {
	case *v1alpha1.Placement:
		return len(o.Status.Clusters)
	case *v1alpha1.Package:
		return int(o.Status.Clusters.Selected)
	}
	return 0
}
