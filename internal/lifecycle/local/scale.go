package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubectl/pkg/drain"

	"umbel.dev/umbel/internal/lifecycle/local/machine"
)

// StepDrain is what Progress is told while the pods of a node go elsewhere, with the name of the node.
const StepDrain = "drain "

// NodesError says that a cluster is there with another number of nodes than is asked for.
type NodesError struct {
	Name   string
	Has    int
	Wanted int
}

func (e *NodesError) Error() string {
	if e.Has == 0 || e.Wanted == 0 {
		return fmt.Sprintf("local cluster %q exists with %d nodes, not %d, and one with nodes is made in another way than one without: delete it first, or take another name",
			e.Name, e.Has, e.Wanted)
	}
	return fmt.Sprintf("local cluster %q exists with %d nodes, not %d: `umbel local scale %s --nodes=%d` changes that", e.Name, e.Has, e.Wanted, e.Name, e.Wanted)
}

// Scale gives a cluster more nodes, or fewer: the last that came go first, and not before their pods have been evicted, as
// their PodDisruptionBudgets allow. A node that cannot be drained while ctx lasts stays, with all others, and takes pods again.
// What is not as it should be is healed as Create does.
func (l *Local) Scale(ctx context.Context, spec Spec, progress Progress) (Cluster, error) {
	if err := spec.Validate(); err != nil {
		return Cluster{}, err
	}
	unlock, err := l.lockCluster(spec.Name)
	if err != nil {
		return Cluster{}, err
	}
	defer unlock()
	r, err := l.record(spec.Name)
	if err != nil {
		return Cluster{}, err
	}
	if r.hosted() {
		return Cluster{}, &OwnedError{Name: r.Name, Owner: r.Owner}
	}
	if (r.Nodes == 0) != (spec.Nodes == 0) {
		return Cluster{}, &NodesError{Name: r.Name, Has: r.Nodes, Wanted: spec.Nodes}
	}
	if spec.Nodes < r.Nodes {
		if _, err := l.heal(ctx, r, progress); err != nil { // pods are to go to nodes that are there
			return Cluster{}, err
		}
		if err := l.drain(ctx, r, spec.Nodes, progress); err != nil {
			return Cluster{}, fmt.Errorf("local cluster %q: %w", r.Name, err)
		}
	}
	if r.Nodes != spec.Nodes {
		r.Nodes = spec.Nodes
		if err := l.save(r); err != nil { // from now on, whatever happens, further machines are strays
			return Cluster{}, err
		}
	}
	return l.heal(ctx, r, progress)
}

// drain evicts the pods of the nodes from that number on.
func (l *Local) drain(ctx context.Context, r record, from int, progress Progress) (err error) {
	plane, err := l.plane(r.place(l.dir(r.Name), 0))
	if err != nil {
		return err
	}
	config, err := plane.BootstrapConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	h := &drain.Helper{
		Ctx: ctx, Client: client, Out: io.Discard, ErrOut: io.Discard,
		Force: true, IgnoreAllDaemonSets: true, DeleteEmptyDirData: true, GracePeriodSeconds: -1,
	}
	if deadline, ok := ctx.Deadline(); ok {
		h.Timeout = time.Until(deadline)
	}
	leaving := r.places(l.dir(r.Name))[from:]
	defer func() {
		if err != nil {
			err = errors.Join(err, cordon(h, leaving, false))
		}
	}()
	if err := cordon(h, leaving, true); err != nil { // all of them first: what leaves one is not to go to another
		return err
	}
	for _, p := range leaving {
		done := progress(StepDrain + p.node())
		err := drain.RunNodeDrain(h, p.node())
		done(err)
		if err != nil {
			return fmt.Errorf("draining node %s: %w", p.node(), err)
		}
	}
	return nil
}

// cordon says of nodes whether new pods may come.
func cordon(h *drain.Helper, places []place, unschedulable bool) error {
	if h.Ctx.Err() != nil { // to let pods come again there is always time
		ctx, cancel := context.WithTimeout(context.WithoutCancel(h.Ctx), endGrace)
		defer cancel()
		again := *h
		again.Ctx, h = ctx, &again
	}
	for _, p := range places {
		node, err := h.Client.CoreV1().Nodes().Get(h.Ctx, p.node(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err == nil {
			err = drain.RunCordonOrUncordon(h, node, unschedulable)
		}
		if err != nil {
			return fmt.Errorf("cordoning node %s: %w", p.node(), err)
		}
	}
	return nil
}

// strays returns the machines that a cluster has, and its record does not know any more.
func (l *Local) strays(r record) ([]place, error) {
	if r.hosted() {
		return nil, nil // a machine's folder goes before its name leaves the record
	}
	dir := l.dir(r.Name)
	entries, err := os.ReadDir(filepath.Join(dir, machine.MachinesDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the machines of local cluster %q: %w", r.Name, err)
	}
	there := map[string]bool{}
	for _, entry := range entries {
		there[entry.Name()] = true
	}
	var strays []place
	for number := max(1, r.Nodes); number < MaxNodes; number++ {
		if p := r.place(dir, number); there[p.node()] {
			strays = append(strays, p)
		}
	}
	return strays, nil
}

// discard takes a further machine and its Node out of the cluster, and all that it had on the host.
func (l *Local) discard(ctx context.Context, p place, client kubernetes.Interface) error {
	if err := p.end(ctx, unix.SIGTERM); err != nil {
		return fmt.Errorf("ending the machine of node %s: %w", p.node(), err)
	}
	if err := client.CoreV1().Nodes().Delete(ctx, p.node(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting node %s: %w", p.node(), err)
	}
	if err := os.RemoveAll(p.dir); err != nil { // last: until then the next pass finds it again
		return fmt.Errorf("removing the machine of node %s: %w", p.node(), err)
	}
	return nil
}
