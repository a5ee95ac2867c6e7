package kubetest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/deploy"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/kube/process"
	"umbel.dev/umbel/internal/programtest"
)

const startTimeout = 90 * time.Second // generous: a test machine may be busy

// shared is the API of this test process.
var shared struct {
	once sync.Once
	main bool // Main runs, so that somebody cleans up
	api  *API
	err  error
}

// API is a running etcd and kube-apiserver.
type API struct {
	// Config has the rights of system:masters.
	Config *rest.Config

	dir    string
	stop   func()
	unlock func()
}

// Main runs the tests of m, then ends the API that they shared. It returns the exit code.
func Main(m *testing.M) int {
	shared.main = true
	code := m.Run()
	if shared.api != nil {
		shared.api.Stop()
	}
	return code
}

// Start returns a client configuration, with the rights of system:masters, for the API that all tests of this process
// share. The caller may change its copy.
func Start(t testing.TB) *rest.Config {
	t.Helper()
	if !shared.main {
		t.Fatal("kubetest.Start needs: func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }")
	}
	shared.once.Do(func() { shared.api, shared.err = Run(context.WithoutCancel(t.Context())) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return rest.CopyConfig(shared.api.Config)
}

// AuditLog is where the API that Start returns writes down who did what.
func AuditLog(t testing.TB) string {
	t.Helper()
	Start(t)
	return shared.api.AuditLog()
}

// Run starts an API of its own, for a test that must stop or break it. The caller calls Stop. Components are started
// beside etcd and the API server.
func Run(ctx context.Context, components ...controlplane.Component) (*API, error) {
	return start(ctx, components)
}

// RunServing is Run with an API that also serves a version of a group that is off by default, such as networking.k8s.io/v1beta1: those
// that are deprecated are.
func RunServing(ctx context.Context, version string) (*API, error) {
	return start(ctx, nil, "--runtime-config="+version+"=true")
}

// start starts an API with these flags of its API server beside the usual ones.
func start(ctx context.Context, components []controlplane.Component, flags ...string) (*API, error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	ports, err := controlplane.FreePorts()
	if err != nil {
		return nil, err
	}
	dir, unlock, err := makeDir()
	if err != nil {
		return nil, err
	}
	api, err := run(ctx, controlplane.Config{
		Name:        "kubetest",
		Dir:         dir,
		Binary:      binary,
		Address:     netip.MustParseAddr("127.0.0.1"),
		Ports:       ports,
		ServiceCIDR: netip.MustParsePrefix("10.250.0.0/16"),
		Components:  components,
	}, flags)
	if err != nil {
		unlock()
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	api.unlock = unlock
	return api, nil
}

// hasty has an API that ends with its test take memory rather than time: nothing of it has to outlive the machine, and a
// process that is killed leaves what it wrote to the kernel. Its API server has these flags as well.
func hasty(processes []process.Process, flags []string) []process.Process {
	for i := range processes {
		p := &processes[i]
		p.Env = append(p.Env, "GOGC=400")
		switch p.Name {
		case "etcd":
			p.Args = append(p.Args, "--unsafe-no-fsync")
		case "kube-apiserver":
			p.Args = append(p.Args, flags...)
		}
	}
	return processes
}

func run(ctx context.Context, config controlplane.Config, flags []string) (*API, error) {
	plane, err := controlplane.New(config)
	if err != nil {
		return nil, err
	}
	if err := plane.Prepare(); err != nil {
		return nil, err
	}
	kubeconfig, err := plane.Kubeconfig(identity.Request{CommonName: "umbel:bootstrap", Organizations: []string{"system:masters"}, TTL: 24 * time.Hour}) // some tests take hours
	if err != nil {
		return nil, err
	}
	admin, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	admin.QPS = -1 // the API server's priority and fairness decides
	logs := filepath.Join(config.Dir, "logs")
	supervisor, err := process.New(process.Config{
		Processes: hasty(plane.Processes(), flags),
		LogDir:    logs,
		Log:       slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- supervisor.Run(running) }()
	stop := sync.OnceFunc(func() {
		cancel()
		<-done
	})
	waiting, cancelWaiting := context.WithTimeout(ctx, startTimeout)
	defer cancelWaiting()
	err = supervisor.WaitReady(waiting)
	if err == nil {
		err = plane.Bootstrap(waiting)
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("starting a test API: %w\n%s", err, tail(logs))
	}
	return &API{Config: admin, dir: config.Dir, stop: stop}, nil
}

// AuditLog is where the API writes down who did what.
func (a *API) AuditLog() string { return controlplane.AuditLog(a.dir) }

// Kubelet returns what a kubelet at an address serves with, so that the API server believes it.
func (a *API) Kubelet(address string) (tls.Certificate, error) {
	ca, err := identity.LoadOrCreateCA(filepath.Join(a.dir, "pki"), "ca", 24*time.Hour) // it is there
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := ca.IssueServer(identity.Request{CommonName: "system:node:test", Hosts: []string{address}, TTL: 24 * time.Hour})
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
}

// Stop ends the API and removes its data. It may be called more than once.
func (a *API) Stop() {
	a.stop()
	_ = os.RemoveAll(a.dir) // what stays is swept up by a later test
	a.unlock()
}

// Binary returns the path of umbel-kube.
func Binary() (string, error) { return programtest.Path("umbel-kube") }

// InstallCRDs applies the CustomResourceDefinitions of umbel.dev and returns when they are served.
func InstallCRDs(t testing.TB, config *rest.Config) {
	t.Helper()
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(deploy.CRDs, "crds/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := installCRD(t.Context(), client, deploy.CRDs, file); err != nil {
			t.Fatalf("installing %s: %v", file, err)
		}
	}
}

// InstallProfiles installs SIG-Multicluster's ClusterProfile and returns when it is served.
func InstallProfiles(t testing.TB, config *rest.Config) {
	t.Helper()
	installShared(t, config, deploy.Multicluster, deploy.ClusterProfileCRD)
}

// InstallDecisions installs SIG-Multicluster's PlacementDecision and returns when it is served.
func InstallDecisions(t testing.TB, config *rest.Config) {
	t.Helper()
	installShared(t, config, deploy.Multicluster, deploy.PlacementDecisionCRD)
}

// InstallRules installs the PrometheusRule of Prometheus' operator and returns when it is served.
func InstallRules(t testing.TB, config *rest.Config) {
	t.Helper()
	installShared(t, config, deploy.Monitoring, deploy.PrometheusRuleCRD)
}

func installShared(t testing.TB, config *rest.Config, from fs.FS, file string) {
	t.Helper()
	client, err := dynamic.NewForConfig(config)
	if err == nil {
		err = installCRD(t.Context(), client, from, file)
	}
	if err != nil {
		t.Fatalf("installing %s: %v", file, err)
	}
}

func installCRD(ctx context.Context, client dynamic.Interface, from fs.FS, file string) error {
	content, err := fs.ReadFile(from, file)
	if err != nil {
		return err
	}
	crd := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(content, &crd.Object); err != nil {
		return err
	}
	crds := client.Resource(schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	})
	applied, err := crds.Apply(ctx, crd.GetName(), crd, metav1.ApplyOptions{FieldManager: "kubetest", Force: true})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	events, err := crds.Watch(ctx, metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector("metadata.name", crd.GetName()).String(),
		ResourceVersion: applied.GetResourceVersion(),
	})
	if err != nil {
		return err
	}
	defer events.Stop()
	for current := applied; !established(current); {
		event, ok := <-events.ResultChan()
		if !ok {
			return fmt.Errorf("not established: %w", ctx.Err())
		}
		if event.Type == watch.Error {
			return apierrors.FromObject(event.Object)
		}
		current = event.Object.(*unstructured.Unstructured)
	}
	return nil
}

func established(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, c := range conditions {
		condition, ok := c.(map[string]any)
		if ok && condition["type"] == "Established" && condition["status"] == "True" {
			return true
		}
	}
	return false
}

// Namespace makes a namespace for one test and returns its name. It is not removed: no controller runs that would
// empty it, and the API ends with the test process.
func Namespace(t testing.TB, config *rest.Config) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}

// tail returns the end of every log in dir.
func tail(dir string) string {
	const most = 2000
	files, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	var text string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		text += fmt.Sprintf("--- %s\n%s\n", filepath.Base(file), content[max(0, len(content)-most):])
	}
	return text
}
