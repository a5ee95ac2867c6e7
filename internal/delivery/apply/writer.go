package apply

import (
	"context"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/workqueue"

	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
)

// writer makes objects what they should be, or takes them away. One hand writes an object at a time, whether a release
// asks for it or a repair.
type writer struct {
	index *index
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
	t := r.task()
	switch t.do {
	case actApply:
		wrote, err = w.apply(ctx, r, t, member.Respect)
	case actRestore:
		wrote, err = w.apply(ctx, r, t, member.TakeOver)
	default:
		return false, nil
	}
	if err == nil || ctx.Err() != nil {
		return wrote, err
	}
	if why := r.unit().explain(err, wordingFor(t.source, err)); r.failed(why) {
		w.log.Warn("object could not be written", "object", r.key.String(), "error", why)
	}
	return wrote, err
}

// apply writes an object and says whether that changed anything: what is left to others may be all that was different.
func (w *writer) apply(ctx context.Context, r *record, t task, o member.Ownership) (changed bool, err error) {
	body, err := t.holder.body(ctx, t.content, t.source)
	if err != nil {
		return false, err
	}
	api, err := t.holder.api()
	if err != nil {
		return false, err
	}
	var had bool // by somebody else, before us
	if t.did.unsure && t.did.uid == "" {
		ours, others, err := api.MadeBy(ctx, t.gvr, r.key)
		if err != nil {
			return false, err
		}
		if had = others; ours != "" {
			// The next apply makes our entry newer than the object, so that nobody could tell any more after another crash.
			r.made(ours)
			t.holder.note(r)
		}
	}
	got, err := send(ctx, api, r.key, t, body, o)
	if apierrors.IsConflict(err) && o == member.Respect && t.did != (applied{}) {
		got, err = retake(ctx, api, r.key, t, body, err)
	}
	if err != nil {
		return false, err
	}
	if t.did == (applied{}) {
		had = got.Shared
	}
	settled := r.written(t.holder, t.hash(), got, had && !got.Created)
	r.stood(w.now())
	t.holder.note(r)
	if settled {
		t.holder.engine.wake(t.holder)
	}
	if r.drifted() { // by an event that came before the response, and was no drift then
		w.drifted(r)
	}
	return got.Version != t.version, nil
}

// retake applies an object that has a conflict, when that is about fields alone that the agent had before somebody changed them.
// Otherwise nothing is written, and the conflict is the error.
func retake(ctx context.Context, api *member.API, key bundle.Key, t task, body []byte, conflict error) (member.Written, error) {
	sent, left, known := t.holder.before(key, t.did.hash)
	if !known {
		return member.Written{}, conflict
	}
	found, err := api.Metadata(ctx, t.gvr, key)
	if err != nil {
		return member.Written{}, err
	}
	if found == nil || !sent.Retakes(conflict, left, found.GetManagedFields()) {
		return member.Written{}, conflict
	}
	return send(ctx, api, key, t, body, member.TakeOver)
}

// prune does to a package's object that is not wanted any more what is to become of it: nothing, when it has changed hands.
func (w *writer) prune(ctx context.Context, by *unit, r *record, end outgoing.Fate) error {
	r.busy.Lock()
	defer r.busy.Unlock()
	t := r.task()
	if t.holder != by {
		return nil
	}
	api, err := t.holder.api()
	if err != nil {
		return err
	}
	gvr, served, err := api.Locate(schema.GroupKind{Group: r.key.Group, Kind: r.key.Kind}) // it may have moved to another version
	if err != nil || !served {
		return err // nothing is left of a kind that the member does not have any more
	}
	label := t.holder.key.LabelValue()
	switch end {
	case outgoing.Kept:
		return api.Disown(ctx, gvr, r.key, t.did.uid, label)
	case outgoing.LetGo:
		return api.LetGo(ctx, gvr, r.key, t.did.uid, label)
	}
	return api.Delete(ctx, gvr, r.key, t.did.uid, label)
}

// drifted has an object put back, unless an attempt that failed is about to be repeated.
func (w *writer) drifted(r *record) {
	if w.queue.NumRequeues(r) == 0 {
		w.queue.Add(r)
	}
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
	if r.drifted() { // since the attempt, while failures held back what came
		w.queue.Add(r)
	}
	if !wrote {
		return
	}
	r.unit().repaired(r, cause, r.repaired(w.now()), w.now())
	for _, inside := range w.index.within(r.key) { // what could not be there without it
		if inside.drifted() {
			w.queue.Forget(inside)
			w.queue.Add(inside)
		}
	}
}
