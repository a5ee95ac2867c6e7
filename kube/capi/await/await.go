// Package await keeps a controller from looks at which it would find nothing to do, where it may look at an object only so often: one
// that looks just before there is something to do would look again much later.
package await

import (
	"context"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	// longest is how long an object is not looked at: what its controller says of it may be so old.
	longest = 5 * time.Second
	// answer is how long it may take to say whether an object waits: where a kind cannot be listed, as while its provider is gone, a cache
	// answers never.
	answer = time.Second
)

// Of returns the options of a controller that does not look at an object while that waits for something, of which it will hear. waits is asked
// until ctx ends, by several at once, and says no where it could not find out in time.
func Of(ctx context.Context, waits func(context.Context, reconcile.Request) bool, o controller.Options) controller.Options {
	o.NewQueue = func(name string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
		inner := priorityqueue.New(name, func(o *priorityqueue.Opts[reconcile.Request]) { o.RateLimiter = limiter })
		within := func(item reconcile.Request) bool {
			ctx, cancel := context.WithTimeout(ctx, answer)
			defer cancel()
			return waits(ctx, item)
		}
		return &queue{PriorityQueue: inner, waits: within, since: map[reconcile.Request]time.Time{}}
	}
	return o
}

// queue is controller-runtime's own, which puts back what waits.
type queue struct {
	priorityqueue.PriorityQueue[reconcile.Request]
	waits func(reconcile.Request) bool

	mu sync.Mutex
	// since is from when on what was put back has waited.
	since map[reconcile.Request]time.Time
}

// GetWithPriority returns what is to be looked at next. It blocks until there is something. What is heard of an object that is put back
// brings it forward again.
func (q *queue) GetWithPriority() (reconcile.Request, int, bool) {
	for {
		item, priority, shutdown := q.PriorityQueue.GetWithPriority()
		if shutdown {
			return item, priority, true
		}
		left := q.left(item)
		if left <= 0 {
			return item, priority, false
		}
		q.Done(item)
		q.AddWithOpts(priorityqueue.AddOpts{After: left, Priority: &priority}, item)
	}
}

// left is how long an object is put back; zero for one that is to be looked at.
func (q *queue) left(item reconcile.Request) time.Duration {
	waits, now := q.waits(item), time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	since, known := q.since[item]
	if waits && !known {
		since = now
		q.since[item] = since
	}
	left := longest - now.Sub(since)
	if waits && left > 0 {
		return left
	}
	delete(q.since, item)
	return 0
}
