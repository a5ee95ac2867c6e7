package self

import (
	"fmt"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// Phase is how far an upgrade is.
type Phase string

// The phases, in order.
const (
	Rehearsing Phase = "Rehearsing"
	// Armed: a guard is being made, which will switch.
	Armed Phase = "Armed"
	// Switched: the new program is in the agent's place and has not proved itself.
	Switched   Phase = "Switched"
	Done       Phase = "Done"
	Failed     Phase = "Failed"
	RolledBack Phase = "RolledBack"
)

// Record is what the last upgrade has come to.
type Record struct {
	// Build, Image and Attempt are what the hub asked for.
	Build   string `json:"build"`
	Image   string `json:"image"`
	Attempt int64  `json:"attempt,omitempty"`

	Phase   Phase  `json:"phase"`
	Message string `json:"message,omitempty"`

	// From is the program that rehearsed it and takes its place again, FromImage its image when it is a pod's.
	From      string `json:"from"`
	FromImage string `json:"fromImage,omitempty"`
	// Installed is the program that is started by whoever starts an agent that runs as a process. When it is another one,
	// somebody installed it, and the record says nothing any more.
	Installed string `json:"installed,omitempty"`
	// Deadline is until when the new program has to have proved itself.
	Deadline time.Time `json:"deadline,omitzero"`
}

// underWay says whether somebody else, a guard or the new agent, has the next word.
func (r Record) underWay() bool { return r.Phase == Armed || r.Phase == Switched }

// is says whether the record is about an order.
func (r Record) is(order *wire.Upgrade) bool {
	return v1alpha1.SameProgram(r.Build, order.GetBuild()) && r.Attempt == order.GetAttempt()
}

// state is what the hub is told of a record.
func (r Record) state() *wire.UpgradeState {
	phase := map[Phase]wire.UpgradeState_Phase{
		Rehearsing: wire.UpgradeState_REHEARSING, Armed: wire.UpgradeState_SWITCHING, Switched: wire.UpgradeState_SWITCHING,
		Done: wire.UpgradeState_DONE, Failed: wire.UpgradeState_FAILED, RolledBack: wire.UpgradeState_ROLLED_BACK,
	}[r.Phase]
	if phase == wire.UpgradeState_PHASE_UNSPECIFIED {
		return nil
	}
	return &wire.UpgradeState{Build: r.Build, Attempt: r.Attempt, Phase: phase, Message: r.Message}
}

// step is what an agent does with an order.
type step string

const (
	nothing  step = "nothing"  // the record says it all
	arrived  step = "arrived"  // it is that program
	rehearse step = "rehearse" // a new upgrade begins
)

// weigh decides what an agent of the build self does with an order.
func weigh(order *wire.Upgrade, record Record, self string) step {
	switch {
	case v1alpha1.SameProgram(order.GetBuild(), self):
		return arrived
	case record.underWay():
		return nothing // another order waits until this one has ended
	case record.is(order) && (record.Phase == Failed || record.Phase == RolledBack):
		return nothing
	}
	return rehearse
}

// lost says whether an upgrade that is under way was given up by those who had the next word: the agent before it is still
// there, or there again, and the time is long over.
func lost(record Record, self string, now time.Time) bool {
	const grace = 30 * time.Second
	return record.underWay() && !v1alpha1.SameProgram(record.Build, self) && now.After(record.Deadline.Add(grace))
}

// Verdict is what a guard comes to.
type Verdict struct {
	// Do is what the guard does; Why is the message when it gives up.
	Do  Deed
	Why string
}

// Deed is what a guard does next.
type Deed string

// The deeds.
const (
	Wait     Deed = "wait"
	Leave    Deed = "leave"    // nothing is left to guard
	Switch   Deed = "switch"   // put the new program in the agent's place
	RollBack Deed = "rollback" // put the old one back
	Yield    Deed = "yield"    // somebody changed the image: that is their decision
)

// Sight is what a guard sees of the agent.
type Sight struct {
	// Image is the Deployment's.
	Image string
	// Restarts is how often the container of its pod was started again, Ended how its last life ended, and Waits why it
	// does not run.
	Restarts int32
	Ended    string
	Waits    string
	// Unpullable says that its image cannot be had.
	Unpullable bool
}

// maxRestarts is how often a new program may end before it has proved itself: once may be the node's fault.
const maxRestarts = 2

// Judge decides what the guard of a pod does.
func Judge(record Record, seen Sight, now time.Time) Verdict {
	late := now.After(record.Deadline)
	switch {
	case record.Phase == Armed && late:
		return Verdict{RollBack, "its guard began too late"}
	case record.Phase == Armed && seen.Image != record.FromImage:
		return Verdict{Yield, fmt.Sprintf("somebody gave the agent the image %s meanwhile", seen.Image)}
	case record.Phase == Armed:
		return Verdict{Do: Switch}
	case record.Phase != Switched:
		return Verdict{Do: Leave}
	case seen.Image != record.Image:
		return Verdict{Yield, fmt.Sprintf("somebody gave the agent the image %s meanwhile", seen.Image)}
	case seen.Restarts > maxRestarts:
		return Verdict{RollBack, fmt.Sprintf("the new agent ended %d times before it was in session: %s", seen.Restarts, seen.Ended)}
	case late && seen.Waits != "":
		return Verdict{RollBack, "the new agent did not run in time: " + seen.Waits}
	case late && seen.Ended != "":
		return Verdict{RollBack, "the new agent was not in session in time; it ended: " + seen.Ended}
	case late:
		return Verdict{RollBack, "the new agent was not in session in time"}
	}
	return Verdict{Do: Wait}
}

// Course is what a program does that was started as an agent.
type Course string

// The courses.
const (
	// Here: it is the agent.
	Here Course = "here"
	// Become: another program is, and takes its place.
	Become Course = "become"
	// Guard: it runs another program and watches it.
	Guard Course = "guard"
)

// Begin decides what a program of the build self does that was started as an agent of a process. The second result is the
// build that it becomes or guards.
func Begin(record Record, self string) (Course, string) {
	is := func(build string) bool { return v1alpha1.SameProgram(build, self) }
	proven := record.From
	if record.Phase == Done {
		proven = record.Build
	}
	switch {
	case record == (Record{}):
		return Here, ""
	case is(record.Installed) && !is(proven):
		return Become, proven
	case is(record.From) && record.underWay():
		return Guard, record.Build
	}
	return Here, ""
}
