package trust

import (
	"fmt"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
)

// Pace is how fast a rotation goes by itself.
type Pace struct {
	// Announce is how long a new CA is announced at least: a hub that has just started has not heard of its members.
	Announce time.Duration
	// Patience is how long connected members that do not say that they keep it are waited for, when it is endorsed.
	Patience time.Duration
	// Overlap is how long what the old one issued is accepted. It is no shorter than the life of an agent's certificate.
	Overlap time.Duration
	// Renewal is the time over which agents renew after the switch.
	Renewal time.Duration
}

// DefaultPace is for a fleet of any size: ten thousand renewals in ten minutes are 17 a second, of less than
// a millisecond each.
var DefaultPace = Pace{Announce: time.Minute, Patience: time.Hour, Overlap: 24 * time.Hour, Renewal: 10 * time.Minute}

const (
	// warnCA is how long before its end a CA is warned of, and rotateCA when the hub rotates it by itself.
	warnCA   = 365 * 24 * time.Hour
	rotateCA = 182 * 24 * time.Hour
)

// operation is one step of a rotation.
type operation string

const (
	stay       operation = "stay"
	announce   operation = "announce"
	switchOver operation = "switch"
	retire     operation = "retire"
	cancel     operation = "cancel"
)

// standing is how things are: what Next decides on.
type standing struct {
	phase       v1alpha1.CAPhase
	since       time.Time
	compromised bool
	// end is when the CA that issues expires.
	end time.Time
	// answered is the ID of the last request that was answered.
	answered string
	// finishing says that Finish was asked for in this rotation.
	finishing bool

	request v1alpha1.CARequest
	// connected is how many members are, and behind how many of them do not keep the bundle of today; away is how many with a
	// pinned key are not connected, and do not keep it.
	connected, behind, away int
	// watched is since when this driver has counted.
	watched time.Time
}

// decision is what is to be done now.
type decision struct {
	op operation
	// compromised is the kind of the rotation that announce begins.
	compromised bool
	// answers says that the request is answered by it, and refused why nothing is done about it.
	answers, finish bool
	refused         string
	// until is when to decide again by the clock; zero when something else has to happen.
	until time.Time
}

// next decides on the next step.
func next(s standing, pace Pace, now time.Time) decision {
	if s.request.ID != "" && s.request.ID != s.answered {
		return answer(s)
	}
	switch s.phase {
	case v1alpha1.CAAnnounced:
		return fromAnnounced(s, pace, now)
	case v1alpha1.CASwitched:
		until := s.since.Add(pace.Overlap)
		if s.finishing || !now.Before(until) {
			return decision{op: retire}
		}
		return decision{op: stay, until: until}
	}
	if rotate := s.end.Add(-rotateCA); now.Before(rotate) {
		return decision{op: stay, until: rotate}
	}
	return decision{op: announce}
}

// answer decides on a request that is new.
func answer(s standing) decision {
	rotates := s.request.Action == v1alpha1.CARotate || s.request.Action == v1alpha1.CARotateCompromised
	compromised := s.request.Action == v1alpha1.CARotateCompromised
	no := func(format string, args ...any) decision {
		return decision{op: stay, answers: true, refused: fmt.Sprintf(format, args...)}
	}
	switch {
	case rotates && s.phase == v1alpha1.CAAnnounced:
		// One that goes on because of a stolen key after all has to tell the agents so from the start.
		if compromised && !s.compromised {
			return no("a rotation is announced already: `umbel ca rotate --cancel`, then begin one with --compromised")
		}
		return no("a rotation is announced already; `umbel ca status` says what it waits for")
	case rotates:
		// After a switch as well: the one before goes on being accepted for the overlap of the new rotation.
		return decision{op: announce, compromised: compromised, answers: true}
	case s.request.Action == v1alpha1.CAFinish && s.phase == v1alpha1.CASettled:
		return no("no rotation is under way")
	case s.request.Action == v1alpha1.CAFinish:
		return decision{op: stay, answers: true, finish: true}
	case s.request.Action == v1alpha1.CACancel && s.phase == v1alpha1.CAAnnounced:
		return decision{op: cancel, answers: true}
	case s.request.Action == v1alpha1.CACancel:
		return no("there is nothing to cancel: only a rotation that is announced and has not switched can be")
	}
	return no("the action %q is not known", s.request.Action)
}

func fromAnnounced(s standing, pace Pace, now time.Time) decision {
	if s.finishing {
		return decision{op: switchOver}
	}
	// Members are counted only by a driver that has been there long enough to have heard of them.
	begun := s.since
	if s.watched.After(begun) {
		begun = s.watched
	}
	if until := begun.Add(pace.Announce); now.Before(until) {
		return decision{op: stay, until: until}
	}
	if s.compromised && s.behind+s.away > 0 {
		return decision{op: stay} // who is left behind is left out, were it the whole fleet in an outage: that is a person's to say
	}
	if s.behind == 0 {
		return decision{op: switchOver}
	}
	until := s.since.Add(pace.Patience)
	if now.Before(until) {
		return decision{op: stay, until: until}
	}
	return decision{op: switchOver}
}
