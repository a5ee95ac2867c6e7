package apply

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"

	"umbel.dev/umbel/internal/delivery/apply/member"
)

// writer makes objects what they should be. Everything that is written to the member goes through settle, whether a
// release asks for it or a repair, so that one hand writes an object at a time.
type writer struct {
	api   *member.API
	log   *slog.Logger
	now   func() time.Time
	queue workqueue.TypedRateLimitingInterface[*record]
}

// longestRetry is the longest pause between two attempts to put an object back that cannot be.
const longestRetry = time.Minute

func newQueue() workqueue.TypedRateLimitingInterface[*record] {
	return workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[*record](5*time.Millisecond, longestRetry))
}

// settle does what judging the record asks for, and reports whether it wrote. An error is also kept in the record.
func (w *writer) settle(ctx context.Context, r *record) (wrote bool, err error) {
	r.busy.Lock()
	defer r.busy.Unlock()
	switch t := r.task(); t.do {
	case actApply:
		err = w.apply(ctx, r, t, member.Respect)
	case actRestore:
		err = w.apply(ctx, r, t, member.TakeOver)
	default: // deleting is for prune alone
		return false, nil
	}
	if err == nil || ctx.Err() != nil {
		return true, err
	}
	if news := r.failed(member.Explain(err)); news {
		w.log.Warn("object could not be written", "object", r.key.String(), "error", err)
	}
	return true, err
}

func (w *writer) apply(ctx context.Context, r *record, t task, o member.Ownership) error {
	body, err := t.content.Body(t.source)
	if err != nil {
		return fmt.Errorf("reading the object from the agent's disk: %w", err)
	}
	got, err := w.api.Apply(ctx, t.place, r.key, body, o)
	if apierrors.IsConflict(err) && o == member.Respect && t.did != (applied{}) {
		if err := w.reclaim(ctx, r, t); err != nil {
			return err
		}
		got, err = w.api.Apply(ctx, t.place, r.key, body, member.Respect)
	}
	if err != nil {
		return err
	}
	r.written(t.source.Hash, got)
	t.holder.note(r)
	return nil
}

// reclaim takes back the fields that the agent owned before somebody changed them, by applying once more what it
// applied last. A conflict that remains after that is about fields that were never ours.
func (w *writer) reclaim(ctx context.Context, r *record, t task) error {
	body, hash := t.holder.before(r.key)
	if body == nil || hash != t.did.hash {
		return nil // not known any more; the conflict will be reported
	}
	got, err := w.api.Apply(ctx, t.place, r.key, body, member.TakeOver)
	if err != nil {
		return err
	}
	r.written(hash, got)
	return nil
}

// prune deletes an object that is not wanted any more. One that was there before us only loses what we added to it.
func (w *writer) prune(ctx context.Context, r *record) error {
	r.busy.Lock()
	defer r.busy.Unlock()
	t := r.task()
	label := t.holder.key.LabelValue()
	if !t.did.adopted {
		return w.api.Delete(ctx, t.place, r.key, t.did.uid, label)
	}
	err := w.api.LetGo(ctx, t.place, r.key, t.did.uid)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		// Gone, or another object by now: the uid says so. It may be one that we made since.
		return w.api.Delete(ctx, t.place, r.key, "", label)
	}
	return err
}

// run repairs what comes in on the queue until the context ends.
func (w *writer) run(ctx context.Context) {
	for {
		r, shutdown := w.queue.Get()
		if shutdown {
			return
		}
		w.repair(ctx, r)
		w.queue.Done(r)
	}
}

func (w *writer) repair(ctx context.Context, r *record) {
	pause, cause := r.repairing(w.now())
	if pause > 0 {
		w.queue.AddAfter(r, pause)
		return
	}
	wrote, err := w.settle(ctx, r)
	if err != nil {
		if ctx.Err() == nil {
			r.unit().stirred()
			w.queue.AddRateLimited(r)
		}
		return
	}
	w.queue.Forget(r)
	if wrote {
		r.unit().repaired(r, cause, r.repaired(w.now()))
	}
}
