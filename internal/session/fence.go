package session

import (
	"errors"

	"umbel.dev/umbel/api/wire"
)

// Fleet is what a hub tells its agents of the fleet.
type Fleet struct {
	// Name of the fleet.
	Name string
	// Epoch grows whenever the hub is restored from a backup.
	Epoch uint64
}

// ErrSuperseded: the hub was restored from a backup elsewhere, and the one at hand is the older copy.
var ErrSuperseded = errors.New("this hub was restored elsewhere since, and agents are with the restored one: end this one; " +
	"if it is to go on all the same, run `umbel join` for each cluster again")

// Fence remembers the highest epoch of an agent's hubs, so that an older copy of its hub that still runs, or runs again, takes
// nothing back.
type Fence interface {
	// Latest returns it; 0 when none was said. It does not block.
	Latest() uint64
	// Advance keeps a higher one. It is told at each session's begin, is idempotent, and keeps then what it could not before: an
	// agent is not kept out because its disk is full.
	Advance(epoch uint64)
	// Sealed says whether the hub has ever sealed what it said: from then on what is under no seal is not followed. It does
	// not block.
	Sealed() bool
	// Seals remembers that it did, as Advance keeps an epoch.
	Seals()
}

// latest returns what the agent says of the epoch.
func (a *agentEnd) latest() uint64 {
	if a.Fence == nil {
		return 0
	}
	return a.Fence.Latest()
}

// pass says whether the agent may be with the hub. One that says no epoch is of a version that knows none.
func (a *agentEnd) pass(welcome *wire.Welcome) error {
	if a.Fence == nil || welcome.Epoch == nil {
		return nil
	}
	if welcome.GetEpoch() < a.Fence.Latest() {
		return ErrSuperseded
	}
	a.Fence.Advance(welcome.GetEpoch())
	return nil
}

// obeys says whether the agent does what a hub wants of it that refuses it. One that says no epoch may be an older copy.
func (a *agentEnd) obeys(refusal *wire.Refusal) bool { return refusal.GetEpoch() >= a.latest() }
