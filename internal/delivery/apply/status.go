package apply

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/wire"
)

// maxFailures is how many failures a status names; MemberCluster.status allows no more.
const maxFailures = 10

// status is the state of the package now. While an object is in a fight, it will be looked at again.
func (u *unit) status(now time.Time) *wire.PackageStatus {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := &wire.PackageStatus{
		Package: string(u.key), Phase: u.phase, Message: u.message, Repairs: u.repairs.count, LastRepair: u.repairs.last,
	}
	if t := u.order.target(); t != nil {
		s.Release, s.Revision, s.Digest = t.Release, t.Revision, t.Digest
	}
	var failures []*wire.Failure
	for _, f := range u.refused {
		failures = append(failures, f)
	}
	var again time.Duration
	kinds := map[schema.GroupVersionResource]bool{}
	if c := u.content; c != nil {
		s.Objects = int32(len(c.objects))
		for key := range u.inventory {
			if r := u.engine.index.get(key); r != nil && r.heldBy(u.key) {
				again = max(again, r.report(s, &failures, now))
				kinds[r.at().gvr] = true
			}
		}
	}
	for gvr := range kinds {
		if err := u.engine.watches.broken(gvr); err != nil {
			failures = append(failures, &wire.Failure{
				Object: gvr.GroupResource().String(), Message: fmt.Sprintf("cannot be watched, so drift is not noticed: %s", err),
			})
		}
	}
	slices.SortFunc(failures, func(a, b *wire.Failure) int {
		return strings.Compare(a.Object, b.Object)
	})
	s.Failures = failures[:min(len(failures), maxFailures)]
	if len(failures) > 0 && s.Phase == wire.PackageStatus_APPLIED {
		s.Message = fmt.Sprintf("%d of %d objects are not as they should be", len(failures), s.Objects)
	}
	u.lookAgain(again)
	return s
}

// lookAgain has the status taken anew after d, unless d is 0; the caller holds mu.
func (u *unit) lookAgain(d time.Duration) {
	if u.recheck != nil {
		u.recheck.Stop()
		u.recheck = nil
	}
	if d > 0 {
		u.recheck = time.AfterFunc(d, func() { u.engine.changed(u) })
	}
}

// report adds the record to a status.
func (r *record) report(s *wire.PackageStatus, failures *[]*wire.Failure, now time.Time) (again time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.want.present {
		return 0
	}
	if r.did.hash == r.want.hash && !r.is.gone {
		s.Applied++
	}
	if r.health.ok() {
		s.Healthy++
	}
	why := ""
	switch {
	case r.failure != "":
		why = r.failure
	case r.bout.fighting(now):
		why = fmt.Sprintf("it is undone again and again (last by %s); the next repair waits up to %s", cmp.Or(r.is.by, "somebody who deletes it"), r.bout.pause())
		again = fightWindow
	case r.health.broken():
		why = r.health.message
	default:
		return 0
	}
	*failures = append(*failures, &wire.Failure{Object: r.key.String(), File: r.source.source, Message: why})
	return again
}
