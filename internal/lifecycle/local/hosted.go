package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
)

// Hosted is a cluster that is made of its parts, one by one, by somebody who keeps them going: first a place, then the control
// plane in a machine without a node, then machines that are nodes.
type Hosted struct {
	Name string
	// Owner tells this cluster from others of the same name. Whoever names another one is refused.
	Owner string
	// Ranges are the addresses that are asked for. They are looked at when the place is claimed, and at no other time.
	Ranges Ranges
	// Enrolment is how machines come to be nodes that are made elsewhere. It is looked at when the place is claimed, and at no other time.
	Enrolment controlplane.Enrolment
	// Version of Kubernetes that what is raised is to run, one of Versions; empty for the hub's own.
	Version string
	// Members is how many the control plane is to have, 1 or 3. It is looked at when that is raised, and at no other time.
	Members int
	// Copied says that it is to begin with another cluster's snapshot, whose Services have their addresses already. Ranges of Services
	// are seen inside of a cluster only: two may have the same. It is looked at when the place is claimed, and at no other time.
	Copied bool
	// Labels and Taints are those of the Node of a machine that is raised, from before its kubelet is there. A Node that is there already
	// keeps what it has.
	Labels map[string]string
	Taints []corev1.Taint
	// ProviderID is by what the Node of a machine is known that somebody else asked for than our own provider; empty for ProviderID of it.
	ProviderID string
	// Begun says that the control plane has served before, whatever is left of it here: one that has is never begun anew.
	Begun bool
}

// OwnedError says that a cluster is somebody else's.
type OwnedError struct{ Name, Owner string }

func (e *OwnedError) Error() string {
	if e.Owner == "" {
		return fmt.Sprintf("the name %q is taken: this computer has a cluster that `umbel local` made: take another name, or `umbel local delete %s`", e.Name, e.Name)
	}
	return fmt.Sprintf("the local cluster %q is that of the Cluster %s: `umbel cluster` changes it", e.Name, e.Owner)
}

// Claim gives the cluster its place: a name and addresses that no other cluster of this computer has. It may be repeated.
func (l *Local) Claim(ctx context.Context, h Hosted) (Ranges, error) {
	if err := (Spec{Name: h.Name}).Validate(); err != nil {
		return Ranges{}, err
	}
	if err := h.Ranges.Validate(); err != nil {
		return Ranges{}, err
	}
	if err := CheckNodes(); err != nil {
		return Ranges{}, err
	}
	if err := l.checkBalancer(h.Ranges); err != nil {
		return Ranges{}, err
	}
	if err := ctx.Err(); err != nil {
		return Ranges{}, err
	}
	if err := os.MkdirAll(l.dir(h.Name), 0o755); err != nil {
		return Ranges{}, fmt.Errorf("making the folder of cluster %q: %w", h.Name, err)
	}
	unlock, err := l.lockAs(h.Name, unix.LOCK_SH) // the root's lock keeps two claims apart
	if err != nil {
		return Ranges{}, err
	}
	defer unlock()
	r, err := l.ensureRecord(record{Name: h.Name, Owner: h.Owner, Ranges: h.Ranges, Enrolment: h.Enrolment, Copied: h.Copied})
	if err != nil {
		_ = os.Remove(l.dir(h.Name)) // fails unless we made it just now, and it is empty
		return Ranges{}, err
	}
	if r.Owner != h.Owner {
		return Ranges{}, &OwnedError{Name: r.Name, Owner: r.Owner}
	}
	return Ranges{Pods: r.pods(), Services: r.services(), Balancer: r.balancer()}, nil
}

// owned returns the record of a cluster that has its place, and is h's.
func (l *Local) owned(h Hosted) (record, error) {
	r, err := l.record(h.Name)
	if err == nil && r.Owner != h.Owner {
		err = &OwnedError{Name: r.Name, Owner: r.Owner}
	}
	return r, err
}

// ProviderID is by what the Node of a machine is known.
func ProviderID(cluster, node string) string { return "umbel://" + cluster + "/" + node }

// RaiseMachine brings a machine up whose node has that name, whatever is left of it, and returns its address when its kubelet has
// been started. The control plane must serve.
func (l *Local) RaiseMachine(ctx context.Context, h Hosted, node string) (Machine, error) {
	unlock, err := l.lockAs(h.Name, unix.LOCK_SH) // machines are raised side by side
	if err != nil {
		return Machine{}, err
	}
	defer unlock()
	r, err := l.owned(h)
	if err != nil {
		return Machine{}, err
	}
	client, err := l.clientOf(r)
	if err != nil {
		return Machine{}, err
	}
	p, err := l.admit(h, node)
	if err != nil {
		return Machine{}, err
	}
	raise := &raising{local: l, place: p, main: r.place(l.dir(r.Name), 0), version: h.Version, labels: h.Labels, taints: h.Taints, providerID: h.ProviderID}
	made, err := raise.register(ctx, client)
	if err != nil {
		return Machine{}, err
	}
	if made { // a kubelet that runs says who it is at its start only, and the control plane knows of none: it was restored
		if err := p.end(ctx, unix.SIGTERM); err != nil {
			return Machine{}, fmt.Errorf("ending the machine of node %s: %w", node, err)
		}
	}
	if pid, err := machine.PID(p.dir); err != nil || pid == 0 {
		if err := errors.Join(err, checkWatches()); err != nil {
			return Machine{}, err
		}
	}
	if err := raise.ensure(ctx); err != nil {
		return Machine{}, err
	}
	serves := make(chan struct{})
	close(serves)
	if err := raise.importImages(ctx, serves); err != nil {
		return Machine{}, err
	}
	return p.describe()
}

// clientOf returns a client of an administrator of a cluster.
func (l *Local) clientOf(r record) (kubernetes.Interface, error) {
	plane, err := l.planeOf(r)
	if err != nil {
		return nil, err
	}
	config, err := plane.Client()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// Machine returns a machine of a cluster, whether it runs or not; *NotFoundError when it never had one of that name.
func (l *Local) Machine(h Hosted, node string) (Machine, error) {
	r, err := l.owned(h)
	if err != nil {
		return Machine{}, err
	}
	m, ok := r.find(node)
	if !ok {
		return Machine{}, &NotFoundError{Name: node, Home: l.needs.Home}
	}
	return r.member(l.dir(r.Name), m).describe()
}

// admit returns the place of a node, and gives it one unless it has one.
func (l *Local) admit(h Hosted, node string) (place, error) {
	unlock, err := lock(l.root(), unix.LOCK_EX)
	if err != nil {
		return place{}, err
	}
	defer unlock()
	r, err := l.owned(h)
	if err != nil {
		return place{}, err
	}
	m, ok := r.find(node)
	if !ok {
		if m, err = r.admit(node); err != nil {
			return place{}, err
		}
		r.Members = append(r.Members, m)
		if err := l.save(r); err != nil {
			return place{}, err
		}
	}
	return r.member(l.dir(r.Name), m), nil
}

// EndMachine ends a machine and removes all of it. Its Node stays, for whoever asked for the machine. It is idempotent.
func (l *Local) EndMachine(ctx context.Context, h Hosted, node string) error {
	return l.withMachine(h, node, func(p place) error {
		if err := p.end(ctx, unix.SIGKILL); err != nil {
			return fmt.Errorf("ending the machine of node %s: %w", node, err)
		}
		if err := os.RemoveAll(p.dir); err != nil { // before its number can be another's
			return fmt.Errorf("removing the machine of node %s: %w", node, err)
		}
		return l.dismiss(h, node)
	})
}

// HaltMachine ends a machine in order. What it holds stays, and RaiseMachine starts it again at its address. It is idempotent.
func (l *Local) HaltMachine(ctx context.Context, h Hosted, node string) error {
	return l.withMachine(h, node, func(p place) error {
		if pid, err := machine.PID(p.dir); err != nil || pid == 0 {
			return err
		}
		return p.end(ctx, unix.SIGTERM)
	})
}

// withMachine does something with the place of a machine, if there is one, while nobody does anything with all of its cluster.
func (l *Local) withMachine(h Hosted, node string, do func(place) error) error {
	unlock, err := l.lockAs(h.Name, unix.LOCK_SH)
	if err != nil {
		return ignoreNotFound(err)
	}
	defer unlock()
	r, err := l.owned(h)
	if err != nil {
		return ignoreNotFound(err)
	}
	m, ok := r.find(node)
	if !ok {
		return nil
	}
	return do(r.member(l.dir(r.Name), m))
}

// dismiss takes a node out of the record.
func (l *Local) dismiss(h Hosted, node string) error {
	unlock, err := lock(l.root(), unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := l.owned(h)
	if err != nil {
		return err
	}
	r.Members = slices.DeleteFunc(r.Members, func(m member) bool { return m.Node == node })
	return l.save(r)
}

// Release ends all that is left of a cluster and gives its place back. It is idempotent; what is somebody else's stays.
func (l *Local) Release(ctx context.Context, h Hosted) error {
	_, err := l.owned(h)
	if isOwned(err) {
		return nil
	}
	if ignoreNotFound(err) != nil {
		return err
	}
	return ignoreNotFound(l.Delete(ctx, h.Name)) // what a deletion of before may have left has no record any more
}

// AuditLog returns the pattern of the audit logs of a hosted cluster, empty when there is none of that name.
func (l *Local) AuditLog(name string) string {
	r, err := l.record(name)
	if err != nil || !r.hosted() {
		return ""
	}
	return r.auditLog(l.dir(name))
}

// DeleteOwn deletes a cluster that nobody owns. One that somebody keeps going would be made anew, and empty.
func (l *Local) DeleteOwn(ctx context.Context, name string) error {
	r, err := l.record(name)
	if ignoreNotFound(err) != nil {
		return err
	}
	if r.hosted() {
		return &OwnedError{Name: r.Name, Owner: r.Owner}
	}
	return l.Delete(ctx, name)
}

func isNotFound(err error) bool {
	_, ok := errors.AsType[*NotFoundError](err)
	return ok
}

func isOwned(err error) bool {
	_, ok := errors.AsType[*OwnedError](err)
	return ok
}

func ignoreNotFound(err error) error {
	if isNotFound(err) {
		return nil
	}
	return err
}
