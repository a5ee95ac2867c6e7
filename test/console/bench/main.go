// Command bench measures the web console with a large fleet: 5,000 clusters that hold 20 packages each, what each of them measured in the last hour, an alert
// for each, and 100,000 Deployments; on a real API server, with the gateway, the console, the store of metrics and the rules that a hub runs.
//
// The clusters have no agents: the gateway says of each of them that it is silent, and what it held stands in its status. The Deployments are in the one
// API server that there is, which is asked for them as that of a cluster is, without a tunnel between; its controllers stand still, and make no more of them.
//
//	go run ./test/console/bench -api KUBECONFIG -clusters 5000 -packages 20 -workloads 100000
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/console"
	"umbel.dev/umbel/internal/gateway"
	"umbel.dev/umbel/internal/gateway/trust"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

func main() {
	clusters := flag.Int("clusters", 5000, "how `MANY` clusters there are")
	packages := flag.Int("packages", 20, "how `MANY` packages each holds")
	kubeconfig := flag.String("api", "", "`KUBECONFIG` of an API server that has Umbel's kinds, and nothing of worth")
	workloads := flag.Int("workloads", 100000, "how `MANY` Deployments the API server has")
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, size{*clusters, *packages, *workloads}); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// nothing is what members are to hold.
type nothing struct{}

func (nothing) For(v1alpha1.ClusterName) (session.DesiredSet, bool) {
	return session.DesiredSet{}, true
}
func (nothing) Subscribe(v1alpha1.ClusterName) (<-chan struct{}, func()) {
	return make(chan struct{}), func() {}
}

// size is how large the fleet is.
type size struct{ clusters, packages, workloads int }

// bench is a hub with a console.
type bench struct {
	size
	config  *rest.Config
	client  client.Client
	address string
	token   string
	kept    *kept
}

func run(ctx context.Context, kubeconfig string, of size) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "umbel-console-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	wake, err := calm(kubeconfig)
	if err != nil {
		return err
	}
	defer wake()
	b := &bench{size: of}
	if err := b.start(ctx, kubeconfig, dir); err != nil {
		return err
	}
	defer b.kept.Close() // before its folder goes
	for _, part := range []struct {
		what string
		seed func(context.Context) error
	}{
		{fmt.Sprintf("%d clusters with %d packages each", b.clusters, b.packages), b.seed},
		{fmt.Sprintf("%d packages with their releases", b.packages), b.seedPackages},
		{fmt.Sprintf("%d Deployments", b.workloads), b.seedWorkloads},
		{"what they measured in the last hour, and an alert for each", b.seedMetrics}, // last: nobody alerts of what was measured five minutes ago
	} {
		began := time.Now()
		if err := part.seed(ctx); err != nil {
			return err
		}
		fmt.Printf("seeded %s in %s\n", part.what, time.Since(began).Round(time.Second))
	}
	figures := report.New("console")
	if err := b.lists(ctx, figures); err != nil {
		return err
	}
	if err := b.pages(ctx, figures); err != nil {
		return err
	}
	return figures.Write()
}

// What a page may take in a browser: until something is seen in milliseconds, and its heap in MB.
const maxPaint, maxHeap = 1500, 150

// pages reports what pages take in Chromium.
func (b *bench) pages(ctx context.Context, r *report.Report) error {
	story := exec.CommandContext(ctx, "node", filepath.Join("test", "bench.mjs"))
	story.Cancel = func() error { return story.Process.Signal(syscall.SIGTERM) }
	story.WaitDelay = 10 * time.Second
	story.Dir = filepath.Join(rig.Root(), "console")
	story.Env = append(os.Environ(), "HUB=https://"+b.address, "TOKEN="+b.token)
	story.Stderr = os.Stderr
	said, err := story.Output()
	if err != nil {
		return fmt.Errorf("looking at pages: %w: %s", err, said)
	}
	for lines := json.NewDecoder(bytes.NewReader(said)); lines.More(); {
		var page struct {
			Page               string
			Paint, Whole, Heap float64
		}
		if err := lines.Decode(&page); err != nil {
			return fmt.Errorf("reading what test/bench.mjs says of pages: %w: %s", err, said)
		}
		r.Lower(page.Page+", first paint", page.Paint, "ms", maxPaint)
		r.Lower(page.Page+", all of it", page.Whole, "ms", 0)
		r.Lower(page.Page+", heap", page.Heap, "MB", maxHeap)
	}
	return nil
}

func (b *bench) start(ctx context.Context, kubeconfig, dir string) (err error) {
	if b.config, err = clientcmd.BuildConfigFromFlags("", kubeconfig); err != nil {
		return err
	}
	b.config.QPS = -1
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	if b.client, err = client.New(b.config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}}
	if err := client.IgnoreAlreadyExists(b.client.Create(ctx, namespace)); err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	authority, err := trust.Load(ctx, trust.Config{Client: b.client})
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(b.config, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{UsePriorityQueue: new(false)}, // as in hub
	})
	if err != nil {
		return err
	}
	door, err := gateway.Setup(ctx, mgr, gateway.Config{
		Listen: []string{"127.0.0.1:0"}, Authority: authority, Desired: nothing{}, Registry: http.NotFoundHandler(), Version: "v1", Log: log,
	})
	if err != nil {
		return err
	}
	pages, err := console.Setup(ctx, mgr, console.Config{Door: door, Version: "v1", Log: log})
	if err != nil {
		return err
	}
	door.Console = pages
	if door.Metrics, err = b.measure(ctx, dir); err != nil {
		return err
	}
	b.address = door.Addrs()[0].String()
	go mgr.Start(ctx) //nolint:errcheck // it ends with the program
	if b.token, err = b.person(ctx); err != nil {
		return err
	}
	return b.pulse(ctx)
}

// pulse says that the hub is alive: without it everything is Unknown.
func (b *bench) pulse(ctx context.Context) error {
	now, lasts := metav1.NewMicroTime(time.Now()), int32(3600)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubLease}}
	if err := client.IgnoreNotFound(b.client.Delete(ctx, lease.DeepCopy())); err != nil {
		return err
	}
	lease.Spec = coordinationv1.LeaseSpec{RenewTime: &now, LeaseDurationSeconds: &lasts}
	return b.client.Create(ctx, lease)
}

// person makes somebody who may do all, and returns a token of theirs.
func (b *bench) person(ctx context.Context) (string, error) {
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "bench"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: v1alpha1.SystemNamespace, Name: "bench"}},
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "bench"}}
	for _, object := range []client.Object{account, binding} {
		if err := client.IgnoreAlreadyExists(b.client.Create(ctx, object)); err != nil {
			return "", err
		}
	}
	clients, err := kubernetes.NewForConfig(b.config)
	if err != nil {
		return "", err
	}
	given, err := clients.CoreV1().ServiceAccounts(account.Namespace).CreateToken(ctx, account.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return given.Status.Token, nil
}
