package upgrade

import (
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Of a thousand members that come back at once, not each one has all of them looked at.
func TestManyChangesAreOneLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
		defer q.ShutDown()
		looks := 0
		for range 1000 {
			gather{}.Update(t.Context(), event.UpdateEvent{}, q)
			time.Sleep(5 * time.Millisecond)
			for q.Len() > 0 {
				one, _ := q.Get()
				looks++
				q.Done(one)
			}
		}
		if looks < 3 || looks > 5 {
			t.Errorf("looked %d times in 5 s, want about four", looks)
		}
	})
}
