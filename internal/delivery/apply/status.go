package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/member"
)

// maxFailures is how many failures a status names; MemberCluster.status allows no more.
const maxFailures = 10

// standing is how the package is doing.
type standing struct {
	phase      wire.PackageStatus_Phase
	message    string
	refused    refusals
	waiting    bool              // another package has to do something first
	held       *wire.DeletesHeld // what a release would delete and may not
	repairs    int64
	last       *wire.LastRepair
	drifts     []*wire.Drift // the latest first
	recheck    *time.Timer   // looks at a fight again when it may be over
	unbelieved unbelieved    // what is not taken from the hub
}

func (u *unit) say(phase wire.PackageStatus_Phase, format string, args ...any) {
	u.mu.Lock()
	u.standing.phase, u.standing.message, u.standing.waiting = phase, fmt.Sprintf(format, args...), false
	u.mu.Unlock()
	u.engine.changed(u)
}

// begin tells that objects are being applied. While a failed release is tried again it stays failed.
func (u *unit) begin(objects int) {
	u.mu.Lock()
	failed := u.standing.phase == wire.PackageStatus_FAILED
	u.mu.Unlock()
	if !failed {
		u.say(wire.PackageStatus_APPLYING, "applying %s", v1alpha1.Counted(objects, "object"))
	}
}

// fail tells why a pass ended, unless it was interrupted: then another one begins at once.
func (u *unit) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	phase := wire.PackageStatus_FAILED
	switch {
	case u.asked().Removing:
		phase = wire.PackageStatus_REMOVING
	case errors.Is(err, errWaits):
		phase = wire.PackageStatus_APPLYING
	}
	if u.stands(phase, err) {
		u.log.Warn("package is not as it should be", "error", err)
	}
}

// stands says why a pass ended, and whether that is news.
func (u *unit) stands(phase wire.PackageStatus_Phase, err error) (news bool) {
	u.mu.Lock()
	news = u.standing.phase != phase || u.standing.message != err.Error()
	u.standing.phase, u.standing.message, u.standing.waiting = phase, err.Error(), errors.Is(err, errWaits)
	u.mu.Unlock()
	u.engine.changed(u)
	return news
}

// expect has the package looked at again when another one changes, until it next says how it stands.
func (u *unit) expect() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.standing.waiting = true
}

// waits says whether a change of another package may be what this one needs.
func (u *unit) waits() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.standing.waiting || len(u.standing.refused) > 0 || u.standing.held != nil
}

// holdsBack says which deletes wait for a word.
func (u *unit) holdsBack(release string, held *wire.DeletesHeld) {
	u.mu.Lock()
	news := !proto.Equal(u.standing.held, held)
	u.standing.held = held
	u.mu.Unlock()
	if !news {
		return
	}
	if held != nil {
		u.log.Warn("deletes wait for a word; everything else of the release is applied", "release", release,
			"objects", held.GetObjects(), "holds", held.GetHolds(), "allowed", held.GetAllowed(), "protected", held.GetProtected(),
			"broughtBack", held.GetKept(), "such as", held.GetNames(), "next", v1alpha1.ApproveDeletes(u.key))
	}
	u.engine.changed(u)
}

// repaired counts a repair that ended at now.
func (u *unit) repaired(r *record, cause string, fighting bool, now time.Time) {
	u.putBack(r.clueOf(now), cause, fighting, now)
}

// putBack tells of a drift that was put back at now.
func (u *unit) putBack(c *clue, cause string, fighting bool, now time.Time) {
	drift := c.drift
	defer u.engine.whose(u, c)
	if drift.Action = wire.Drift_REPAIRED; fighting {
		drift.Action = wire.Drift_FOUGHT
		u.log.Warn("object is undone again and again", "object", drift.Object, "cause", cause)
	}
	u.chronicles(c)
	u.mu.Lock()
	u.standing.repairs++
	u.standing.last = &wire.LastRepair{Object: drift.Object, Cause: cause}
	u.standing.drifts = withDrift(u.standing.drifts, drift)
	u.mu.Unlock()
	if fighting {
		u.engine.changed(u)
		return
	}
	u.engine.reports.drifted(u.key, now)
}

// stirred tells that an object fares differently than before. While a release is on its way that is progress.
func (u *unit) stirred() {
	poke(u.moved)
	u.mu.Lock()
	applying := u.standing.phase == wire.PackageStatus_APPLYING
	u.mu.Unlock()
	if applying {
		u.engine.reports.progressed(u.key)
		return
	}
	u.engine.changed(u)
}

// status is the state of the package now. While an object is in a fight, it will be looked at again.
func (u *unit) status(now time.Time) *wire.PackageStatus {
	contests := u.engine.contests(u)
	u.mu.Lock()
	defer u.mu.Unlock()
	s := &wire.PackageStatus{
		Package: string(u.key), Phase: u.standing.phase, Message: u.standing.message,
		Repairs: u.standing.repairs, LastRepair: u.standing.last, Drifts: u.standing.drifts,
		PolicyId: policyID(u.orders.now), DeletesHeld: u.standing.held, Contested: contests,
	}
	if r := u.standing.unbelieved; r.text != "" {
		s.Refused, s.Message = r.release, r.text
		if s.Phase == wire.PackageStatus_APPLIED || u.orders.now.Target() == nil {
			s.Phase = wire.PackageStatus_FAILED
		}
	}
	if t := u.orders.now.Target(); t != nil {
		s.Release, s.Revision, s.Digest = t.Release, t.Revision, t.Digest
	}
	var failures []*wire.Failure
	for _, f := range u.standing.refused {
		failures = append(failures, f.Failure)
	}
	if r := u.rules.Load(); r != nil && r.wrong != nil {
		failures = append(failures, &wire.Failure{Object: "Package " + string(u.key), Message: r.wrong.Error()})
	}
	failures = append(failures, u.engine.guards.failure(u.key)...)
	found := u.survey(s, now)
	failures = append(failures, found.failures...)
	slices.SortFunc(failures, func(a, b *wire.Failure) int {
		return cmp.Or(strings.Compare(a.Object, b.Object), strings.Compare(a.File, b.File))
	})
	s.Failures = failures[:min(len(failures), maxFailures)]
	if len(failures) > 0 && s.Phase == wire.PackageStatus_APPLIED {
		s.Message = amiss(int32(len(failures)), s.Objects) + " not as they should be"
	}
	if len(failures) == 0 && s.Message == "" {
		s.Message = found.word(s)
	}
	return s
}

// survey is what was found when the objects of a package were looked at.
type survey struct {
	failures []*wire.Failure
	again    time.Duration // in which to look again
	slow     []string      // what is not healthy yet, and why
	team     bool          // it hears of objects that it has written, and of no others
	kinds    map[schema.GroupVersionResource]bool
	latest   schema.GroupVersionResource // of kinds: most objects are of the same as the one before
}

// seen notes the kind of an object.
func (f *survey) seen(gvr schema.GroupVersionResource) {
	if gvr != f.latest {
		f.kinds[gvr], f.latest = true, gvr
	}
}

// amiss begins a sentence on some of the objects.
func amiss(some, all int32) string {
	return fmt.Sprintf("%d of %s %s", some, v1alpha1.Counted(all, "object"), v1alpha1.Agreeing(some, "is", "are"))
}

// word says in a sentence what a package waits for, though nothing of it failed.
func (f *survey) word(s *wire.PackageStatus) string {
	if len(f.slow) > 0 {
		return amiss(s.Objects-s.Healthy, s.Objects) + " not healthy yet: " + slices.Min(f.slow)
	}
	if s.Drifting > 0 {
		return fmt.Sprintf("%d of %s drifted and %s (drift is reported, not repaired)", s.Drifting, v1alpha1.Counted(s.Objects, "object"), v1alpha1.Agreeing(s.Drifting, "is left as it is", "are left as they are"))
	}
	return ""
}

// survey counts the objects of the package and returns what ails them; the caller holds mu.
func (u *unit) survey(s *wire.PackageStatus, now time.Time) *survey {
	found := &survey{kinds: map[schema.GroupVersionResource]bool{}}
	if u.content == nil {
		return found
	}
	found.team = u.orders.now.ActsAs != nil
	s.Objects = int32(len(u.content.Objects))
	u.engine.index.each(u, func(r *record) { r.report(s, u, found, now) })
	for gvr := range found.kinds {
		if err := u.engine.watches.broken(gvr); err != nil {
			found.failures = append(found.failures, &wire.Failure{
				Object: gvr.GroupResource().String(), Message: fmt.Sprintf("cannot be watched, so drift is not noticed: %s", err),
			})
		}
	}
	u.lookAgain(found.again)
	return found
}

// lookAgain has the status taken anew after d, unless d is 0; the caller holds mu.
func (u *unit) lookAgain(d time.Duration) {
	if u.standing.recheck != nil {
		u.standing.recheck.Stop()
		u.standing.recheck = nil
	}
	if d > 0 {
		u.standing.recheck = time.AfterFunc(d, func() { u.engine.changed(u) })
	}
}

// report adds the record to a status.
func (r *record) report(s *wire.PackageStatus, of *unit, found *survey, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holder != of {
		return
	}
	found.seen(r.gvr)
	if r.content == nil {
		return
	}
	// What waits to be deleted is looked after and not counted: it would stand for objects of the release that are not healthy.
	wanted := r.content == of.content
	if !wanted { // it was not claimed for this release yet, or is not in it
		_, wanted = of.content.Find(r.key)
	}
	if wanted && r.did.hash == r.want().hash && !r.is.Gone {
		s.Applied++
	}
	health, illness := r.health, r.why
	if found.team && !r.proven {
		health, illness = member.Health{}, ""
	}
	if wanted && health.OK() {
		s.Healthy++
	}
	if r.left() {
		s.Drifting++
	}
	why := ""
	switch {
	case r.failure != "":
		why = r.failure
	case r.bout.fighting(now):
		why = fmt.Sprintf("it is undone again and again (last by %s); the next repair waits up to %s", cmp.Or(r.is.By, "somebody who deletes it"), r.bout.pause())
		found.again = fightWindow
	case health.Broken():
		why = health.Message
		if illness != "" {
			why = illness + " (" + strings.TrimSuffix(health.Message, ".") + ")"
		}
	default:
		if illness != "" && !health.OK() {
			found.slow = append(found.slow, r.key.String()+": "+illness)
		}
		return
	}
	found.failures = append(found.failures, &wire.Failure{Object: r.key.String(), File: r.source.Source, Message: why})
}
