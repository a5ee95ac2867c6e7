package apply

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/fields"
	"umbel.dev/umbel/internal/delivery/apply/member"
)

const (
	// maxDrifts is how many drifts of a package are told; MemberCluster.status allows no more.
	maxDrifts = 10
	// maxDriftFields is how many fields of one are named.
	maxDriftFields = 4
	// maxDescribed is the size of an object up to which it is found out which of its fields drifted.
	maxDescribed = 64 << 10
)

// suspect notes what an event tells of a drift, before the repair takes its traces away. Without the object's metadata that
// is little.
func (r *record) suspect(object metav1.Object, is member.Seen) {
	clue := r.describe(object, is)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.clue != nil && !clue.Deleted && len(clue.Fields) == 0 {
		return // an echo of the repair itself
	}
	r.clue = clue
}

// clueOf takes what is known of the drift that was repaired at now.
func (r *record) clueOf(now time.Time) *wire.Drift {
	r.mu.Lock()
	defer r.mu.Unlock()
	clue := r.clue
	r.clue = nil
	if clue == nil {
		clue = &wire.Drift{Object: r.key.String()}
	}
	if clue.Time == 0 {
		clue.Time = now.Unix()
	}
	return clue
}

// describe says of a drift as much as the object's managedFields do: which fields of ours somebody else has now, who, and
// since when. It reads the object as the source has it from the disk, and nothing from the API server.
func (r *record) describe(object metav1.Object, is member.Seen) *wire.Drift {
	drift := &wire.Drift{Object: r.key.String(), Deleted: is.Gone}
	if is.Gone || object == nil {
		return drift
	}
	drift.By = is.By
	t := r.task()
	if t.content == nil || t.source.Size() > maxDescribed {
		return drift
	}
	body, err := t.content.Body(t.source)
	if err != nil {
		return drift
	}
	source, err := fields.Decode(body)
	if err != nil {
		return drift
	}
	blame(drift, source, object.GetManagedFields())
	return drift
}

// blame finds the fields of a source that our entry has no more, and who has them: the latest of those who have one. What
// nobody has was taken away by whoever changed the object last.
func blame(drift *wire.Drift, source map[string]any, entries []metav1.ManagedFieldsEntry) {
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
}

// reported tells of a drift that is left.
func (u *unit) reported(r *record, object metav1.Object, is member.Seen) {
	drift := r.describe(object, is)
	drift.Action = wire.Drift_REPORTED
	drift.Time = cmp.Or(drift.Time, u.engine.needs.Now().Unix())
	u.log.Warn("object drifted and is left, as its drift mode says", "object", drift.Object, "by", drift.By, "fields", drift.Fields, "deleted", drift.Deleted)
	u.mu.Lock()
	u.standing.drifts = withDrift(u.standing.drifts, drift)
	u.mu.Unlock()
	u.engine.changed(u)
}

// withDrift returns the list with one drift more, the latest first. The same again counts, and takes no place of its own. The
// list that was told is not changed.
func withDrift(list []*wire.Drift, drift *wire.Drift) []*wire.Drift {
	drift.Count = 1
	after := []*wire.Drift{drift}
	for _, each := range list {
		if each.Object == drift.Object && each.By == drift.By && each.Deleted == drift.Deleted && slices.Equal(each.Fields, drift.Fields) {
			drift.Count += each.Count
			continue
		}
		after = append(after, each)
	}
	return after[:min(len(after), maxDrifts)]
}
