//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/internal/lifecycle/local/network"
	"umbel.dev/umbel/test/rig"
)

// TestLocalNodes is a cluster that grows to three nodes and shrinks again: pods of all nodes reach each other as who they are, a
// machine that loses its power comes back, and no node goes while a budget holds its pods.
func TestLocalNodes(t *testing.T) {
	home := varHome(t)
	before := takeLocalStock(t, home)
	clusters := newLocalClusters(t, home)
	t.Cleanup(func() { _ = clusters.Delete(context.WithoutCancel(t.Context()), "grows") })
	n := &nodes{T: t, clusters: clusters}
	n.scale(t.Context(), 1)
	n.client = localClient(t, clusters, "grows")

	t.Run("it grows", func(t *testing.T) {
		n.T = t
		n.scale(t.Context(), 3)
		n.are("grows-0 10.65.0.0/24", "grows-1 10.65.1.0/24", "grows-2 10.65.2.0/24")
		for number := range 3 {
			n.run(pinned(fmt.Sprintf("pause-%d", number), number))
		}
	})
	t.Run("pods of all nodes reach each other, as who they are", func(t *testing.T) {
		n.T = t
		dns, err := n.client.CoreV1().Services("kube-system").Get(t.Context(), "kube-dns", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for number := range 3 {
			machine := describeLocal(t, clusters, "grows")
			machine.Namespace = n.machine(number).Namespace
			eventuallyLocal(t, "a name resolves", func() error {
				return lookupInPod(t.Context(), machine, dns.Spec.ClusterIP, "kubernetes.default.svc.cluster.local")
			})
			if seen, is := n.calls(number, (number+1)%3); seen != is {
				t.Errorf("the pod with address %s on node %d is seen as %s", is, number, seen)
			}
			if _, err := n.client.CoreV1().Pods("default").GetLogs(fmt.Sprintf("pause-%d", number), &corev1.PodLogOptions{}).DoRaw(t.Context()); err != nil {
				t.Errorf("the API does not reach the kubelet of node %d: %v", number, err)
			}
		}
	})
	t.Run("a machine whose power is cut comes back", func(t *testing.T) {
		n.T = t
		killProcess(t, n.machine(2).PID)
		eventuallyLocal(t, "its machine is known to be stopped", func() error {
			if m := n.machine(2); m.State != local.Stopped {
				return fmt.Errorf("it is %s", m.State)
			}
			return nil
		})
		if _, err := clusters.Start(t.Context(), "grows", logLocalProgress(t, "grows")); err != nil {
			t.Fatal(err)
		}
		n.run(pinned("after-cut", 2))
	})
	t.Run("a node whose pods a budget holds stays", func(t *testing.T) {
		n.T = t
		held := pinned("held", 2)
		held.Labels = map[string]string{"app": "held"}
		n.run(held)
		one := intstr.FromInt32(1)
		budget := &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Name: "held"},
			Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: &metav1.LabelSelector{MatchLabels: held.Labels}},
		}
		if _, err := n.client.PolicyV1().PodDisruptionBudgets("default").Create(t.Context(), budget, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := clusters.Scale(ctx, local.Spec{Name: "grows", Nodes: 2}, logLocalProgress(t, "grows"))
		if err == nil || !strings.Contains(err.Error(), "grows-2") || !strings.Contains(err.Error(), "held") {
			t.Fatalf("got error %v, want one that names the node and the pod", err)
		}
		n.are("grows-0 10.65.0.0/24", "grows-1 10.65.1.0/24", "grows-2 10.65.2.0/24")
		if err := wantRunning(t.Context(), n.client, "held"); err != nil {
			t.Error(err)
		}
		if err := n.client.PolicyV1().PodDisruptionBudgets("default").Delete(t.Context(), "held", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("it shrinks, and its pods move", func(t *testing.T) {
		n.T = t
		n.deploy(3)
		link := n.machine(2).Link
		n.scale(t.Context(), 1)
		n.are("grows-0 10.65.0.0/24")
		n.deployed(3)
		if _, err := net.InterfaceByName(link); err == nil {
			t.Errorf("link %s is still there", link)
		}
		if entries, err := os.ReadDir(filepath.Join(describeLocal(t, clusters, "grows").Dir, "machines")); err != nil || len(entries) > 0 {
			t.Errorf("machines are left: %v (%v)", entries, err)
		}
	})
	t.Run("the page says what is so", func(t *testing.T) { localPage(t, home) })
	t.Run("it grows again, and deleted it leaves nothing", func(t *testing.T) {
		n.T = t
		n.scale(t.Context(), 2)
		n.are("grows-0 10.65.0.0/24", "grows-1 10.65.1.0/24")
		own, _, _ := strings.Cut(describeLocal(t, clusters, "grows").Namespace, "-")
		if err := clusters.Delete(t.Context(), "grows"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before.of(own), takeLocalStock(t, home).of(own)); diff != "" {
			t.Errorf("the computer is not as it was (-before +after):\n%s", diff)
		}
	})
}

// localPage runs the commands of docs/operate/local-clusters.md, which end with nothing left.
func localPage(t *testing.T, home string) {
	page, err := os.ReadFile(filepath.Join(rig.Root(), "docs", "operate", "local-clusters.md"))
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for i, block := range strings.Split(string(page), "```") {
		for line := range strings.Lines(block) {
			if args := strings.Fields(line); i%2 == 1 && len(args) > 0 {
				cmd := exec.CommandContext(t.Context(), filepath.Join(rig.Root(), "build", "bin", args[0]), args[1:]...)
				cmd.Env = append(os.Environ(), "UMBEL_HOME="+home)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", strings.TrimSpace(line), err, out)
				}
				ran++
			}
		}
	}
	if ran != 7 {
		t.Errorf("the page has %d commands", ran)
	}
}

// nodes is the cluster of TestLocalNodes.
type nodes struct {
	*testing.T
	clusters *local.Local
	client   *kubernetes.Clientset
}

// scale makes the cluster, or gives it more nodes or fewer.
func (n *nodes) scale(ctx context.Context, number int) {
	n.Helper()
	spec := local.Spec{Name: "grows", Nodes: number}
	do := n.clusters.Create
	if n.client != nil {
		do = n.clusters.Scale
	}
	if _, err := do(ctx, spec, logLocalProgress(n.T, "grows")); err != nil {
		n.Fatal(err)
	}
}

// are checks that the cluster has these nodes, all of them Ready and for pods to come, by name and range of pods.
func (n *nodes) are(want ...string) {
	n.Helper()
	list, err := n.client.CoreV1().Nodes().List(n.Context(), metav1.ListOptions{})
	if err != nil {
		n.Fatal(err)
	}
	var got []string
	for _, node := range list.Items {
		got = append(got, node.Name+" "+node.Spec.PodCIDR)
		ready := slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
		if !ready || node.Spec.Unschedulable {
			n.Errorf("node %s: Ready is %t, unschedulable %t", node.Name, ready, node.Spec.Unschedulable)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		n.Errorf("nodes (-want +got):\n%s", diff)
	}
}

// machine returns the machine of the node with that number, as people see it.
func (n *nodes) machine(number int) local.Machine {
	n.Helper()
	cluster := describeLocal(n.T, n.clusters, "grows")
	if number == 0 {
		return local.Machine{Namespace: cluster.Namespace, Link: cluster.Link, PID: cluster.PID, State: cluster.State}
	}
	return cluster.Machines[number-1]
}

// run makes a pod, and waits until it runs.
func (n *nodes) run(pod *corev1.Pod) {
	n.Helper()
	if _, err := n.client.CoreV1().Pods("default").Create(n.Context(), pod, metav1.CreateOptions{}); err != nil {
		n.Fatal(err)
	}
	eventuallyLocal(n.T, pod.Name+" runs", func() error { return wantRunning(n.Context(), n.client, pod.Name) })
}

func pinned(name string, node int) *corev1.Pod {
	pod := pausePod(name)
	pod.Spec.NodeName = fmt.Sprintf("grows-%d", node)
	return pod
}

// calls has the pod of one node call that of another, and returns the caller's address as it was seen, and as it is.
func (n *nodes) calls(from, to int) (seen, is netip.Addr) {
	n.Helper()
	var listener net.Listener
	n.within(to, func() (err error) {
		listener, err = net.Listen("tcp", n.podAddress(to).String()+":0")
		return err
	})
	defer listener.Close()
	answered := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_, err = io.WriteString(conn, conn.RemoteAddr().String())
			_ = conn.Close()
		}
		answered <- err
	}()
	var answer []byte
	n.within(from, func() error {
		conn, err := net.DialTimeout("tcp", listener.Addr().String(), 30*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		answer, err = io.ReadAll(conn)
		return err
	})
	if err := <-answered; err != nil {
		n.Fatal(err)
	}
	return netip.MustParseAddrPort(string(answer)).Addr(), n.podAddress(from)
}

// within runs f in the network namespace of the pod pause-NUMBER.
func (n *nodes) within(number int, f func() error) {
	n.Helper()
	namespace := n.machine(number).Namespace
	for _, p := range processes() {
		cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.pid))
		if err != nil || filepath.Base(p.args[0]) != "umbel-pause" || !strings.Contains(string(cgroup), namespace) {
			continue
		}
		pod := fmt.Sprintf("/proc/%d/ns/net", p.pid)
		err = network.Within(pod, func() error {
			if !holds(n.podAddress(number)) {
				return errOther
			}
			return f()
		})
		if err != errOther {
			if err != nil {
				n.Fatal(err)
			}
			return
		}
	}
	n.Fatalf("no process of pod pause-%d was found", number)
}

var errOther = fmt.Errorf("another pod's")

// holds says whether the network namespace of the caller has the address.
func holds(address netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(all, func(a net.Addr) bool { return strings.HasPrefix(a.String(), address.String()+"/") })
}

func (n *nodes) podAddress(number int) netip.Addr {
	n.Helper()
	pod, err := n.client.CoreV1().Pods("default").Get(n.Context(), fmt.Sprintf("pause-%d", number), metav1.GetOptions{})
	if err != nil {
		n.Fatal(err)
	}
	return netip.MustParseAddr(pod.Status.PodIP)
}

// deploy makes a Deployment with a replica on each node, as far as that can be.
func (n *nodes) deploy(replicas int32) {
	n.Helper()
	labels := map[string]string{"app": "spread"}
	template := pausePod("").Spec
	template.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway, LabelSelector: &metav1.LabelSelector{MatchLabels: labels},
	}}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "spread"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: template},
		},
	}
	if _, err := n.client.AppsV1().Deployments("default").Create(n.Context(), deployment, metav1.CreateOptions{}); err != nil {
		n.Fatal(err)
	}
	n.deployed(replicas)
}

func (n *nodes) deployed(replicas int32) {
	n.Helper()
	eventuallyLocal(n.T, "all replicas are ready", func() error {
		deployment, err := n.client.AppsV1().Deployments("default").Get(n.Context(), "spread", metav1.GetOptions{})
		if err == nil && deployment.Status.ReadyReplicas != replicas {
			err = fmt.Errorf("%d of %d", deployment.Status.ReadyReplicas, replicas)
		}
		return err
	})
}
