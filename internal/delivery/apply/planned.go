package apply

import (
	"context"
	"fmt"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/apply/disk"
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
	again := v1alpha1.SavePlan(u.key)
	planned := u.policy().GetPlanned()
	if len(planned) != len((&preview.Preview{}).Hash()) {
		return fmt.Errorf("release %s was not begun: no plan says what it changes on this cluster, and %s", target.Release, again)
	}
	found, err := u.foresee(ctx, c)
	if err != nil {
		return fmt.Errorf("looking at what release %s would change: %w", target.Release, err)
	}
	if len(found.Unknown) > 0 {
		return fmt.Errorf("release %s was not begun: what it would change cannot be seen as a whole: %s", target.Release, found.Unknown[0])
	}
	if found.Hash() != planned {
		return fmt.Errorf("release %s was not begun: the cluster is not as it was when its plan was made, and it would %s now; when that is right, %s",
			target.Release, inWords(found.Changes), again)
	}
	return u.begun(target)
}

// foresee says what a content would change, as far as whom the package acts as may see it.
func (u *unit) foresee(ctx context.Context, c *disk.Content) (*preview.Preview, error) {
	var objects []preview.Object
	for _, o := range c.Objects {
		body, err := c.Body(o)
		if err != nil {
			return nil, err
		}
		objects = append(objects, preview.Object{ID: o.ID, File: o.Source, Body: body, TakeOver: o.TakeOver, Sealed: o.Sealed()})
	}
	api, err := u.api()
	if err != nil {
		return nil, err
	}
	foresight, err := preview.Open(api.Config())
	if err != nil {
		return nil, fmt.Errorf("preparing the client that looks ahead: %w", err)
	}
	return foresight.Of(ctx, preview.NewContent(u.key, objects))
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
	if err := u.folder.WriteOrder(o); err != nil {
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
		text += fmt.Sprintf(" and do %d things more", more)
	}
	return text
}
