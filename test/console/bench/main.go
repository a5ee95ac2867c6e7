// Command bench measures the web console with a large fleet: 5,000 clusters that hold 20 packages each, on a real API server, with the gateway
// and the console that a hub runs. The clusters have no agents: the gateway says of each of them that it is silent, and what it held stands in its status.
//
//	go run ./test/console/bench -api KUBECONFIG -clusters 5000 -packages 20
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
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
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/console"
	"umbel.dev/umbel/internal/gateway"
	"umbel.dev/umbel/internal/gateway/trust"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/test/rig"
)

func main() {
	clusters := flag.Int("clusters", 5000, "how `MANY` clusters there are")
	packages := flag.Int("packages", 20, "how `MANY` packages each holds")
	kubeconfig := flag.String("api", "", "`KUBECONFIG` of an API server that has Umbel's kinds, and nothing of worth")
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	if err := run(context.Background(), *kubeconfig, *clusters, *packages); err != nil {
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

// bench is a hub with a console.
type bench struct {
	config  *rest.Config
	client  client.Client
	address string
	token   string
}

func run(ctx context.Context, kubeconfig string, clusters, packages int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := &bench{}
	if err := b.start(ctx, kubeconfig); err != nil {
		return err
	}
	began := time.Now()
	if err := b.seed(ctx, clusters, packages); err != nil {
		return err
	}
	fmt.Printf("seeded %d clusters with %d packages each in %s\n", clusters, packages, time.Since(began).Round(time.Second))
	if err := b.lists(ctx, clusters); err != nil {
		return err
	}
	story := exec.CommandContext(ctx, "node", filepath.Join("test", "bench.mjs"))
	story.Dir = filepath.Join(rig.Root(), "console")
	story.Env = append(os.Environ(), "HUB=https://"+b.address, "TOKEN="+b.token)
	story.Stdout, story.Stderr = os.Stdout, os.Stderr
	return story.Run()
}

func (b *bench) start(ctx context.Context, kubeconfig string) (err error) {
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
	mgr, err := ctrl.NewManager(b.config, ctrl.Options{Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}})
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

// seed makes the clusters, with what their agents would have said last.
func (b *bench) seed(ctx context.Context, clusters, packages int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for n := range clusters {
		group.Go(func() error {
			member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{
				Name:   fmt.Sprintf("cluster-%05d", n),
				Labels: map[string]string{"env": []string{"prod", "stage", "dev"}[n%3], "region": fmt.Sprintf("region-%02d", n%20), "team": fmt.Sprintf("team-%02d", n%37)},
			}}
			if err := b.client.Create(ctx, member); client.IgnoreAlreadyExists(err) != nil {
				return err
			} else if err != nil {
				return nil // of a run before
			}
			member.Status = status(n, packages)
			return b.client.Status().Update(ctx, member)
		})
	}
	return group.Wait()
}

func status(n, packages int) v1alpha1.MemberClusterStatus {
	now := metav1.Now()
	connected, ready, why := metav1.ConditionTrue, metav1.ConditionTrue, "every Package is applied"
	if n%50 == 0 {
		ready, why = metav1.ConditionFalse, "default/shop: 1 of 4 objects could not be applied"
	}
	if n%30 == 0 {
		connected = metav1.ConditionUnknown
	}
	s := v1alpha1.MemberClusterStatus{KubernetesVersion: fmt.Sprintf("v1.%d.4", 34+n%3), AgentVersion: "v0.9.0", LastSeen: &now}
	for kind, is := range map[string]metav1.ConditionStatus{v1alpha1.ConditionConnected: connected, v1alpha1.ConditionReady: ready, v1alpha1.ConditionSynced: ready} {
		s.Conditions = append(s.Conditions, metav1.Condition{Type: kind, Status: is, Reason: "Bench", Message: why, LastTransitionTime: now})
	}
	for p := range packages {
		s.Packages = append(s.Packages, v1alpha1.MemberPackage{
			Package: v1alpha1.KeyOf("default", fmt.Sprintf("package-%02d", p)), Release: fmt.Sprintf("package-%02d-1a2b3c4d", p), Phase: v1alpha1.PackageApplied,
			Objects: 4, Applied: 4, Healthy: 4, Since: now,
		})
	}
	return s
}

// lists asks for lists as pages do, and says how long that takes.
func (b *bench) lists(ctx context.Context, clusters int) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	ask := func(method, path, body string) (int, error) {
		r, err := http.NewRequestWithContext(ctx, method, "https://"+b.address+path, strings.NewReader(body))
		if err != nil {
			return 0, err
		}
		r.Header.Set("X-Umbel-Console", "1")
		answer, err := browser.Do(r)
		if err != nil {
			return 0, err
		}
		defer answer.Body.Close()
		raw, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s: %s", path, answer.Status, raw)
		}
		return len(raw), err
	}
	token, err := json.Marshal(map[string]string{"token": b.token})
	if err != nil {
		return err
	}
	if _, err := ask(http.MethodPost, "/console/api/signin", string(token)); err != nil {
		return err
	}
	for _, c := range []struct{ what, path string }{
		{"the first page of clusters", "/console/api/clusters?limit=100"},
		{"filtered by a label and words", "/console/api/clusters?limit=100&f.label:env=prod&q=region-07"},
		{"the last page, by version", fmt.Sprintf("/console/api/clusters?limit=100&sort=-kubernetes&from=%d", clusters-100)},
		{"the fleet by region", "/console/api/fleet?group=region"},
		{"a search", "/console/api/search?q=cluster-04"},
	} {
		var times []time.Duration
		size := 0
		for range 100 {
			began := time.Now()
			if size, err = ask(http.MethodGet, c.path, ""); err != nil {
				return err
			}
			times = append(times, time.Since(began))
		}
		slices.Sort(times)
		fmt.Printf("%-32s p50 %4d ms   p95 %4d ms   max %4d ms   %5d kB unpacked\n", c.what, times[50].Milliseconds(), times[95].Milliseconds(), times[99].Milliseconds(), size/1000)
	}
	return nil
}
