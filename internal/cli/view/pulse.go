package view

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"umbel.dev/umbel/internal/cli/output"
)

// Pulse is the hub's last sign of life: the Lease that it renews every few seconds. The zero Pulse is that of a hub
// that was never heard of.
type Pulse struct {
	// Heard is when the hub renewed its Lease last; zero when it never did or when that is not known.
	Heard time.Time
	// Lasts is how long that is good for.
	Lasts time.Duration
	// Problem says why the Lease could not be read. It is empty when it was read, or does not exist.
	Problem string
}

// PulseOf reads the sign of life from a Lease.
func PulseOf(lease *coordinationv1.Lease) Pulse {
	var p Pulse
	if lease.Spec.RenewTime != nil {
		p.Heard = lease.Spec.RenewTime.Time
	}
	if lease.Spec.LeaseDurationSeconds != nil {
		p.Lasts = time.Duration(*lease.Spec.LeaseDurationSeconds) * time.Second
	}
	return p
}

// Alive says whether the hub was heard of lately.
func (p Pulse) Alive(now time.Time) bool {
	return !p.Heard.IsZero() && !now.After(p.Ends())
}

// Ends is when the sign of life is too old.
func (p Pulse) Ends() time.Time { return p.Heard.Add(p.Lasts) }

// Warning says how old statuses are, or nothing when the hub is alive.
func (p Pulse) Warning(now time.Time) string {
	switch {
	case p.Problem != "":
		return "whether the hub is alive is not known: " + p.Problem + "; statuses may be of any age"
	case p.Heard.IsZero():
		return "the hub has never been heard of; statuses may be of any age: is it running? `umbel up` starts it"
	case !p.Alive(now):
		return "the hub has not been heard of for " + output.Age(p.Heard, now) + "; statuses are as old as that: is it running? `umbel up` starts it"
	}
	return ""
}
