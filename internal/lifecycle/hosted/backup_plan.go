package hosted

import (
	"fmt"
	"time"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/snapshot"
)

// backupPlan is what is to be done of a ClusterBackup now.
type backupPlan struct {
	snapshot, drill bool
	// at is when the next snapshot is due by the schedule, and drillAt the next drill; zero for never.
	at, drillAt time.Time
}

// planBackup says what is due of a ClusterBackup.
func planBackup(object *infra.ClusterBackup, now time.Time) (p backupPlan, err error) {
	spec, status := object.Spec, object.Status
	offset := time.Duration(0)
	if spec.Jitter != nil {
		offset = snapshot.Offset(string(object.UID), spec.Jitter.Duration)
	}
	last := object.CreationTimestamp.Time
	if len(status.Snapshots) > 0 && status.Snapshots[0].Time.After(last) {
		last = status.Snapshots[0].Time.Time
	}
	if p.at, err = due("spec.schedule", spec.Schedule, last, offset); err != nil {
		return p, err
	}
	drilled := object.CreationTimestamp.Time
	if status.Drill != nil {
		drilled = status.Drill.Time.Time
	}
	if p.drillAt, err = due("spec.drillSchedule", spec.DrillSchedule, drilled, offset); err != nil {
		return p, err
	}
	p.snapshot = reached(p.at, now) || object.Annotations[infra.BackupAnnotation] != status.Requested
	answered := ""
	if status.Drill != nil {
		answered = status.Drill.Requested
	}
	p.drill = reached(p.drillAt, now) || object.Annotations[infra.DrillAnnotation] != answered
	return p, nil
}

func due(field, schedule string, last time.Time, offset time.Duration) (time.Time, error) {
	if schedule == "" {
		return time.Time{}, nil
	}
	parsed, err := snapshot.ParseSchedule(schedule)
	if err != nil {
		return time.Time{}, &refusal{fmt.Sprintf("%s: %v", field, err)}
	}
	return snapshot.Due(parsed, last, offset), nil
}

func reached(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// wait is how long there is nothing to do.
func (p backupPlan) wait(now time.Time) time.Duration {
	after := relist
	for _, at := range []time.Time{p.at, p.drillAt} {
		if !at.IsZero() {
			after = min(after, max(soon, at.Sub(now)))
		}
	}
	return after
}
