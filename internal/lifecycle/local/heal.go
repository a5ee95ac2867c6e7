package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/discovery"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
	"umbel.dev/umbel/internal/lifecycle/local/network"
)

// The steps that Progress is told.
const (
	StepMachine = "machine"
	StepAPI     = "Kubernetes API"
	StepImages  = "images"
	StepDNS     = "cluster DNS"
	StepNode    = "node Ready"
)

// apiPoll is between two looks at whether the API serves: nothing can be watched yet.
const apiPoll = 25 * time.Millisecond

// heal makes the cluster of r run, whatever is left of it. The cluster's lock must be held.
func (l *Local) heal(ctx context.Context, r record, progress Progress) (Cluster, error) {
	h := &healing{local: l, record: r, dir: l.dir(r.Name), progress: progress}
	if err := h.run(ctx); err != nil {
		return Cluster{}, fmt.Errorf("local cluster %q: %w", r.Name, err)
	}
	return l.describe(r)
}

// healing is one pass of heal.
type healing struct {
	local    *Local
	record   record
	dir      string
	progress Progress

	spec     machine.Spec
	plane    *controlplane.ControlPlane
	client   *rest.Config
	launched time.Time // zero if the machine ran already
}

func (h *healing) run(ctx context.Context) error {
	if err := h.step(StepMachine, func() error { return h.ensureMachine(ctx) }); err != nil {
		return err
	}
	if h.spec.Node == "" {
		return h.step(StepAPI, func() error { return h.waitForAPI(ctx) })
	}
	serves := make(chan struct{})
	return together(ctx,
		func(ctx context.Context) error {
			defer close(serves)
			return h.step(StepAPI, func() error { return h.waitForAPI(ctx) })
		},
		func(ctx context.Context) error {
			err := h.step(StepImages, func() error { return h.importImages(ctx, serves) })
			if err != nil {
				return err
			}
			// After the images: a pod whose image is missing would try again only ten seconds later.
			return h.step(StepDNS, func() error { return h.installDNS(ctx) })
		},
		func(ctx context.Context) error {
			<-serves
			return h.step(StepNode, func() error { return h.waitForNode(ctx) })
		},
	)
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

// ensureMachine starts the machine unless it runs.
func (h *healing) ensureMachine(ctx context.Context) error {
	// One that runs too: it may be older than the hub. containerd looks at each pull.
	if err := h.trustRegistries(); err != nil {
		return err
	}
	pid, err := machine.PID(h.dir)
	if err != nil {
		return err
	}
	if pid == 0 {
		err = h.launch(ctx)
	} else {
		h.spec, err = machine.Load(h.dir)
	}
	if err != nil {
		return err
	}
	if h.plane, err = h.spec.ControlPlane(); err != nil {
		return err
	}
	h.client, err = h.plane.BootstrapConfig()
	return err
}

// launch makes all that the machine needs, anew, and starts it.
func (h *healing) launch(ctx context.Context) error {
	host, namespace := machine.Host{}, ""
	if h.record.Fleet != nil {
		if _, err := network.Claim(h.local.needs.Home, h.record.Fleet); err != nil {
			return err
		}
		machineNetwork := h.record.network()
		if err := machineNetwork.Connect(); err != nil {
			return err
		}
		namespace = machineNetwork.Path()
		// What the containers of an earlier life left would be taken for running ones, at three seconds each.
		err := machine.RemoveCgroup(ctx, h.record.cgroup())
		if err != nil {
			return err
		}
		if host, err = inspectHost(h.dir, h.record.cgroup()); err != nil {
			return err
		}
	}
	h.spec = h.record.machineSpec(h.dir, h.local.needs.Binaries, host)
	if err := h.spec.Prepare(); err != nil {
		return err
	}
	if err := h.linkKubeconfig(); err != nil {
		return err
	}
	h.launched = time.Now().Truncate(time.Second) // as precise as the times in a Node
	return machine.Launch(h.spec, namespace)
}

// trustRegistries lets the machine pull from the registries that are known now.
func (h *healing) trustRegistries() error {
	if h.record.Nodes == 0 {
		return nil
	}
	for _, registry := range h.local.needs.Registries {
		if err := trust(h.dir, registry); err != nil {
			return err
		}
	}
	return nil
}

// linkKubeconfig puts the administrator's kubeconfig where people look for it.
func (h *healing) linkKubeconfig() error {
	link := filepath.Join(h.dir, "kubeconfig")
	if err := os.Symlink("kube/admin.kubeconfig", link); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// waitForAPI returns when the API is ready and the first roles are granted.
func (h *healing) waitForAPI(ctx context.Context) error {
	impatient := rest.CopyConfig(h.client)
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
			return fmt.Errorf("the machine ended; see the logs in %s", filepath.Join(h.dir, "logs"))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; see the logs in %s", h.plane.URL(), err, filepath.Join(h.dir, "logs"))
		case <-ticker.C:
		}
	}
}

// waitForNode returns when the kubelet of this machine, not of the one before, has said that the node is Ready.
func (h *healing) waitForNode(ctx context.Context) error {
	client, err := corev1client.NewForConfig(h.client)
	if err != nil {
		return err
	}
	one := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", h.spec.Node).String()}
	for ctx.Err() == nil {
		events, err := client.Nodes().Watch(ctx, one)
		if err != nil {
			return err
		}
		for event := range events.ResultChan() {
			if node, ok := event.Object.(*corev1.Node); ok && readySince(node, h.launched) {
				events.Stop()
				return nil
			}
		}
	}
	return fmt.Errorf("node %s is not Ready: %w; see %s", h.spec.Node, ctx.Err(), filepath.Join(h.dir, "logs", "kubelet.log"))
}

// readySince says whether the node is Ready, and has said so since then.
func readySince(node *corev1.Node, since time.Time) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue && !condition.LastHeartbeatTime.Time.Before(since)
		}
	}
	return false
}

// together runs all functions at once and returns, when the last has returned, the error that came first. An error
// cancels the others.
func together(ctx context.Context, functions ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		running sync.WaitGroup
		once    sync.Once
		first   error
	)
	for _, f := range functions {
		running.Go(func() {
			if err := f(ctx); err != nil {
				once.Do(func() { first = err })
				cancel()
			}
		})
	}
	running.Wait()
	return first
}
