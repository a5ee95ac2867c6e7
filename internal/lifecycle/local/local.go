package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"umbel.dev/umbel/internal/lifecycle/local/machine"
	"umbel.dev/umbel/internal/lifecycle/local/network"
)

// endGrace is how long a machine may take to stop in order.
const endGrace = 30 * time.Second

// Needs is what New takes.
type Needs struct {
	// Home is the data folder.
	Home string
	// Binaries are the programs that clusters are made of.
	Binaries Binaries
	// Registries are trusted by every cluster that is made or started.
	Registries []Registry
}

// Binaries are paths of programs.
type Binaries struct {
	// Umbel runs machines (its hidden commands machine-init and machine-run), Kube is umbel-kube.
	Umbel string
	Kube  string
	// CoreDNS and Pause are static programs that images are made of.
	CoreDNS string
	Pause   string
	// Balancer is of clusters that have Services of type LoadBalancer. It need not be there for any other.
	Balancer BalancerBinaries
}

// BalancerBinaries are MetalLB: its two programs, which an image is made of, and its manifest.
type BalancerBinaries struct{ Controller, Speaker, Manifest string }

// BinariesIn returns the binaries of a folder, where `make build` puts all of them.
func BinariesIn(dir string) Binaries {
	return Binaries{
		Umbel:   filepath.Join(dir, "umbel"),
		Kube:    filepath.Join(dir, "umbel-kube"),
		CoreDNS: filepath.Join(dir, "umbel-coredns"),
		Pause:   filepath.Join(dir, "umbel-pause"),
		Balancer: BalancerBinaries{
			Controller: filepath.Join(dir, "umbel-metallb-controller"),
			Speaker:    filepath.Join(dir, "umbel-metallb-speaker"),
			Manifest:   filepath.Join(dir, "umbel-metallb.yaml"),
		},
	}
}

// Local makes, heals, lists and deletes the local clusters of one data folder. It is safe for concurrent use.
type Local struct {
	needs  Needs
	builds builds
}

// New returns the Local of needs.Home, which need not exist yet. It checks that the binaries are there.
func New(needs Needs) (*Local, error) {
	home, err := futurePath(needs.Home)
	if err != nil {
		return nil, fmt.Errorf("looking for the data folder: %w", err)
	}
	needs.Home = home
	for name, path := range map[string]*string{
		"umbel":         &needs.Binaries.Umbel,
		"umbel-kube":    &needs.Binaries.Kube,
		"umbel-coredns": &needs.Binaries.CoreDNS,
		"umbel-pause":   &needs.Binaries.Pause,
	} {
		real, err := realPath(*path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is not at %s: run `make build`", name, *path)
		}
		if err != nil {
			return nil, fmt.Errorf("looking for %s: %w", name, err)
		}
		*path = real
	}
	return &Local{needs: needs}, nil
}

// realPath returns path absolute and free of symbolic links, as it is the same inside of a machine.
func realPath(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(absolute)
}

// futurePath is realPath for a path whose end need not exist yet.
func futurePath(path string) (string, error) {
	real, err := realPath(path)
	if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(path) == path {
		return real, err
	}
	parent, err := futurePath(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}

// Progress is told of each step as it begins, and told its end through the function that it returns. It is called from
// several goroutines.
type Progress func(step string) (done func(error))

// Create makes a cluster and returns when its API serves and its node, if it has one, is Ready. It heals the cluster
// where that is there already: it starts what does not run and installs what is missing.
func (l *Local) Create(ctx context.Context, spec Spec, progress Progress) (Cluster, error) {
	if err := spec.Validate(); err != nil {
		return Cluster{}, err
	}
	if spec.Nodes > 0 {
		if err := CheckNodes(); err != nil {
			return Cluster{}, err
		}
	}
	if err := os.MkdirAll(l.dir(spec.Name), 0o755); err != nil {
		return Cluster{}, fmt.Errorf("making the folder of cluster %q: %w", spec.Name, err)
	}
	unlock, err := l.lockCluster(spec.Name)
	if err != nil {
		return Cluster{}, err
	}
	defer unlock()
	r, err := l.ensureRecord(record{Name: spec.Name, Nodes: spec.Nodes})
	if err != nil {
		_ = os.Remove(l.dir(spec.Name)) // fails unless we made it just now, and it is empty
		return Cluster{}, err
	}
	if r.hosted() {
		return Cluster{}, &OwnedError{Name: r.Name, Owner: r.Owner}
	}
	if r.Nodes != spec.Nodes {
		return Cluster{}, &NodesError{Name: spec.Name, Has: r.Nodes, Wanted: spec.Nodes}
	}
	return l.heal(ctx, r, progress)
}

// Start starts a cluster that was stopped, as Create does.
func (l *Local) Start(ctx context.Context, name string, progress Progress) (Cluster, error) {
	r, err := l.record(name)
	if err != nil {
		return Cluster{}, err
	}
	return l.Create(ctx, Spec{Name: r.Name, Nodes: r.Nodes}, progress)
}

// Stop ends all processes of a cluster in order, and keeps its data. It is idempotent.
func (l *Local) Stop(ctx context.Context, name string) error {
	unlock, err := l.lockCluster(name)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := l.record(name)
	if err != nil {
		return err
	}
	if r.hosted() {
		return &OwnedError{Name: r.Name, Owner: r.Owner}
	}
	if err := l.end(ctx, r, unix.SIGTERM); err != nil {
		return fmt.Errorf("stopping local cluster %q: %w", name, err)
	}
	return nil
}

// Delete ends a cluster and removes all of it. With the last one of the data folder go the bridge and the images.
func (l *Local) Delete(ctx context.Context, name string) error {
	unlock, err := l.lockCluster(name)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := l.record(name)
	var missing *NotFoundError
	if err != nil && !errors.As(err, &missing) {
		return err
	}
	if err == nil {
		if err := l.end(ctx, r, deletionSignal(r)); err != nil {
			return fmt.Errorf("deleting local cluster %q: %w", name, err)
		}
	}
	if err := os.RemoveAll(l.dir(name)); err != nil {
		return fmt.Errorf("deleting local cluster %q: %w", name, err)
	}
	return l.Cleanup()
}

// deletionSignal is SIGKILL where the kernel ends a whole machine by it. Without a PID namespace, the processes end a
// moment after what supervises them, and might still write into a folder that is being removed.
func deletionSignal(r record) unix.Signal {
	if r.Fleet != nil {
		return unix.SIGKILL
	}
	return unix.SIGTERM
}

// end ends all machines of a cluster and takes away what they had on the host. The one with the control plane is last: the
// others say to it what ends.
func (l *Local) end(ctx context.Context, r record, signal unix.Signal) error {
	further, err := l.strays(r)
	if err != nil {
		return err
	}
	places := r.places(l.dir(r.Name))
	further = append(further, r.furtherPlanes(l.dir(r.Name))...)
	group, ending := errgroup.WithContext(ctx)
	for _, p := range append(further, places[1:]...) {
		group.Go(func() error { return p.end(ending, signal) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return places[0].end(ctx, signal)
}

// end ends the machine and takes away what it had on the host. It is idempotent.
func (p place) end(ctx context.Context, signal unix.Signal) error {
	grace, cancel := context.WithTimeout(ctx, endGrace)
	defer cancel()
	err := machine.End(grace, p.dir, signal)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = machine.End(ctx, p.dir, unix.SIGKILL)
	}
	if err != nil || p.cluster.Fleet == nil {
		return err
	}
	if err := p.network().Disconnect(); err != nil {
		return err
	}
	grace, cancelRemoval := context.WithTimeout(ctx, endGrace)
	defer cancelRemoval()
	return machine.RemoveCgroup(grace, p.cgroup())
}

// Cleanup removes what the clusters of the data folder share, if there is no cluster any more.
func (l *Local) Cleanup() error {
	unlock, err := lock(l.root(), unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	records, err := l.records()
	if err != nil || len(records) > 0 {
		return err
	}
	if os.Geteuid() == 0 {
		if err := network.Release(l.needs.Home); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(l.imagesDir()); err != nil {
		return fmt.Errorf("removing the images of local clusters: %w", err)
	}
	_ = os.Remove(l.root()) // fails where another command has begun to make a cluster
	return nil
}

// HubAddress returns the address at which the machines of this fleet reach the hub. It makes the bridge where there is
// none. It needs root.
func (l *Local) HubAddress() (netip.Addr, error) {
	if err := os.MkdirAll(l.root(), 0o755); err != nil {
		return netip.Addr{}, err
	}
	unlock, err := lock(l.root(), unix.LOCK_EX)
	if err != nil {
		return netip.Addr{}, err
	}
	defer unlock()
	records, err := l.records()
	if err != nil {
		return netip.Addr{}, err
	}
	fleet, err := network.Claim(l.needs.Home, fleetOf(records))
	if err != nil {
		return netip.Addr{}, err
	}
	return fleet.Hub(), nil
}

func (l *Local) root() string           { return filepath.Join(l.needs.Home, "local") }
func (l *Local) imagesDir() string      { return filepath.Join(l.root(), ".images") }
func (l *Local) dir(name string) string { return filepath.Join(l.root(), name) }
