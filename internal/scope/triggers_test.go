package scope

import (
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"umbel.dev/umbel/api/v1alpha1"
)

// A Scope of very many clusters is not looked at, and its role of very many names not written, for each one that changes.
func TestChangesOfVeryManyClustersAreOneLook(t *testing.T) {
	placement, pkg := Placement(shop()), &v1alpha1.Package{ObjectMeta: Placement(shop()).ObjectMeta}
	placement.Status.Clusters = make([]v1alpha1.ClusterName, many)
	pkg.Status.Clusters.Selected = many
	synctest.Test(t, func(t *testing.T) {
		q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
		defer q.ShutDown()
		looks := 0
		for range 500 {
			for _, o := range []client.Object{placement, pkg} {
				gather{}.Update(t.Context(), event.UpdateEvent{ObjectOld: o, ObjectNew: o}, q)
			}
			time.Sleep(10 * time.Millisecond)
			for q.Len() > 0 {
				one, _ := q.Get()
				if one.Name != "shop" {
					t.Errorf("looked at %s", one)
				}
				looks++
				q.Done(one)
			}
		}
		if looks < 3 || looks > 5 {
			t.Errorf("looked %d times in 5 s, want about four", looks)
		}
	})
}
