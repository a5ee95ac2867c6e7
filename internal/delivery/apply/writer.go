package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"

	"umbel.dev/umbel/api/v1alpha1"
)

// writer makes objects what they should be. Everything that is written to the member goes through settle, whether a
// release asks for it or a repair, so that one hand writes an object at a time.
type writer struct {
	member   *member
	log      *slog.Logger
	now      func() time.Time
	previous func(v1alpha1.PackageKey, Key) ([]byte, uint64) // the bytes that a package applied before its current release
	repaired func(r *record, cause string, fighting bool)
	troubled func(r *record) // an object could not be put back
	queue    workqueue.TypedRateLimitingInterface[*record]
}

func newQueue() workqueue.TypedRateLimitingInterface[*record] {
	return workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[*record](5*time.Millisecond, 5*time.Second))
}

// settle does what judging the record asks for, and reports whether it wrote. An error is also kept in the record.
func (w *writer) settle(ctx context.Context, r *record) (wrote bool, err error) {
	r.busy.Lock()
	defer r.busy.Unlock()
	switch t := r.task(); t.do {
	case actApply:
		err = w.apply(ctx, r, t, respect)
	case actRestore:
		err = w.apply(ctx, r, t, takeOver)
	default: // deleting is for prune alone
		return false, nil
	}
	if err != nil && ctx.Err() == nil {
		r.failed(explain(err))
	}
	return true, err
}

func (w *writer) apply(ctx context.Context, r *record, t task, o ownership) error {
	body, err := t.content.body(t.source)
	if err != nil {
		return fmt.Errorf("reading the object from the agent's disk: %w", err)
	}
	got, err := w.member.apply(ctx, t.place, r.key, body, o)
	if apierrors.IsConflict(err) && o == respect && !t.first {
		if err := w.reclaim(ctx, r, t.place); err != nil {
			return err
		}
		got, err = w.member.apply(ctx, t.place, r.key, body, respect)
	}
	if err != nil {
		return err
	}
	r.written(t.source.hash, observe(got), wasThere(got))
	return nil
}

// reclaim takes back the fields that the agent owned before somebody changed them, by applying once more what it
// applied last. A conflict that remains after that is about fields that were never ours.
func (w *writer) reclaim(ctx context.Context, r *record, p place) error {
	r.mu.Lock()
	holder, last := r.holder, r.did.hash
	r.mu.Unlock()
	body, hash := w.previous(holder, r.key)
	if body == nil || hash != last {
		return nil // not known any more; the conflict will be reported
	}
	got, err := w.member.apply(ctx, p, r.key, body, takeOver)
	if err != nil {
		return err
	}
	r.written(hash, observe(got), false)
	return nil
}

// prune deletes an object that is not wanted any more. One that was there before us only loses what we added to it.
func (w *writer) prune(ctx context.Context, r *record) error {
	r.busy.Lock()
	defer r.busy.Unlock()
	r.mu.Lock()
	place, did, version, holder := r.place, r.did, r.version, r.holder
	r.mu.Unlock()
	if !did.adopted {
		return w.member.delete(ctx, place, r.key, did.uid, holder.LabelValue())
	}
	metadata := map[string]any{"name": r.key.Name, "uid": did.uid}
	if r.key.Namespace != "" {
		metadata["namespace"] = r.key.Namespace
	}
	bare, err := json.Marshal(map[string]any{
		"apiVersion": apiVersion(r.key.Group, version), "kind": r.key.Kind, "metadata": metadata,
	})
	if err != nil {
		return err
	}
	_, err = w.member.apply(ctx, place, r.key, bare, takeOver)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		// Gone, or another object by now: the uid says so. It may be one that we made since.
		return w.member.delete(ctx, place, r.key, "", holder.LabelValue())
	}
	return err
}

func apiVersion(group, version string) string {
	if group == "" {
		return version
	}
	return group + "/" + version
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
			w.log.Warn("object could not be put back", "object", r.key.String(), "cause", cause, "error", err)
			w.troubled(r)
			w.queue.AddRateLimited(r)
		}
		return
	}
	w.queue.Forget(r)
	if wrote {
		w.repaired(r, cause, r.repaired(w.now()))
	}
}
