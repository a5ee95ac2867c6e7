package prometheus

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/gateway"
	"umbel.dev/umbel/internal/gateway/trust"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/metrics/query"
	"umbel.dev/umbel/internal/metrics/request"
	"umbel.dev/umbel/internal/metrics/store"
	"umbel.dev/umbel/internal/programtest"
	"umbel.dev/umbel/internal/session"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}

// kept is what a hub keeps of what clusters measure, and how it is asked for.
type kept struct {
	*store.Store
	*query.API
}

// nothing is what members are to hold.
type nothing struct{}

func (nothing) For(v1alpha1.ClusterName) (session.DesiredSet, bool) {
	return session.DesiredSet{}, true
}
func (nothing) Subscribe(v1alpha1.ClusterName) (<-chan struct{}, func()) {
	return make(chan struct{}), func() {}
}

// TestPromtoolAsksTheHub as a Prometheus, at its door: with TLS and a token, with which alone it is answered. Debian's promtool sends a header with range queries
// alone: to what else it asks, somebody in between adds the token.
func TestPromtoolAsksTheHub(t *testing.T) {
	door, token := hub(t)
	roots := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(roots, door.Authority.Bundle(), 0o600); err != nil {
		t.Fatal(err)
	}
	address := &url.URL{Scheme: "https", Host: door.Addrs()[0].String()}
	between := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(address)
			r.Out.Header.Set("Authorization", "Bearer "+token)
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	})
	t.Cleanup(between.Close)

	program, err := programtest.Path("promtool")
	if err != nil {
		t.Fatal(err)
	}
	nowhere := t.TempDir() // only the hub's roots are believed
	asks := func(roots string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, append([]string{"query"}, args...)...)
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+roots, "SSL_CERT_DIR="+nowhere)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	at := func(of time.Time) string { return fmt.Sprint(of.Unix()) }
	ranged := []string{"range", "--start=" + at(measured.Add(-time.Minute)), "--end=" + at(measured), "--step=1m", address.String(), "sum by (cluster) (node_memory_working_set_bytes)"}
	authorized := append([]string{ranged[0], "--header=Authorization=Bearer " + token}, ranged[1:]...)
	series := `node_memory_working_set_bytes{cluster="prod-%s", instance="n1"}`
	for _, c := range []struct {
		reason string
		args   []string
		want   []string
	}{
		{"range, at the door", authorized, []string{
			`{cluster="prod-eu"} =>`, "1 @[" + at(measured.Add(-time.Minute)) + "]", "2 @[" + at(measured) + "]", `{cluster="prod-us"} =>`, "3 @[" + at(measured) + "]",
		}},
		{"instant", []string{"instant", "--time=" + at(measured), between.URL, "node_memory_working_set_bytes > 1"}, []string{
			fmt.Sprintf(series, "eu") + " => 2 @[" + at(measured) + "]", fmt.Sprintf(series, "us") + " => 3 @[" + at(measured) + "]",
		}},
		{"series", []string{"series", "--match=node_memory_working_set_bytes", between.URL}, []string{
			`{__name__="node_memory_working_set_bytes", cluster="prod-eu", instance="n1"}`, `{__name__="node_memory_working_set_bytes", cluster="prod-us", instance="n1"}`,
		}},
		{"labels", []string{"labels", between.URL, "cluster"}, []string{"prod-eu", "prod-us"}},
	} {
		out, err := asks(roots, c.args...)
		var got []string
		for line := range strings.Lines(out) {
			if line = strings.TrimSpace(line); line != "" {
				got = append(got, line)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", c.reason, err, diff)
		}
	}
	if out, err := asks(roots, ranged...); err == nil || !strings.Contains(out, "401") {
		t.Errorf("without a token it is answered %v: %s", err, out)
	}
	if out, err := asks(os.DevNull, authorized...); err == nil || !strings.Contains(out, "x509") {
		t.Errorf("a door that it does not know is believed: %v: %s", err, out)
	}
}

// measured is when the last samples are of.
var measured = time.Now().Truncate(time.Minute)

// hub starts the door of a hub that has samples of two clusters, and returns a token that may do all there.
func hub(t *testing.T) (*gateway.Gateway, string) {
	t.Helper()
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	if err := api.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}}); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	db, err := store.Open(store.Config{Dir: t.TempDir(), Now: time.Now, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	write(t, db, "prod-eu", measured.Add(-time.Minute), 1)
	write(t, db, "prod-eu", measured, 2)
	write(t, db, "prod-us", measured, 3)

	authority, err := trust.Load(t.Context(), trust.Config{Client: api})
	if err != nil {
		t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{UsePriorityQueue: new(false)}, // as in hub
	})
	if err != nil {
		t.Fatal(err)
	}
	door, err := gateway.Setup(t.Context(), mgr, gateway.Config{
		Listen: []string{"127.0.0.1:0"}, Authority: authority, Desired: nothing{}, Registry: http.NotFoundHandler(), Version: "v1", Log: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	door.Metrics = kept{db, query.New(query.Needs{Queryable: db.Queryable(), Types: db.Types, Now: time.Now, Log: quiet})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the hub ended: %v", err)
		}
	})
	token := person(t, config, api)
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	await(t, "the door", func() bool {
		answer, err := browser.Get("https://" + door.Addrs()[0].String() + "/api/v1/query")
		if err == nil {
			answer.Body.Close()
		}
		return err == nil
	})
	return door, token
}

// write keeps a sample as one that an agent sent.
func write(t *testing.T, db *store.Store, cluster v1alpha1.ClusterName, at time.Time, v float64) {
	t.Helper()
	var b request.Builder
	b.Add([]request.Label{{Name: "__name__", Value: "node_memory_working_set_bytes"}, {Name: "instance", Value: "n1"}}, request.Gauge, at.UnixMilli(), v)
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(b.Take()))
	r.Header.Set("Content-Type", request.ContentType)
	r.Header.Set("Content-Encoding", request.ContentEncoding)
	w := httptest.NewRecorder()
	if db.Write(w, r, cluster); w.Code != http.StatusNoContent {
		said, _ := io.ReadAll(w.Body)
		t.Fatalf("a sample of %s is answered %d %s", cluster, w.Code, said)
	}
}

// person makes somebody who may do all, and returns a token of theirs.
func person(t *testing.T, config *rest.Config, api client.Client) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "grafana"}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "grafana"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}},
	}
	for _, object := range []client.Object{account, binding} {
		if err := api.Create(t.Context(), object); client.IgnoreAlreadyExists(err) != nil {
			t.Fatal(err)
		}
	}
	given, err := kubernetes.NewForConfigOrDie(config).CoreV1().ServiceAccounts(account.Namespace).CreateToken(t.Context(), account.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return given.Status.Token
}
