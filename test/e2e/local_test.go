//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
	"umbel.dev/umbel/test/rig"
)

// TestLocalClusters is the life of two local clusters: made, used, broken in every way, healed, deleted without a trace.
func TestLocalClusters(t *testing.T) {
	home := varHome(t)
	before := takeLocalStock(t, home)
	clusters := newLocalClusters(t, home)
	t.Cleanup(func() { // what a failure below leaves; nothing otherwise
		for _, name := range []string{"one", "two"} {
			_ = clusters.Delete(context.WithoutCancel(t.Context()), name)
		}
	})

	t.Run("two clusters get ready side by side", func(t *testing.T) {
		t.Run("clusters", func(t *testing.T) {
			for _, name := range []string{"one", "two"} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					createLocal(t, clusters, name)
				})
			}
		})
		listed, err := clusters.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(listed) != 2 || listed[0].PodCIDR == listed[1].PodCIDR || listed[0].ServiceCIDR == listed[1].ServiceCIDR {
			t.Errorf("got clusters %+v, want two with ranges of their own", listed)
		}
	})
	one := localClient(t, clusters, "one")
	t.Run("the administrator is no system:masters, and a stranger is nobody", func(t *testing.T) { checkLocalAccess(t, clusters, one) })
	t.Run("a pod runs and finds services by name", func(t *testing.T) { checkLocalPods(t, describeLocal(t, clusters, "one"), one) })
	t.Run("an image comes from the hub's registry, by its CA alone", func(t *testing.T) { checkLocalRegistry(t, clusters, one) })
	t.Run("whatever is killed comes back", func(t *testing.T) { checkLocalKills(t, clusters, one) })
	t.Run("a cut link is a partition, and heals", func(t *testing.T) { checkLocalPartition(t, clusters, one) })
	t.Run("a power cut heals", func(t *testing.T) { checkLocalPowerCut(t, clusters, one) })
	t.Run("stopped and started, it holds what it held", func(t *testing.T) { checkLocalStop(t, clusters, one) })

	t.Run("deleted, they leave nothing", func(t *testing.T) {
		own, _, _ := strings.Cut(describeLocal(t, clusters, "one").Namespace, "-")
		for _, name := range []string{"one", "two"} {
			if err := clusters.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(before.of(own), takeLocalStock(t, home).of(own)); diff != "" {
			t.Errorf("the computer is not as it was (-before +after):\n%s", diff)
		}
		entries, err := os.ReadDir(home)
		if err != nil || len(entries) > 0 {
			t.Errorf("the data folder holds %v (%v), want nothing", entries, err)
		}
	})
}

// TestLocalControlPlaneAlone is a cluster without a node: no namespaces, no root, and an agent beside it.
func TestLocalControlPlaneAlone(t *testing.T) {
	home := t.TempDir()
	before := takeLocalStock(t, home)
	clusters := newLocalClusters(t, home)
	cluster, err := clusters.Create(t.Context(), local.Spec{Name: "alone"}, logLocalProgress(t, "alone"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = clusters.Delete(context.WithoutCancel(t.Context()), "alone") })
	client := localClient(t, clusters, "alone")

	t.Run("an agent runs for as long as its command is there", func(t *testing.T) {
		file := filepath.Join(cluster.Dir, machine.AgentFile)
		writeWhole(t, file, `{"args": ["/usr/bin/sleep", "4242"]}`)
		eventuallyLocal(t, "the agent runs", func() error { return wantProcesses("sleep 4242", 1) })
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		eventuallyLocal(t, "the agent is gone", func() error { return wantProcesses("sleep 4242", 0) })
	})
	t.Run("killed at its root, it ends whole, and heals with what it held", func(t *testing.T) {
		makeConfigMap(t, client, "kept")
		killProcess(t, cluster.PID)
		eventuallyLocal(t, "no process of it is left", func() error { return wantProcesses(cluster.Dir, 0) })
		if _, err := clusters.Start(t.Context(), "alone", logLocalProgress(t, "alone")); err != nil {
			t.Fatal(err)
		}
		if _, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	})
	t.Run("one that ends while it is being started is started anew", func(t *testing.T) { checkLocalEndsMeanwhile(t, clusters) })
	t.Run("somebody else took its port while it was stopped", func(t *testing.T) { checkLocalPortTaken(t, clusters) })
	t.Run("deleted, it leaves nothing", func(t *testing.T) {
		if err := clusters.Delete(t.Context(), "alone"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before.of("none"), takeLocalStock(t, home).of("none")); diff != "" {
			t.Errorf("the computer is not as it was (-before +after):\n%s", diff)
		}
	})
}

// checkLocalEndsMeanwhile stops the first process and ends the others, so that a start finds a machine that runs and serves nothing;
// then it ends too.
func checkLocalEndsMeanwhile(t *testing.T, clusters *local.Local) {
	cluster := describeLocal(t, clusters, "alone")
	if err := syscall.Kill(cluster.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, p := range processes() {
		if strings.Contains(p.command(), cluster.Dir) && p.pid != cluster.PID {
			killProcess(t, p.pid)
		}
	}
	waits := logLocalProgress(t, "alone")
	_, err := clusters.Start(t.Context(), "alone", func(step string) func(error) {
		if step == local.StepAPI && describeLocal(t, clusters, "alone").PID == cluster.PID {
			killProcess(t, cluster.PID)
		}
		return waits(step)
	})
	if err != nil {
		t.Fatal(err)
	}
	if now := describeLocal(t, clusters, "alone"); now.Server != cluster.Server || now.PID == cluster.PID {
		t.Errorf("got server %s and process %d, want %s as before and another process than %d", now.Server, now.PID, cluster.Server, cluster.PID)
	}
}

// checkLocalPortTaken has somebody listen where the cluster's API was.
func checkLocalPortTaken(t *testing.T, clusters *local.Local) {
	if err := clusters.Stop(t.Context(), "alone"); err != nil {
		t.Fatal(err)
	}
	server := describeLocal(t, clusters, "alone").Server
	listener, err := net.Listen("tcp", strings.TrimPrefix(server, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	cluster, err := clusters.Start(t.Context(), "alone", logLocalProgress(t, "alone"))
	if err != nil {
		t.Fatal(err)
	}
	if cluster.Server == server {
		t.Errorf("it serves at %s, where somebody else does", server)
	}
	if _, err := localClient(t, clusters, "alone").CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func checkLocalAccess(t *testing.T, clusters *local.Local, client *kubernetes.Clientset) {
	config := localConfig(t, clusters, "one")
	who, err := client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(who.Status.UserInfo.Groups, "system:masters") {
		t.Errorf("the administrator's groups are %v, want none that RBAC cannot restrain", who.Status.UserInfo.Groups)
	}
	config.CertData, config.KeyData = nil, nil
	stranger, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Discovery().ServerVersion(); !apierrors.IsUnauthorized(err) {
		t.Errorf("without a certificate the API answers %v, want Unauthorized", err)
	}
}

// checkPods runs a pod whose program, CoreDNS, resolves a name by the cluster's DNS: it says so by getting ready.
func checkLocalPods(t *testing.T, cluster local.Cluster, client *kubernetes.Clientset) {
	if _, err := client.CoreV1().Pods("default").Create(t.Context(), pausePod("pause"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventuallyLocal(t, "the pod runs", func() error { return wantRunning(t.Context(), client, "pause") })
	eventuallyLocal(t, "the cluster's DNS is ready", func() error {
		deployment, err := client.AppsV1().Deployments("kube-system").Get(t.Context(), "coredns", metav1.GetOptions{})
		if err == nil && deployment.Status.ReadyReplicas != 1 {
			err = fmt.Errorf("%d replicas are ready, want 1", deployment.Status.ReadyReplicas)
		}
		return err
	})
	service, err := client.CoreV1().Services("kube-system").Get(t.Context(), "kube-dns", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// From within the pod's network namespace, through kube-proxy, as a pod would.
	eventuallyLocal(t, "a name resolves", func() error {
		return lookupInPod(t.Context(), cluster, service.Spec.ClusterIP, "kubernetes.default.svc.cluster.local")
	})
}

// checkLocalRegistry runs a pod whose image is pulled from a registry at the hub's address, of which a running cluster
// learns only now.
func checkLocalRegistry(t *testing.T, clusters *local.Local, client *kubernetes.Clientset) {
	address, err := clusters.HubAddress()
	if err != nil {
		t.Fatal(err)
	}
	registry, store := serveRegistry(t, address)
	pushWaiter(t, store)
	if err := clusters.TrustRegistry(registry); err != nil {
		t.Fatal(err)
	}
	pod := pausePod("pulled")
	pod.Spec.Containers[0].Image = registry.Host + "/umbel/waiter:v1"
	pod.Spec.Containers[0].ImagePullPolicy = corev1.PullAlways
	if _, err := client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventuallyLocal(t, "the pod runs", func() error { return wantRunning(t.Context(), client, "pulled") })
}

func checkLocalKills(t *testing.T, clusters *local.Local, client *kubernetes.Clientset) {
	dir := describeLocal(t, clusters, "one").Dir
	for _, name := range []string{"etcd", "kubelet", "containerd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "machine-run"} {
		t.Run(name, func(t *testing.T) {
			pid := findProcess(dir, name)
			killProcess(t, pid)
			eventuallyLocal(t, name+" is back", func() error {
				if now := findProcess(dir, name); now == 0 || now == pid {
					return fmt.Errorf("%s has process %d", name, now)
				}
				return nil
			})
			eventuallyLocal(t, "a new pod runs", func() error {
				pod := pausePod("after-" + name)
				_, err := client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{})
				if err != nil && !apierrors.IsAlreadyExists(err) {
					return err
				}
				return wantRunning(t.Context(), client, pod.Name)
			})
		})
	}
}

func checkLocalPartition(t *testing.T, clusters *local.Local, client *kubernetes.Clientset) {
	link, err := netlink.LinkByName(describeLocal(t, clusters, "one").Link)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetDown(link); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); err == nil {
		t.Error("the API answers over a link that is down")
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
	eventuallyLocal(t, "the API answers again", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err
	})
}

func checkLocalPowerCut(t *testing.T, clusters *local.Local, client *kubernetes.Clientset) {
	cluster := describeLocal(t, clusters, "one")
	killProcess(t, cluster.PID)
	eventuallyLocal(t, "no process of it is left", func() error { return wantProcesses(cluster.Dir, 0) })
	eventuallyLocal(t, "it is stopped", func() error { // its locks go a moment after its memory
		if got := describeLocal(t, clusters, "one").State; got != local.Stopped {
			return fmt.Errorf("got state %s, want %s", got, local.Stopped)
		}
		return nil
	})
	createLocal(t, clusters, "one")
	eventuallyLocal(t, "the pod runs again", func() error {
		pod, err := client.CoreV1().Pods("default").Get(t.Context(), "pause", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if status := pod.Status.ContainerStatuses; len(status) == 0 || !status[0].Ready || status[0].RestartCount == 0 {
			return fmt.Errorf("its containers are %+v", status)
		}
		return nil
	})
}

func checkLocalStop(t *testing.T, clusters *local.Local, client *kubernetes.Clientset) {
	makeConfigMap(t, client, "kept")
	if err := clusters.Stop(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if err := clusters.Stop(t.Context(), "one"); err != nil {
		t.Errorf("stopping what is stopped: %v", err)
	}
	if _, err := clusters.Start(t.Context(), "one", logLocalProgress(t, "one")); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func newLocalClusters(t *testing.T, home string) *local.Local {
	t.Helper()
	clusters, err := local.New(local.Needs{Home: home, Binaries: local.BinariesIn(filepath.Join(rig.Root(), "build", "bin"))})
	if err != nil {
		t.Fatal(err)
	}
	return clusters
}

func createLocal(t *testing.T, clusters *local.Local, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), localPatience)
	defer cancel()
	began := time.Now()
	if _, err := clusters.Create(ctx, local.Spec{Name: name, Nodes: 1}, logLocalProgress(t, name)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: Ready in %.1f s", name, time.Since(began).Seconds())
}

// logProgress logs each step with its time.
func logLocalProgress(t *testing.T, name string) local.Progress {
	return func(step string) func(error) {
		began := time.Now()
		return func(error) { t.Logf("%s: %s: %.1f s", name, step, time.Since(began).Seconds()) }
	}
}

func describeLocal(t *testing.T, clusters *local.Local, name string) local.Cluster {
	t.Helper()
	list, err := clusters.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(c local.Cluster) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no cluster %q among %+v", name, list)
	}
	return list[i]
}
