package apply

import (
	"cmp"
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/member"
)

// guards watches the guards of all packages, and has them put back when others delete or change them. An event is an occasion to look,
// and decides nothing. The watches begin with the first guard.
type guards struct {
	api    *member.API
	roster *roster
	now    func() time.Time
	queue  workqueue.TypedRateLimitingInterface[*unit]
	life   context.Context // of Run
	wg     sync.WaitGroup

	mu      sync.Mutex
	watched [2]bool
	errs    [2]error // of the last list or watch
}

func newGuards(api *member.API, of *roster, now func() time.Time) *guards {
	return &guards{api: api, roster: of, now: now, queue: workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[*unit](5*time.Millisecond, longestRetry))}
}

// ensure starts the watches, unless they run.
func (g *guards) ensure() error {
	for i, gvk := range guardKinds {
		gvr, _, err := g.api.Resolve(gvk)
		if err != nil {
			return err
		}
		g.mu.Lock()
		begins := !g.watched[i] && g.life.Err() == nil
		g.watched[i] = true
		if begins {
			lw, sample := g.api.ListWatchGuards(gvr, func(err error) error { return g.note(i, err) })
			reflector := cache.NewReflectorWithOptions(lw, sample, guardWatch{g, i}, cache.ReflectorOptions{
				Name: "guards " + gvr.Resource, TypeDescription: gvk.String(),
			})
			g.wg.Go(func() { reflector.RunWithContext(g.life) })
		}
		g.mu.Unlock()
	}
	return nil
}

// note keeps whether the last list or watch of a kind went well.
func (g *guards) note(which int, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.errs[which] = err
	return err
}

// broken says why it is not seen what others do to guards; nil when it is.
func (g *guards) broken() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return cmp.Or(g.errs[0], g.errs[1])
}

// run puts guards back until the queue is shut down.
func (g *guards) run(ctx context.Context) {
	for {
		u, shutdown := g.queue.Get()
		if shutdown {
			return
		}
		g.mend(ctx, u)
		g.queue.Done(u)
	}
}

// mend puts a guard back, unless somebody undoes that again and again: then it waits.
func (g *guards) mend(ctx context.Context, u *unit) {
	if pause := u.guard.pause(g.now()); pause > 0 {
		g.queue.AddAfter(u, pause)
		return
	}
	err := u.mendGuard(ctx)
	switch {
	case err == nil || ctx.Err() != nil:
		g.queue.Forget(u)
	case apierrors.IsConflict(err): // somebody is at it
		g.queue.AddRateLimited(u)
	default:
		_ = u.unguarded(err) // the status says it, and passes try again
		poke(u.kick)
		g.queue.Forget(u)
	}
}

// mendGuard looks at the guard, if there is to be one, and puts it back.
func (u *unit) mendGuard(ctx context.Context) error {
	u.guard.busy.Lock()
	defer u.guard.busy.Unlock()
	bodies := u.guard.wanted()
	if bodies == nil {
		return nil
	}
	return u.restoreGuard(ctx, bodies)
}

// putGuardBack tells what others had done to the guard.
func (u *unit) putGuardBack(drift *wire.Drift) {
	now, cause := u.engine.needs.Now(), "Changed"
	switch {
	case drift.Deleted:
		cause = "Deleted"
	case drift.By != "":
		cause = "Changed by " + drift.By
	}
	drift.Time = now.Unix()
	u.putBack(drift, cause, u.guard.repaired(now), now)
}

// guardWatch is what the reflector of one of both kinds writes to. Nothing is stored.
type guardWatch struct {
	*guards
	which int
}

// Add takes in that there is a guard, or that it is another one.
func (w guardWatch) Add(o any) error { return w.event(o, false) }

// Update is Add.
func (w guardWatch) Update(o any) error { return w.event(o, false) }

// Delete takes in that a guard is gone, or has lost its label.
func (w guardWatch) Delete(o any) error { return w.event(o, true) }

func (w guardWatch) event(o any, gone bool) error {
	object, err := meta.Accessor(o)
	if err != nil {
		return err
	}
	for _, u := range w.roster.all() {
		if guardName(u.key) == object.GetName() {
			if gone {
				object = nil
			}
			w.compare(u, object)
			break
		}
	}
	return nil
}

// Replace takes in a whole list.
func (w guardWatch) Replace(list []any, _ string) error {
	found := map[string]metav1.Object{}
	for _, o := range list {
		object, err := meta.Accessor(o)
		if err != nil {
			return err
		}
		found[object.GetName()] = object
	}
	for _, u := range w.roster.all() {
		w.compare(u, found[guardName(u.key)])
	}
	return nil
}

// Resync has nothing to do: nothing is stored.
func (w guardWatch) Resync() error { return nil }

func (w guardWatch) compare(u *unit, found metav1.Object) {
	if !u.guard.expects(w.which, found) {
		w.queue.Add(u)
	}
}
