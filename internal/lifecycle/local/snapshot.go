package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/kube/process"
	"umbel.dev/umbel/internal/lifecycle/local/quorum"
)

// SnapshotPlane writes what the etcd of a control plane holds. Of three members the first that answers is asked.
func (l *Local) SnapshotPlane(ctx context.Context, h Hosted, out io.Writer) error {
	r, err := l.owned(h)
	if err != nil {
		return err
	}
	m := members{local: l, record: r}
	places, _, err := m.Look()
	if err != nil {
		return err
	}
	config, err := m.tls()
	if err != nil {
		return fmt.Errorf("the control plane has no keys: %w", err)
	}
	var problems []error
	for _, p := range places {
		if !p.Data || !p.Runs {
			continue
		}
		begun := &begins{out: out}
		err := quorum.Snapshot(ctx, p.Client, config, begun)
		if err == nil {
			return nil
		}
		problems = append(problems, fmt.Errorf("member %s: %w", p.Name, err))
		if begun.any || ctx.Err() != nil {
			break // out has a part of it
		}
	}
	if len(problems) == 0 {
		return errors.New("no member of the control plane runs")
	}
	return errors.Join(problems...)
}

// begins knows whether anything was written.
type begins struct {
	out io.Writer
	any bool
}

func (b *begins) Write(part []byte) (int, error) {
	b.any = true
	return b.out.Write(part)
}

// RestorePlane has a control plane begin with what a snapshot in a file holds: as one member, to which RaisePlane brings the others. It
// does not start it. While the data are made, a control plane that serves goes on; then all of its members end. A request that was
// answered is not answered again, and one that was cut off after the members had to end is gone on with, here or by RaisePlane.
func (l *Local) RestorePlane(ctx context.Context, h Hosted, request, file string) error {
	unlock, err := l.lockAs(h.Name, unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	alone, err := l.lockPlanes(h.Name)
	if err != nil {
		return err
	}
	defer alone()
	r, err := l.owned(h)
	if err != nil || r.Restored == request {
		return err
	}
	if r.Restoring != request {
		m := members{local: l, record: r, version: h.Version}
		plane, err := m.planeOf(ctx, 0)
		if err != nil {
			return err
		}
		if err := plane.RestoreAside(ctx, file); err != nil {
			return err
		}
		if r, err = l.change(h, func(r *record) { r.Restoring = request }); err != nil {
			return err
		}
	}
	_, err = l.finishRestore(ctx, h, r)
	return err
}

// planeOf is plane, with the program of the version that is to run.
func (m members) planeOf(ctx context.Context, number int) (*controlplane.ControlPlane, error) {
	binaries := m.local.needs.Binaries
	var err error
	if binaries.Kube, err = m.local.kube(ctx, m.version); err != nil {
		return nil, err
	}
	p := m.place(number)
	return p.spec(p, binaries, hostless).ControlPlane()
}

// finishRestore ends all members and has the first one begin with what was restored aside. What the others hold is of before.
func (l *Local) finishRestore(ctx context.Context, h Hosted, r record) (record, error) {
	if r.Restoring == "" {
		return r, nil
	}
	m := members{local: l, record: r}
	for n := maxPlanes - 1; n > 0; n-- {
		if !isThere(m.place(n).dir) {
			continue
		}
		if err := m.Forget(ctx, n); err != nil {
			return r, err
		}
	}
	if err := m.Halt(ctx, 0); err != nil {
		return r, err
	}
	first, err := m.plane(0)
	if err != nil {
		return r, err
	}
	if err := first.Restored(); err != nil {
		return r, fmt.Errorf("putting what was restored in its place: %w", err)
	}
	return l.change(h, func(r *record) { r.Restored, r.Restoring, r.Begun = r.Restoring, "", true })
}

// Rehearsal is a snapshot that is to be restored beside everything else.
type Rehearsal struct {
	// Name tells it from others that are at work.
	Name string
	// File is the snapshot, Version of which Kubernetes, and Services the range of its Services.
	File, Version, Services string
}

// Found is what a rehearsal found.
type Found struct {
	// Took is how long it was until the API served.
	Took time.Duration
	// Objects of all kinds that the API listed, and Namespaces among them.
	Objects, Namespaces int64
}

// Rehearse restores a snapshot into an etcd and an API server of their own, on the loopback and without any node, counts what is in it,
// and takes everything away again. Nothing of it outlives this process.
func (l *Local) Rehearse(ctx context.Context, r Rehearsal) (found Found, err error) {
	dir, done, err := l.Scratch("rehearsal-" + r.Name)
	if err != nil {
		return Found{}, err
	}
	defer func() { err = errors.Join(err, done()) }()
	began := time.Now()
	kube, err := l.kube(ctx, r.Version)
	if err != nil {
		return Found{}, err
	}
	ports, err := controlplane.FreePorts()
	if err != nil {
		return Found{}, err
	}
	services, err := netip.ParsePrefix(r.Services)
	if err != nil {
		return Found{}, fmt.Errorf("the range of Services of the snapshot: %w", err)
	}
	plane, err := controlplane.New(controlplane.Config{Name: "rehearsal", Dir: dir, Binary: kube, Address: loopback, Ports: ports, ServiceCIDR: services})
	if err != nil {
		return Found{}, err
	}
	if err := errors.Join(plane.Prepare(), plane.RestoreAside(ctx, r.File)); err != nil {
		return Found{}, err
	}
	if err := plane.Restored(); err != nil {
		return Found{}, err
	}
	supervisor, err := process.New(process.Config{Processes: plane.Processes(), LogDir: filepath.Join(dir, "logs"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return Found{}, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- supervisor.Run(running) }()
	defer func() { stop(); err = errors.Join(err, <-ended) }()
	if err := supervisor.WaitReady(ctx); err != nil {
		return Found{}, err
	}
	found.Took = time.Since(began)
	config, err := plane.BootstrapConfig()
	if err != nil {
		return found, err
	}
	found.Objects, found.Namespaces, err = countObjects(ctx, config)
	return found, err
}

// Scratch returns a folder for a purpose, which is empty, and what removes it. What a process left that was killed goes first.
func (l *Local) Scratch(purpose string) (dir string, done func() error, err error) {
	above := filepath.Join(l.root(), ".scratch")
	dir = filepath.Join(above, purpose)
	if err := os.RemoveAll(dir); err != nil {
		return "", nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	return dir, func() error {
		err := os.RemoveAll(dir)
		_ = os.Remove(above) // fails while there is another
		return err
	}, nil
}

// BackupFolder is where the backups of that name are kept on this computer.
func (l *Local) BackupFolder(name string) string { return filepath.Join(l.needs.Home, "backups", name) }

// countObjects returns how many objects an API lists of all kinds that it serves itself, and how many Namespaces.
func countObjects(ctx context.Context, config *rest.Config) (all, namespaces int64, err error) {
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return 0, 0, err
	}
	client, err := metadata.NewForConfig(config)
	if err != nil {
		return 0, 0, err
	}
	_, lists, err := kinds.ServerGroupsAndResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) { // APIs of pods, which do not run
		return 0, 0, fmt.Errorf("asking which kinds it serves: %w", err)
	}
	seen := map[schema.GroupResource]bool{}
	for _, resource := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "create"}}, lists) {
		group, err := schema.ParseGroupVersion(resource.GroupVersion)
		if err != nil {
			return 0, 0, err
		}
		for _, r := range resource.APIResources {
			if id := (schema.GroupResource{Group: group.Group, Resource: r.Name}); !seen[id] {
				seen[id] = true
				n, err := countOf(ctx, client.Resource(group.WithResource(r.Name)))
				if err != nil {
					return 0, 0, fmt.Errorf("counting %s: %w", id, err)
				}
				all += n
				if id == (schema.GroupResource{Resource: "namespaces"}) {
					namespaces = n
				}
			}
		}
	}
	return all, namespaces, nil
}

func countOf(ctx context.Context, objects metadata.Getter) (int64, error) {
	some, err := objects.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return 0, err
	}
	n := int64(len(some.Items))
	if some.RemainingItemCount != nil {
		n += *some.RemainingItemCount
	}
	return n, nil
}
