package apply

import (
	"context"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// History yields what happened to objects since a time, as far back as it is kept, also before the agent was started; until yield
// returns an error or ctx ends. It names objects, fields and people, and no value.
func (e *Engine) History(ctx context.Context, since time.Time, yield func(v1alpha1.HistoryEntry) error) error {
	return e.history.Read(ctx, since, yield)
}

var actions = map[wire.Drift_Action]v1alpha1.DriftAction{
	wire.Drift_REPAIRED: v1alpha1.DriftRepaired, wire.Drift_REPORTED: v1alpha1.DriftReported, wire.Drift_FOUGHT: v1alpha1.DriftFought,
}

// chronicles writes a drift down.
func (u *unit) chronicles(c *clue) {
	entry := v1alpha1.HistoryEntry{Package: u.key, Drift: v1alpha1.Drift{
		Object: c.drift.Object, Action: actions[c.drift.Action], By: c.drift.By, Fields: c.drift.Fields, Deleted: c.drift.Deleted,
		Time: metav1.Unix(c.drift.Time, 0), Count: 1,
	}}
	if !u.engine.left(c, entry) {
		c.id = u.writeDown(entry)
	}
}

// leftOff is what drifted and was left when the process before ended.
type leftOff struct {
	mu      sync.Mutex
	objects map[string]v1alpha1.HistoryEntry // nil until somebody asks
}

// left says whether an entry is about what was left before this process began: whoever looks at the object for the first time finds it
// again, and that is no news. What happens to it later is.
func (e *Engine) left(c *clue, entry v1alpha1.HistoryEntry) bool {
	if entry.Action != v1alpha1.DriftReported {
		return false
	}
	e.leftOff.mu.Lock()
	defer e.leftOff.mu.Unlock()
	if !c.first {
		delete(e.leftOff.objects, entry.Object)
		return false
	}
	if e.leftOff.objects == nil {
		e.leftOff.objects = map[string]v1alpha1.HistoryEntry{}
		err := e.History(context.WithoutCancel(e.watches.life), time.Time{}, func(old v1alpha1.HistoryEntry) error {
			if old.Action == v1alpha1.DriftReported {
				e.leftOff.objects[old.Object] = old
			} else {
				delete(e.leftOff.objects, old.Object)
			}
			return nil
		})
		if err != nil {
			e.needs.Log.Warn("what drifted before the agent was started cannot be read: it is written down anew", "error", err)
		}
	}
	old, there := e.leftOff.objects[entry.Object]
	delete(e.leftOff.objects, entry.Object)
	return there && old.Package == entry.Package && old.Deleted == entry.Deleted && slices.Equal(old.Fields, entry.Fields) &&
		(!c.dated() || old.Time.Equal(&entry.Time))
}

// pruned writes down that an object was deleted.
func (u *unit) pruned(key bundle.Key, why because) {
	u.writeDown(v1alpha1.HistoryEntry{
		Package: u.key, Release: why.release.Release, Cause: v1alpha1.DeletionCause(why.cause), Deletion: why.deletion,
		Drift: v1alpha1.Drift{Object: key.String(), Action: v1alpha1.HistoryPruned, Deleted: true, Time: metav1.NewTime(u.engine.needs.Now()), Count: 1},
	})
}

// named writes down who did what an entry is about.
func (u *unit) named(id int64, user, by string) {
	if id == 0 {
		return
	}
	if err := u.engine.history.Name(id, user, by); err != nil {
		u.log.Warn("who did it is not in the history", "entry", id, "error", err)
	}
}

// writeDown returns the id of the entry, and none when it could not be written: that stops nothing.
func (u *unit) writeDown(entry v1alpha1.HistoryEntry) (id int64) {
	id, err := u.engine.history.Add(entry, u.engine.needs.Now())
	if err != nil {
		u.log.Warn("what happened to an object is not in the history", "object", entry.Object, "action", entry.Action, "error", err)
	}
	return id
}
