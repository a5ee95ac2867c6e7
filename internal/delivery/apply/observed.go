package apply

import (
	"context"
	"errors"

	"umbel.dev/umbel/api/wire"
)

// The engine of a member that is observed writes nothing there, takes no order, and carries none out that it has: what packages put on
// the member before is watched, and what somebody changes of it is told and left. Another engine goes on when the member is attached
// again. (The agent gives this one a way to the API server by which nothing can be written, on top of that.)

// errObserved is why no order is taken.
var errObserved = errors.New("the cluster is observed: nothing is written there, so no package is taken, and none removed; `umbel level NAME attached` has that done")

// watched is what a package says of itself on a member that is observed.
const watched = "the cluster is observed: it is left as it is"

// observe watches what is applied of a package until the context ends.
func (u *unit) observe(ctx context.Context) {
	u.restore(ctx)
	o := u.asked()
	switch {
	case u.unreadable() != nil:
		u.fail(ctx, u.unreadable())
	case o.Removing:
		u.say(wire.PackageStatus_REMOVING, watched)
	case o.Next == nil && o.Current != nil:
		u.say(wire.PackageStatus_APPLIED, watched)
	default:
		u.say(wire.PackageStatus_APPLYING, watched)
	}
	<-ctx.Done()
}
