package local

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
)

// The steps that Progress is told. Of further nodes it is told StepFurther and the name of each.
const (
	StepMachine   = "machine"
	StepAPI       = "Kubernetes API"
	StepImages    = "images"
	StepDNS       = "cluster DNS"
	StepBalancer  = "load balancer"
	StepEnrolment = "enrolment"
	StepNode      = "node Ready"
	StepFurther   = "node "
)

// apiPoll is between two looks at whether the API serves: nothing can be watched yet.
const apiPoll = 25 * time.Millisecond

// furtherAtOnce is how many further nodes start at a time: each unpacks images and starts a kubelet.
const furtherAtOnce = 4

// heal makes the cluster of r run, whatever is left of it. The cluster's lock must be held.
func (l *Local) heal(ctx context.Context, r record, progress Progress) (Cluster, error) {
	h := &healing{local: l, record: r, dir: l.dir(r.Name), progress: progress}
	err := h.run(ctx)
	if errors.Is(err, errEnded) && h.main.launched.IsZero() { // it was about to end when we found it
		err = h.run(ctx)
	}
	if err != nil {
		return Cluster{}, fmt.Errorf("local cluster %q: %w", r.Name, err)
	}
	return l.describe(h.record)
}

// errEnded says that a machine ended before its API served.
var errEnded = errors.New("the machine ended")

// healing is one pass of heal.
type healing struct {
	local    *Local
	record   record
	dir      string
	version  string // of Kubernetes; empty for the hub's own
	progress Progress

	main   *raising
	plane  *controlplane.ControlPlane
	config *rest.Config
	client kubernetes.Interface
}

func (h *healing) run(ctx context.Context) error {
	if err := h.step(StepMachine, func() error { return h.raiseMain(ctx) }); err != nil {
		return err
	}
	if h.record.Nodes == 0 {
		return h.step(StepAPI, func() error { return h.waitForAPI(ctx) })
	}
	serves := make(chan struct{})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(serves)
		return h.step(StepAPI, func() error { return h.waitForAPI(ctx) })
	})
	group.Go(func() error {
		err := h.step(StepImages, func() error { return h.main.importImages(ctx, serves) })
		if err != nil {
			return err
		}
		// After the images: a pod whose image is missing would try again only ten seconds later.
		return h.step(StepDNS, func() error { return h.installDNS(ctx) })
	})
	group.Go(func() error {
		<-serves
		return h.step(StepNode, func() error { return h.main.waitForNode(ctx, h.client) })
	})
	group.Go(func() error {
		<-serves
		return h.further(ctx, serves)
	})
	return group.Wait()
}

func (h *healing) step(name string, f func() error) error {
	done := h.progress(name)
	err := f()
	done(err)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// raiseMain starts the machine with the control plane unless it runs.
func (h *healing) raiseMain(ctx context.Context) error {
	var err error
	if h.record, err = h.local.movePorts(ctx, h.record); err != nil {
		return err
	}
	place := h.record.place(h.dir, 0)
	h.main = &raising{local: h.local, place: place, main: place, version: h.version}
	if err := h.main.ensure(ctx); err != nil {
		return err
	}
	if err := linkKubeconfig(h.dir); err != nil {
		return err
	}
	if h.plane, err = h.main.spec.ControlPlane(); err != nil {
		return err
	}
	if h.config, err = h.plane.BootstrapConfig(); err != nil {
		return err
	}
	h.client, err = kubernetes.NewForConfig(h.config)
	return err
}

// further has the nodes beside the first as the record says: those that are missing start, and those that it does not know any
// more end. The API must serve.
func (h *healing) further(ctx context.Context, serves <-chan struct{}) error {
	strays, err := h.local.strays(h.record)
	if err != nil {
		return err
	}
	for _, stray := range strays {
		if err := h.local.discard(ctx, stray, h.client); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(furtherAtOnce)
	for _, place := range h.record.places(h.dir)[1:] {
		group.Go(func() error {
			return h.step(StepFurther+place.node(), func() error {
				m := &raising{local: h.local, place: place, main: h.main.place}
				return m.further(ctx, h.client, serves)
			})
		})
	}
	return group.Wait()
}

// linkKubeconfig puts the administrator's kubeconfig where people look for it.
func linkKubeconfig(dir string) error {
	link := filepath.Join(dir, "kubeconfig")
	if err := os.Symlink("kube/admin.kubeconfig", link); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// waitForAPI returns when the API is ready and the first roles are granted.
func (h *healing) waitForAPI(ctx context.Context) error {
	impatient := rest.CopyConfig(h.config)
	impatient.Timeout = time.Second
	client, err := discovery.NewDiscoveryClientForConfig(impatient)
	if err != nil {
		return err
	}
	ticker := time.NewTicker(apiPoll)
	defer ticker.Stop()
	for {
		_, err := client.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil {
			return h.plane.Bootstrap(ctx)
		}
		if pid, pidErr := machine.PID(h.dir); pidErr == nil && pid == 0 {
			return fmt.Errorf("%w; see the logs in %s", errEnded, filepath.Join(h.dir, "logs"))
		}
		if stranger, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return fmt.Errorf("at %s somebody else answers (%s): `umbel local stop %s` and `umbel local start %[3]s` move the cluster to other ports", h.plane.URL(), stranger.Err, h.record.Name)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; see the logs in %s", h.plane.URL(), err, filepath.Join(h.dir, "logs"))
		case <-ticker.C:
		}
	}
}
