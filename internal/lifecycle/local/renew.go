package local

import (
	"time"

	"golang.org/x/sys/unix"

	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
)

// RenewPlane issues anew what is due of the certificates of a control plane, while it serves, and returns when the first of all ends.
func (l *Local) RenewPlane(h Hosted, now time.Time) (until time.Time, err error) {
	unlock, err := l.lockAs(h.Name, unix.LOCK_SH)
	if err != nil {
		return until, err
	}
	defer unlock()
	r, err := l.owned(h)
	if err != nil {
		return until, err
	}
	m := members{local: l, record: r}
	places, _, err := m.Look()
	if err != nil {
		return until, err
	}
	for _, p := range places {
		if !p.Runs {
			continue
		}
		plane, err := m.plane(p.Number)
		if err != nil {
			return until, err
		}
		ends, err := plane.Renew(now)
		if err != nil {
			return until, err
		}
		until = controlplane.Earliest(until, ends)
	}
	return until, nil
}

// RenewMachine is RenewPlane for a machine that is a node; zero for one that does not run.
func (l *Local) RenewMachine(h Hosted, node string, now time.Time) (until time.Time, err error) {
	unlock, err := l.lockAs(h.Name, unix.LOCK_SH)
	if err != nil {
		return until, err
	}
	defer unlock()
	r, err := l.owned(h)
	if err != nil {
		return until, err
	}
	m, ok := r.find(node)
	if !ok {
		return until, &NotFoundError{Name: node, Home: l.needs.Home}
	}
	return machine.RenewIn(r.member(l.dir(r.Name), m).dir, now)
}
