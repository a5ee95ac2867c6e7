//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
	"umbel.dev/umbel/internal/lifecycle/local/network"
	"umbel.dev/umbel/test/rig"
)

// localPatience is how long a busy machine may take for what takes seconds.
const localPatience = 3 * time.Minute

// stock is what of local clusters is on the computer.
type stock struct {
	Processes, Links, Namespaces, Mounts, Cgroups []string
}

// varHome returns a data folder below /var: a machine has a /var of its own, and must find its folder all the same.
func varHome(t *testing.T) string {
	t.Helper()
	home, err := os.MkdirTemp("/var/tmp", "umbel-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	return home
}

// takeLocalStock lists what local clusters have on the computer; of processes, those of the data folder home.
func takeLocalStock(t *testing.T, home string) stock {
	t.Helper()
	var s stock
	for _, p := range processes() {
		if strings.Contains(p.command(), home) {
			s.Processes = append(s.Processes, p.command())
		}
	}
	var links []netlink.Link
	eventuallyLocal(t, "the links are listed", func() (err error) { // the kernel says when one came or went meanwhile
		links, err = netlink.LinkList()
		return err
	})
	for _, link := range links {
		s.Links = append(s.Links, link.Attrs().Name)
	}
	namespaces, err := os.ReadDir("/run/netns")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, namespace := range namespaces {
		s.Namespaces = append(s.Namespaces, namespace.Name())
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		s.Mounts = append(s.Mounts, strings.Fields(line)[4])
	}
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.Contains(path, "umbel") {
			s.Cgroups = append(s.Cgroups, path)
		}
		return nil // what vanishes meanwhile is somebody else's
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]string{s.Processes, s.Links, s.Namespaces, s.Mounts, s.Cgroups} {
		slices.Sort(list)
	}
	return s
}

// fleetName is how everything on the computer is named that belongs to a fleet: umbelN, umbelN-NODE, uN-NODE.
var fleetName = regexp.MustCompile(`(?:^|/)u(?:mbel)?([0-9]+)(?:-|/|$)`)

// of returns the stock without that of other fleets, which come and go as they like. Own is the bridge of one's own.
func (s stock) of(own string) stock {
	ours := func(names []string) []string {
		var kept []string // nil when nothing is left, whether others were there or not
		for _, name := range names {
			if match := fleetName.FindStringSubmatch(name); match == nil || "umbel"+match[1] == own {
				kept = append(kept, name)
			}
		}
		return kept
	}
	return stock{
		Processes:  s.Processes,
		Links:      ours(s.Links),
		Namespaces: ours(s.Namespaces),
		Mounts:     ours(s.Mounts),
		Cgroups:    ours(s.Cgroups),
	}
}

// eventuallyLocal returns when check does not err any more.
func eventuallyLocal(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.After(localPatience)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: not within %s: %v", what, localPatience, err)
		case <-ticker.C:
		}
	}
}

// proc is a process of the computer.
type proc struct {
	pid  int
	args []string
}

func (p proc) command() string { return strings.Join(p.args, " ") }

func processes() []proc {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []proc
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		content, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err != nil || len(content) == 0 {
			continue // gone, a zombie, or the kernel's
		}
		all = append(all, proc{pid, strings.Split(strings.TrimRight(string(content), "\x00"), "\x00")})
	}
	return all
}

// findProcess returns the process id of a component of the cluster in dir, zero if it does not run.
func findProcess(dir, name string) int {
	for _, p := range processes() {
		if strings.Contains(p.command(), dir+"/") || strings.HasSuffix(p.command(), dir) {
			if slices.ContainsFunc(p.args[:min(3, len(p.args))], func(arg string) bool { return filepath.Base(arg) == name }) {
				return p.pid
			}
		}
	}
	return 0
}

// wantProcesses reports when not exactly that many processes have text in their command line.
func wantProcesses(text string, want int) error {
	var found []string
	for _, p := range processes() {
		if strings.Contains(p.command(), text) {
			found = append(found, p.command())
		}
	}
	if len(found) != want {
		return fmt.Errorf("%d processes with %q, want %d: %q", len(found), text, want, found)
	}
	return nil
}

func killProcess(t *testing.T, pid int) {
	t.Helper()
	if pid == 0 {
		t.Fatal("the process to kill does not run")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// lookupInPod resolves a name with the server at address, from the network namespace of a pod of the cluster.
func lookupInPod(ctx context.Context, cluster local.Cluster, address, name string) error {
	all := processes()
	pod := slices.IndexFunc(all, func(p proc) bool {
		cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.pid))
		return err == nil && filepath.Base(p.args[0]) == "umbel-pause" && strings.Contains(string(cgroup), cluster.Namespace)
	})
	if pod < 0 {
		return errors.New("no pod runs")
	}
	namespace := fmt.Sprintf("/proc/%d/ns/net", all[pod].pid)
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, protocol, _ string) (conn net.Conn, err error) {
		err = network.Within(namespace, func() error {
			conn, err = (&net.Dialer{}).DialContext(ctx, protocol, net.JoinHostPort(address, "53"))
			return err
		})
		return conn, err
	}}
	_, err := resolver.LookupHost(ctx, name+".")
	return err
}

// serveRegistry serves a registry at a free port of the address, until the test ends, and returns how to push to it.
func serveRegistry(t *testing.T, address netip.Addr) (local.Registry, *content.Store) {
	t.Helper()
	ca, err := identity.NewCA("registry", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.IssueServer(identity.Request{CommonName: "registry", Hosts: []string{address.String()}, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	serving, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	registry, err := content.NewRegistry(content.RegistryConfig{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Close() })
	listener, err := net.Listen("tcp", netip.AddrPortFrom(address, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(registry)
	server.Listener.Close()
	server.Listener, server.TLS = listener, &tls.Config{Certificates: []tls.Certificate{serving}}
	server.StartTLS()
	t.Cleanup(server.Close)
	store, err := content.NewStore(server.URL, content.InProcess(registry))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.crt")
	writeWhole(t, file, string(ca.CertPEM()))
	return local.Registry{Host: listener.Addr().String(), CAFile: file}, store
}

// pushWaiter pushes an image that waits, as umbel/waiter:v1. It has another name than pause, and so is another image: the
// kubelet refuses an image that was imported, and later pulled as another.
func pushWaiter(t *testing.T, store *content.Store) {
	t.Helper()
	program, err := os.ReadFile(rig.Binary("umbel-pause"))
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "waiter")
	if err := os.WriteFile(binary, program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := store.PushImage(t.Context(), "umbel/waiter", "v1", binary); err != nil {
		t.Fatal(err)
	}
}

func localConfig(t *testing.T, clusters *local.Local, name string) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", describeLocal(t, clusters, name).Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func localClient(t *testing.T, clusters *local.Local, name string) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(localConfig(t, clusters, name))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func pausePod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "pause", Image: machine.PauseImage, ImagePullPolicy: corev1.PullNever},
		}},
	}
}

// wantRunning reports when the pod's containers are not all ready.
func wantRunning(ctx context.Context, client *kubernetes.Clientset, name string) error {
	pod, err := client.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("pod %s is %s: %+v", name, pod.Status.Phase, pod.Status.ContainerStatuses)
}

func makeConfigMap(t *testing.T, client *kubernetes.Clientset, name string) {
	t.Helper()
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), object, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// writeWhole writes a file so that nobody sees half of it.
func writeWhole(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
