package local

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
	"umbel.dev/umbel/internal/lifecycle/local/quorum"
)

// Plane is a hosted control plane.
type Plane struct {
	// Members are those that it has, the first one first.
	Members []PlaneMember
	// Address is where the API is served.
	Address netip.AddrPort
	// Restored is the request by which it was restored last.
	Restored string
	// Version is which Kubernetes the machine of its first member was started with last, empty when that is not known.
	Version string
	// ControlPlane is what it is made of.
	ControlPlane *controlplane.ControlPlane
}

// PlaneMember is one of the members of a control plane.
type PlaneMember struct {
	// Name is that of its machine.
	Name string
	// URL is where this member serves the API.
	URL string
	// PID is the first process of its machine, 0 when that does not run.
	PID int
	// Data says that its etcd has something on its disk, and can open it.
	Data bool
}

// Settled names the processes of a control plane of so many members that all run, with their data; empty when something is missing.
func (p Plane) Settled(members int) string {
	var all []string
	for _, m := range p.Members {
		if m.PID == 0 || !m.Data {
			return ""
		}
		all = append(all, strconv.Itoa(m.PID))
	}
	if len(all) != members {
		return ""
	}
	return strings.Join(all, " ")
}

// Client returns credentials of the API's administrators that are valid for an hour.
func (p Plane) Client() (*rest.Config, error) { return p.ControlPlane.BootstrapConfig() }

// Kubeconfig returns one for an administrator of that name, who may log in for so long.
func (p Plane) Kubeconfig(name string, life time.Duration) ([]byte, error) {
	return p.ControlPlane.Kubeconfig(identity.Request{CommonName: name, Organizations: []string{v1alpha1.AdminGroup}, TTL: life})
}

// Plane returns the control plane of a cluster that has its place, whether it runs or not.
func (l *Local) Plane(h Hosted) (Plane, error) {
	r, err := l.owned(h)
	if err != nil {
		return Plane{}, err
	}
	return l.planeOf(r)
}

func (l *Local) planeOf(r record) (Plane, error) {
	m := members{local: l, record: r}
	first, err := m.plane(0)
	if err != nil {
		return Plane{}, err
	}
	spec, err := machine.Load(m.place(0).dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Plane{}, err
	}
	plane := Plane{Address: netip.AddrPortFrom(r.endpoint(), uint16(standardPorts.API)), Version: spec.Version, Restored: r.Restored, ControlPlane: first}
	places, _, err := m.Look()
	if err != nil {
		return Plane{}, err
	}
	for _, p := range places {
		if !p.Wanted && !p.Runs && !p.Data {
			continue
		}
		one, err := m.plane(p.Number)
		if err != nil {
			return Plane{}, err
		}
		pid, err := machine.PID(m.place(p.Number).dir)
		if err != nil {
			return Plane{}, err
		}
		plane.Members = append(plane.Members, PlaneMember{Name: p.Name, URL: one.OwnURL(), PID: pid, Data: p.Data && !p.Stuck})
	}
	return plane, nil
}

// RaisePlane brings the control plane up, whatever is left of it, with h.Members members, and returns when its API serves. One that
// has never served comes up with one member first: the others are for the next time. One that runs another version of Kubernetes
// starts anew, a member after the other, and keeps its data. The cluster must have its place.
func (l *Local) RaisePlane(ctx context.Context, h Hosted) (Plane, error) {
	unlock, err := l.lockAs(h.Name, unix.LOCK_SH) // machines may be raised meanwhile
	if err != nil {
		return Plane{}, err
	}
	defer unlock()
	alone, err := l.lockPlanes(h.Name)
	if err != nil {
		return Plane{}, err
	}
	defer alone()
	r, err := l.plan(h)
	if err != nil {
		return Plane{}, err
	}
	if r, err = l.finishRestore(ctx, h, r); err != nil {
		return Plane{}, err
	}
	m := members{local: l, record: r, version: h.Version}
	if err := m.keep(ctx); err != nil {
		return Plane{}, err
	}
	raise := &healing{local: l, record: r, dir: l.dir(r.Name), version: h.Version, progress: func(string) func(error) { return func(error) {} }}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{{StepMachine, raise.raiseMain}, {StepAPI, raise.waitForAPI}, {StepDNS, raise.installDNS}, {StepBalancer, raise.installBalancer}, {StepEnrolment, raise.installEnrolment}} {
		if err := raise.step(step.name, func() error { return step.do(ctx) }); err != nil {
			return Plane{}, err
		}
	}
	if r, err = l.change(h, func(r *record) { r.Begun = true }); err != nil {
		return Plane{}, err
	}
	return l.planeOf(r)
}

// plan writes down how many members there are to be.
func (l *Local) plan(h Hosted) (record, error) {
	return l.change(h, func(r *record) {
		r.Begun = r.Begun || h.Begun
		if r.Planes = max(1, h.Members); !r.Begun {
			r.Planes = 1
		}
	})
}

// change changes the record of a cluster that has its place, and is h's.
func (l *Local) change(h Hosted, change func(*record)) (record, error) {
	unlock, err := lock(l.root(), unix.LOCK_EX)
	if err != nil {
		return record{}, err
	}
	defer unlock()
	r, err := l.owned(h)
	if err != nil {
		return record{}, err
	}
	before := r
	change(&r)
	if before.Planes == r.Planes && before.Begun == r.Begun && before.Restoring == r.Restoring && before.Restored == r.Restored {
		return r, nil
	}
	return r, l.save(r)
}

// lockPlanes locks the control plane of a cluster against others who would raise it.
func (l *Local) lockPlanes(name string) (unlock func(), err error) {
	dir := filepath.Join(l.dir(name), planesDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	unlock, err = lock(dir, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, &BusyError{Name: name}
	}
	return unlock, err
}

// HaltPlane ends the machines of the control plane in order, all at once. What it holds stays, and RaisePlane starts it again at its
// addresses. It is idempotent.
func (l *Local) HaltPlane(ctx context.Context, h Hosted) error {
	unlock, err := l.lockAs(h.Name, unix.LOCK_SH)
	if err != nil {
		return ignoreNotFound(err)
	}
	defer unlock()
	alone, err := l.lockPlanes(h.Name)
	if err != nil {
		return err
	}
	defer alone()
	r, err := l.owned(h)
	if err != nil {
		return ignoreNotFound(err)
	}
	group, ending := errgroup.WithContext(ctx)
	for _, p := range append(r.furtherPlanes(l.dir(r.Name)), r.place(l.dir(r.Name), 0)) {
		group.Go(func() error {
			if pid, err := machine.PID(p.dir); err != nil || pid == 0 {
				return err
			}
			return p.end(ending, unix.SIGTERM)
		})
	}
	return group.Wait()
}

// EndPlane ends the machines of the control plane. What the API held stays until the cluster is deleted.
func (l *Local) EndPlane(ctx context.Context, h Hosted) error {
	unlock, err := l.lockCluster(h.Name)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	r, err := l.owned(h)
	if err != nil {
		return ignoreNotFound(err)
	}
	for _, p := range append(r.furtherPlanes(l.dir(r.Name)), r.place(l.dir(r.Name), 0)) {
		if err := p.end(ctx, unix.SIGKILL); err != nil {
			return err
		}
	}
	return nil
}

// furtherPlanes returns where the members of the control plane beside the first are.
func (r record) furtherPlanes(dir string) []place {
	if !r.hosted() {
		return nil
	}
	var all []place
	for n := 1; n < maxPlanes; n++ {
		if p := r.planePlace(dir, n); isThere(p.dir) {
			all = append(all, p)
		}
	}
	return all
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil || !errors.Is(err, fs.ErrNotExist)
}

// members are those of one hosted control plane, for package quorum. The lock of the control plane must be held by who changes them.
type members struct {
	local  *Local
	record record
	// version of Kubernetes that what is started runs; empty for the hub's own.
	version string
}

// keep has all members be there, and run the version that they are to run.
func (m members) keep(ctx context.Context) error {
	if err := m.share(); err != nil {
		return err
	}
	if err := quorum.Keep(ctx, m, m.tls); err != nil {
		return err
	}
	if err := quorum.Renew(ctx, m, m.tls); err != nil {
		return err
	}
	return m.share() // those that had to go are gone
}

// Outdated says whether a member runs another Kubernetes than it is to.
func (m members) Outdated(ctx context.Context, number int) (bool, error) {
	return m.local.outdated(ctx, m.place(number), m.version)
}

// Halt ends a member in order. Its data stay.
func (m members) Halt(ctx context.Context, number int) error {
	return m.place(number).end(ctx, unix.SIGTERM)
}

// Ready returns when a member serves.
func (m members) Ready(ctx context.Context, number int) error {
	plane, err := m.plane(number)
	if err != nil {
		return err
	}
	return ready(ctx, plane)
}

// ready returns when the API server of a member is.
func ready(ctx context.Context, plane *controlplane.ControlPlane) error {
	config, err := plane.BootstrapConfig()
	if err != nil {
		return err
	}
	config.Host, config.Timeout = plane.OwnURL(), time.Second
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return err
	}
	ticker := time.NewTicker(apiPoll)
	defer ticker.Stop()
	for {
		_, err := client.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", config.Host, err)
		case <-ticker.C:
		}
	}
}

func (m members) place(number int) place {
	return m.record.planePlace(m.local.dir(m.record.Name), number)
}

func (m members) plane(number int) (*controlplane.ControlPlane, error) {
	return m.local.plane(m.place(number))
}

// Look returns where members are, or may be.
func (m members) Look() ([]quorum.Place, bool, error) {
	var all []quorum.Place
	for n := range maxPlanes {
		p := m.place(n)
		plane, err := m.plane(n)
		if err != nil {
			return nil, false, err
		}
		data, err := plane.HasData()
		if err != nil {
			return nil, false, err
		}
		stuck, err := plane.Stuck()
		if err != nil {
			return nil, false, err
		}
		pid, err := machine.PID(p.dir)
		if err != nil {
			return nil, false, err
		}
		all = append(all, quorum.Place{
			Number: n, Name: p.host(), Peer: plane.PeerURL(), Client: plane.EtcdURL(), Data: data, Runs: pid != 0 && m.current(p),
			Wanted: n < max(1, m.record.Planes), Stuck: stuck,
		})
	}
	return all, m.record.Begun, nil
}

// current says whether a machine is one that other members can reach. Those that earlier builds started are not.
func (m members) current(p place) bool {
	spec, err := machine.Load(p.dir)
	return err == nil && spec.Member != nil
}

// Raise starts a member as it is.
func (m members) Raise(ctx context.Context, number int) error { return m.launch(ctx, m.place(number)) }

// Begin starts a member that has nothing.
func (m members) Begin(ctx context.Context, number int, join []string) error {
	p := m.place(number)
	p.join = join
	plane, err := m.plane(number)
	if err != nil {
		return err
	}
	if err := plane.MayBegin(); err != nil {
		return err
	}
	return m.launch(ctx, p)
}

// launch starts a member, with the keys that it has in common with the others.
func (m members) launch(ctx context.Context, p place) error {
	if err := p.end(ctx, unix.SIGKILL); err != nil { // one of an earlier build may run
		return err
	}
	plane, err := m.local.plane(p)
	if err != nil {
		return err
	}
	for n := range maxPlanes {
		other, err := m.plane(n)
		if err != nil {
			return err
		}
		if err := plane.Inherit(other); err != nil {
			return fmt.Errorf("giving %s the keys of the control plane: %w", p.host(), err)
		}
	}
	return (&raising{local: m.local, place: p, main: p, version: m.version}).ensure(ctx)
}

// Forget ends a member, and removes what its etcd holds.
func (m members) Forget(ctx context.Context, number int) error {
	p := m.place(number)
	if err := p.end(ctx, unix.SIGKILL); err != nil {
		return err
	}
	plane, err := m.plane(number)
	if err != nil {
		return err
	}
	return plane.Forget()
}

// End ends a member, and removes all of it. The first one stays for as long as the cluster does.
func (m members) End(ctx context.Context, number int) error {
	p := m.place(number)
	if err := p.end(ctx, unix.SIGKILL); err != nil {
		return err
	}
	return os.RemoveAll(p.dir)
}

// tls is how etcd is reached: with the keys of any member.
func (m members) tls() (*tls.Config, error) {
	var problems []error
	for n := range maxPlanes {
		plane, err := m.plane(n)
		if err != nil {
			return nil, err
		}
		config, err := plane.EtcdTLS()
		if err == nil {
			return config, nil
		}
		problems = append(problems, err)
	}
	return nil, errors.Join(problems...)
}

// share says to the members whether there is another one that may have the API's address.
func (m members) share() error {
	further := m.record.furtherPlanes(m.local.dir(m.record.Name))
	all := []place{m.place(0)}
	for n := 1; n < max(m.record.Planes, 1); n++ {
		all = append(all, m.place(n))
	}
	shared := len(all) > 1 || len(further) > 0
	for _, p := range all {
		path := filepath.Join(p.dir, machine.SharedFile)
		if !shared {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			continue
		}
		if isThere(path) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}
