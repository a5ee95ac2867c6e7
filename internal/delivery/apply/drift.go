package apply

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/fields"
	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/apply/witness"
)

const (
	// maxDrifts is how many drifts of a package are told; MemberCluster.status allows no more.
	maxDrifts = 10
	// maxDriftFields is how many fields of one are named.
	maxDriftFields = 4
	// maxDescribed is the size of an object up to which it is found out which of its fields drifted.
	maxDescribed = 64 << 10
)

// clue is what is known of a drift, and what the audit log may be asked about it.
type clue struct {
	drift    *wire.Drift
	question witness.Question
	first    bool  // it was there when the object was looked at for the first time, and may have been before
	id       int64 // in the history; none before it is there
}

// dated says whether the object itself tells since when it is so; otherwise the time is that at which it was noticed.
func (c *clue) dated() bool { return c.question.Manager != "" }

// suspect notes what an event tells at now of a drift, before the repair takes its traces away. Without the object's metadata that
// is little.
func (r *record) suspect(object metav1.Object, is member.Seen, now time.Time) {
	c := r.describe(object, is, now)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.clue != nil && !c.drift.Deleted && len(c.drift.Fields) == 0 {
		return // an echo of the repair itself
	}
	r.clue = c
}

// clueOf takes what is known of the drift that was repaired at now.
func (r *record) clueOf(now time.Time) *clue {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.clue
	r.clue = nil
	if c == nil {
		c = &clue{drift: &wire.Drift{Object: r.key.String()}}
	}
	if c.drift.Time == 0 {
		c.drift.Time = now.Unix()
	}
	return c
}

// asks is what the audit log may be asked about a drift that was noticed at now.
func (r *record) asks(object metav1.Object, gone bool, now time.Time) witness.Question {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := witness.Question{Place: placeOf(r.gvr, r.key), Deleted: gone, UID: r.did.uid, Since: r.seen, Noticed: now}
	if gone && object != nil {
		q.Labels = object.GetLabels()
	}
	return q
}

// describe says of a drift that was noticed at now as much as the object's managedFields do: which fields of ours somebody else has
// now, who, and since when. It reads the object as the source has it from the disk, and nothing from the API server.
func (r *record) describe(object metav1.Object, is member.Seen, now time.Time) *clue {
	c := &clue{drift: &wire.Drift{Object: r.key.String(), Deleted: is.Gone}, question: r.asks(object, is.Gone, now)}
	if is.Gone || object == nil {
		return c
	}
	c.drift.By = is.By
	t := r.task()
	if t.content == nil || t.source.Size() > maxDescribed {
		return c
	}
	body, err := t.content.Body(t.source)
	if err != nil {
		return c
	}
	source, err := fields.Decode(body)
	if err != nil {
		return c
	}
	if t.rule.ignores() { // we have none of it, and nothing of it is a drift
		if _, err := t.rule.left.Rest(source, object.GetManagedFields()); err != nil {
			return c
		}
	}
	if blame(c.drift, source, object.GetManagedFields()) {
		c.question.Manager = c.drift.By
	}
	return c
}

// blame finds the fields of a source that our entry has no more, and who has them: the latest of those who have one. What
// nobody has was taken away by whoever changed the object last, as far as managed fields tell: owned says that somebody has one.
func blame(drift *wire.Drift, source map[string]any, entries []metav1.ManagedFieldsEntry) (owned bool) {
	var mine fields.Entry
	for _, entry := range entries {
		if fields.IsOurs(entry) && entry.FieldsV1 != nil {
			mine, _ = fields.ParseEntry(entry.FieldsV1.GetRawBytes())
		}
	}
	lost := mine.Lost(source)
	taken := map[string]bool{}
	latest := time.Time{}
	for _, entry := range entries {
		if fields.IsOurs(entry) || entry.FieldsV1 == nil || entry.Time == nil {
			continue
		}
		theirs, err := fields.ParseEntry(entry.FieldsV1.GetRawBytes())
		if err != nil {
			continue
		}
		for _, field := range lost {
			if !theirs.Owns(source, field) {
				continue
			}
			taken[field] = true
			if !entry.Time.Time.Before(latest) {
				latest, drift.By, drift.Time = entry.Time.Time, entry.Manager, entry.Time.Unix()
			}
		}
	}
	if len(taken) > 0 {
		lost = slices.DeleteFunc(lost, func(field string) bool { return !taken[field] })
	}
	drift.Fields = lost[:min(len(lost), maxDriftFields)]
	return len(taken) > 0
}

// reported tells of a drift that was noticed at now, and is left.
func (u *unit) reported(c *clue, now time.Time) {
	drift := c.drift
	drift.Action, drift.Time = wire.Drift_REPORTED, cmp.Or(drift.Time, now.Unix())
	u.log.Warn("object drifted and is left, as its drift mode says", "object", drift.Object, "by", drift.By, "fields", drift.Fields, "deleted", drift.Deleted)
	u.chronicles(c)
	u.mu.Lock()
	u.standing.drifts = withDrift(u.standing.drifts, drift)
	u.mu.Unlock()
	u.engine.reports.drifted(u.key, now)
	u.engine.whose(u, c)
}

// withDrift returns the list with one drift more, the latest first. The same again counts, and takes no place of its own. The
// list that was told is not changed.
func withDrift(list []*wire.Drift, drift *wire.Drift) []*wire.Drift {
	drift.Count = 1
	after := []*wire.Drift{drift}
	for _, each := range list {
		if same(each, drift) {
			drift.Count += each.Count
			continue
		}
		after = append(after, each)
	}
	return after[:min(len(after), maxDrifts)]
}

// same says whether one drift is the other again.
func same(a, b *wire.Drift) bool {
	return a.Object == b.Object && a.By == b.By && a.User == b.User && a.Deleted == b.Deleted && slices.Equal(a.Fields, b.Fields)
}

// withName returns the list with a drift of it that somebody has a name for. The list that was told is not changed.
func withName(list []*wire.Drift, drift *wire.Drift, name func(*wire.Drift)) []*wire.Drift {
	i := slices.Index(list, drift)
	if i < 0 {
		return list // others took its place
	}
	named := proto.CloneOf(drift)
	name(named)
	after := append(slices.Clone(list[:i]), named)
	for _, each := range list[i+1:] {
		if same(each, named) {
			named.Count += each.Count
			continue
		}
		after = append(after, each)
	}
	return after
}
