package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
	"umbel.dev/umbel/internal/delivery/preview"
)

// mayGoOn says whether the release that comes next may be applied without a look at what it would change: nobody asked for
// one, or it was found good before its first write.
func (u *unit) mayGoOn(o disk.Order) bool {
	return u.policy().GetPlanned() == "" || o.Begun == o.Next.Digest
}

// asPlanned sees to it that a new release changes just what somebody has seen that it would, where that is asked for. It is
// looked at once, before the first write: from then on the member is not as it was, and that is our doing.
func (u *unit) asPlanned(ctx context.Context, target disk.Release, c *disk.Content) error {
	o := u.asked()
	if o.Next == nil || *o.Next != target || u.mayGoOn(o) {
		return nil
	}
	again := v1alpha1.SavePlan(u.key, target.Release)
	policy := u.policy()
	planned := policy.GetPlanned()
	if len(planned) != len((&preview.Preview{}).Hash()) {
		return fmt.Errorf("release %s was not begun: no plan says what it changes on this cluster, and %s", target.Release, again)
	}
	if err := u.refused.again(target.Digest, policyID(o), u.engine.needs.Now()); err != nil {
		return err
	}
	sight, err := u.engine.cast.sight(u.account())
	if err != nil {
		return err
	}
	var wrong error
	for range 2 { // what was found a moment ago says no to nothing
		found, err := u.foresee(ctx, sight, c)
		if err != nil {
			return fmt.Errorf("looking at what release %s would change: %w", target.Release, err)
		}
		if wrong = u.differs(target, found, policy); wrong == nil {
			return u.begun(target)
		}
		sight.Forget()
	}
	u.refused = refusedPlan{digest: target.Digest, policy: policyID(o), err: wrong, until: u.engine.needs.Now().Add(planAgain)}
	return wrong
}

// differs says in what a release would do anything else than somebody has seen.
func (u *unit) differs(target disk.Release, found *preview.Preview, policy *wire.Policy) error {
	if len(found.Unknown) > 0 {
		return fmt.Errorf("release %s was not begun: what it would change cannot be seen as a whole: %s", target.Release, found.Unknown[0])
	}
	if found.Hash() != policy.GetPlanned() || !within(found.Deletes(), policy.GetPlannedDeletes()) {
		return fmt.Errorf("release %s was not begun: the cluster is not as it was when its plan was made, and it would %s now; when that is right, %s",
			target.Release, inWords(found.Changes), v1alpha1.SavePlan(u.key, target.Release))
	}
	return nil
}

func within(objects, allowed []string) bool {
	return !slices.ContainsFunc(objects, func(o string) bool { return !slices.Contains(allowed, o) })
}

// planAgain is how long a refused plan is not looked at again: that is a request for each object, or two.
const planAgain = 5 * time.Minute

// refusedPlan is the plan that was refused last.
type refusedPlan struct {
	digest, policy string
	err            error
	until          time.Time
}

// again says that a plan was refused lately, and why.
func (r *refusedPlan) again(digest, policy string, now time.Time) error {
	if r.err != nil && r.digest == digest && r.policy == policy && now.Before(r.until) {
		return r.err
	}
	return nil
}

// foresee says what a content would change, as far as whom the package acts as may see it. Of what it would add a few objects are tried: whoever
// saved the plan had all of them tried.
func (u *unit) foresee(ctx context.Context, sight *preview.Member, c *disk.Content) (*preview.Preview, error) {
	var objects []preview.Object
	for _, o := range c.Objects {
		objects = append(objects, preview.Object{ID: o.ID, File: o.Source, Read: func() (outgoing.Object, error) { return c.Outgoing(o) }})
	}
	content, err := preview.NewContent(u.key, objects)
	if err != nil {
		return nil, err
	}
	return sight.Of(ctx, content.Holding(u.held()).Under(u.takeUp().left).Trusting())
}

// held is what the package has on the member, as one who looks ahead wants to know it.
func (u *unit) held() map[bundle.Key]preview.Held {
	held := map[bundle.Key]preview.Held{}
	for key, it := range u.snapshot() {
		held[key] = preview.Held{UID: it.UID, Adopted: it.Adopted, Sent: func() (outgoing.Object, *outgoing.Left, bool) { return u.before(key, it.Hash) }}
	}
	return held
}

// lookAhead keeps what a release that is not begun would have, so that other packages need not wait to know it.
func (u *unit) lookAhead(c *disk.Content) {
	u.mu.Lock()
	news := u.orders.ahead != c
	u.orders.ahead = c
	u.mu.Unlock()
	if news {
		u.engine.wake(u)
	}
}

// begun keeps that a release was found good, before anything of it is written.
func (u *unit) begun(target disk.Release) error {
	u.folder.Lock()
	defer u.folder.Unlock()
	o := u.asked()
	if o.Next == nil || *o.Next != target {
		return nil // something newer has been asked for meanwhile
	}
	o.Begun = target.Digest
	if err := u.write(o); err != nil {
		return fmt.Errorf("storing the order: %w", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.orders.now = o
	return nil
}

// inWords names a few changes.
func inWords(changes []preview.Change) string {
	if len(changes) == 0 {
		return "change nothing"
	}
	var few []string
	for _, c := range changes[:min(len(changes), 3)] {
		few = append(few, string(c.Action)+" "+c.Object)
	}
	text := strings.Join(few, ", ")
	if more := len(changes) - len(few); more > 0 {
		text += fmt.Sprintf(" and do %s more", v1alpha1.Counted(more, "thing"))
	}
	return text
}
