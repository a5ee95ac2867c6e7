package await

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// TestWhatWaits: it is put back, comes when something is heard of it and it waits no more, and after a while in any case, again and again.
func TestWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := reconcile.Request{}
		one.Name = "one"
		var waits atomic.Bool
		limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](time.Second, time.Hour)
		q := Of(t.Context(), func(context.Context, reconcile.Request) bool { return waits.Load() }, controller.Options{}).NewQueue("test", limiter).(priorityqueue.PriorityQueue[reconcile.Request])
		defer q.ShutDown()
		look := func(reason string, want time.Duration) {
			t.Helper()
			begin := time.Now()
			got, _, _ := q.GetWithPriority()
			if after := time.Since(begin); got != one || after != want {
				t.Errorf("%s: %v is looked at after %s, want %v after %s", reason, got, after, one, want)
			}
			q.Done(got)
		}

		q.Add(one)
		look("what waits for nothing", 0)

		waits.Store(true)
		q.Add(one)
		go func() {
			for range 4 {
				time.Sleep(700 * time.Millisecond) // of the bubble's clock
				q.Add(one)
			}
		}()
		look("what waits, and is heard of all the time", longest)
		q.Add(one)
		look("what waits still", longest)

		q.Add(one)
		go func() {
			time.Sleep(time.Second)
			waits.Store(false)
			q.Add(one)
		}()
		look("what waits until something is heard of it", time.Second)
	})
}
