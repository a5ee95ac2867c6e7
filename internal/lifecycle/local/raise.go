package local

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/internal/lifecycle/local/machine"
	"umbel.dev/umbel/internal/lifecycle/local/network"
)

// raising brings one machine up, whatever is left of it.
type raising struct {
	local *Local
	place place
	main  place // with the control plane; place itself, or another
	// version of Kubernetes; empty for the hub's own.
	version string
	// labels and taints of its Node.
	labels map[string]string
	taints []corev1.Taint
	// providerID of its Node; empty for that of a machine of ours.
	providerID string

	spec     machine.Spec
	launched time.Time // zero if the machine ran already
}

// ensure starts the machine unless it runs.
func (m *raising) ensure(ctx context.Context) error {
	// One that runs too: it may be older than the hub. containerd looks at each pull.
	if err := m.trustRegistries(); err != nil {
		return err
	}
	pid, err := machine.PID(m.place.dir)
	if err != nil {
		return err
	}
	if pid == 0 {
		return m.launch(ctx)
	}
	m.spec, err = machine.Load(m.place.dir)
	return err
}

// launch makes all that the machine needs, anew, and starts it.
func (m *raising) launch(ctx context.Context) error {
	if err := os.MkdirAll(m.place.dir, 0o755); err != nil {
		return err
	}
	host, namespace := machine.Host{}, ""
	if fleet := m.place.cluster.Fleet; fleet != nil {
		if _, err := network.Claim(m.local.needs.Home, fleet); err != nil {
			return err
		}
		machineNetwork := m.place.network()
		if err := machineNetwork.Connect(); err != nil {
			return err
		}
		namespace = machineNetwork.Path()
		// What the containers of an earlier life left would be taken for running ones, at three seconds each.
		err := machine.RemoveCgroup(ctx, m.place.cgroup())
		if err != nil {
			return err
		}
		if host, err = InspectHost(m.place.dir, m.place.cgroup()); err != nil {
			return err
		}
	}
	binaries := m.local.needs.Binaries
	var err error
	if binaries.Kube, err = m.local.kube(ctx, m.version); err != nil {
		return err
	}
	m.spec = m.place.spec(m.main, binaries, host)
	m.spec.Version, m.spec.Audit = m.version, filepath.Join(m.local.dir(m.place.cluster.Name), auditDir)
	if err := m.spec.Prepare(); err != nil {
		return err
	}
	m.launched = time.Now().Truncate(time.Second) // as precise as the times in a Node
	return machine.Launch(m.spec, namespace)
}

// trustRegistries lets the machine pull from the registries that are known now.
func (m *raising) trustRegistries() error {
	if m.place.cluster.Fleet == nil {
		return nil
	}
	for _, registry := range m.local.needs.Registries {
		if err := Trust(m.place.dir, registry); err != nil {
			return err
		}
	}
	return nil
}

// further brings up a machine whose control plane is on another, and serves.
func (m *raising) further(ctx context.Context, client kubernetes.Interface, serves <-chan struct{}) error {
	if _, err := m.register(ctx, client); err != nil {
		return err
	}
	if err := m.ensure(ctx); err != nil {
		return err
	}
	if err := m.importImages(ctx, serves); err != nil {
		return err
	}
	return m.waitForNode(ctx, client)
}

// register makes the Node before its kubelet does, since the controller manager would give it any range that is free, and this
// machine's pods have the one to which the others know the way; and so that no pod is there before the taints are. It says whether there
// was none.
func (m *raising) register(ctx context.Context, client kubernetes.Interface) (made bool, err error) {
	pods := m.place.pods().String()
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: m.place.node(), Labels: m.labels},
		Spec:       corev1.NodeSpec{PodCIDR: pods, PodCIDRs: []string{pods}, Taints: m.taints},
	}
	if m.place.cluster.hosted() {
		node.Spec.ProviderID = cmp.Or(m.providerID, ProviderID(m.place.cluster.Name, node.Name))
	}
	_, err = client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return false, fmt.Errorf("making node %s: %w", node.Name, err)
	}
	return err == nil, nil
}

// waitForNode returns when the kubelet of this machine, not of the one before, has said that the node is Ready.
func (m *raising) waitForNode(ctx context.Context, client kubernetes.Interface) error {
	one := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", m.spec.Node).String()}
	for ctx.Err() == nil {
		events, err := client.CoreV1().Nodes().Watch(ctx, one)
		if err != nil {
			return err
		}
		for event := range events.ResultChan() {
			if node, ok := event.Object.(*corev1.Node); ok && readySince(node, m.launched) {
				events.Stop()
				return nil
			}
		}
	}
	return fmt.Errorf("node %s is not Ready: %w; see %s", m.spec.Node, ctx.Err(), filepath.Join(m.place.dir, "logs", "kubelet.log"))
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
