package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// listen listens at an address of this machine that is not its loopback, which an API server asks no pod at.
func listen(t *testing.T) net.Listener {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if in, is := a.(*net.IPNet); is && in.IP.To4() != nil && in.IP.IsGlobalUnicast() {
			if at, err := net.Listen("tcp", net.JoinHostPort(in.IP.String(), "0")); err == nil {
				return at
			}
		}
	}
	t.Fatal("this machine has no address beside its loopback")
	return nil
}

// serves has somebody answer where pods can be, until end is called or the test ends.
func serves(t *testing.T, handler http.Handler) (at *net.TCPAddr, end func()) {
	t.Helper()
	listener, server := listen(t), &http.Server{Handler: handler}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serving what pods say: %v", err)
		}
	})
	end = func() {
		server.Close()
		serving.Wait()
	}
	t.Cleanup(end)
	return listener.Addr().(*net.TCPAddr), end
}

// transport is a way to an API server.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// forPods returns a new namespace in which pods can be.
func forPods(t *testing.T, config *rest.Config, client kubernetes.Interface) string {
	t.Helper()
	namespace := kubetest.Namespace(t, config)
	if _, err := client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return namespace
}

// monitors has the test API know PodMonitors, with all fields that anybody writes.
func monitors(t *testing.T, config *rest.Config) dynamic.NamespaceableResourceInterface {
	t.Helper()
	api, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "podmonitors.monitoring.coreos.com"},
		"spec": map[string]any{
			"group": "monitoring.coreos.com", "scope": "Namespaced", "names": map[string]any{"kind": "PodMonitor", "plural": "podmonitors"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
			}}},
		},
	}}
	crds := api.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if _, err := crds.Create(t.Context(), crd, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return api.Resource(schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: "podmonitors"})
}

// running makes a pod that runs at an address, as a kubelet would say, and returns what deletes it.
func running(t *testing.T, client kubernetes.Interface, namespace, name string, annotations map[string]string, at *net.TCPAddr) (gone func()) {
	t.Helper()
	p, err := client.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations, Labels: map[string]string{"name": name}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: int32(at.Port)}}}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	gone = sync.OnceFunc(func() {
		_ = client.CoreV1().Pods(namespace).Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
	})
	t.Cleanup(gone)
	p.Status.Phase, p.Status.PodIP, p.Status.PodIPs = corev1.PodRunning, at.IP.String(), []corev1.PodIP{{IP: at.IP.String()}}
	if _, err := client.CoreV1().Pods(namespace).UpdateStatus(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return gone
}

// TestPodsThatAsk are asked through a real API server: by an annotation, and by a PodMonitor; what one says of others, and of itself, is told apart; one that
// says too much, and one that is not there, cost their own series alone. One that leads to another path of its own is followed there, and to nobody else, as who asks has a token
// with all rights.
func TestPodsThatAsk(t *testing.T) {
	config := kubetest.Start(t)
	api, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	config.Wrap(func(way http.RoundTripper) http.RoundTripper {
		return transport(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host != api.Host || strings.Contains(r.URL.Path, "stolen") {
				t.Errorf("somebody had the agent ask %s", r.URL)
			}
			return way.RoundTrip(r)
		})
	})
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	namespace := forPods(t, config, client)
	address, end := serves(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metrics":
			fmt.Fprint(w, "# TYPE orders_total counter\norders_total{kind=\"a\"} 3\nup{job=\"state\",pod=\"other\",namespace=\"theirs\"} 1\n")
		case "/much":
			for i := range 6000 {
				fmt.Fprintf(w, "m{i=\"%d\"} 1\n", i)
			}
		case "/moved":
			http.Redirect(w, r, "/metrics", http.StatusMovedPermanently)
		case "/upward", "/across", "/abroad":
			w.Header().Set("Location", map[string]string{
				"/upward": strings.Repeat("../", 8) + "stolen", "/abroad": "http://" + r.Host + "1/metrics",
				"/across": strings.TrimSuffix(r.Header.Get("X-Forwarded-Uri"), "across") + strings.Repeat("../", 7) + "stolen",
			}[r.URL.Path])
			w.WriteHeader(http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	pod := func(name string, annotations map[string]string) {
		t.Helper()
		running(t, client, namespace, name, annotations, address)
	}
	pod("annotated", map[string]string{"prometheus.io/scrape": "true"})
	pod("much", map[string]string{"prometheus.io/scrape": "true", "prometheus.io/path": "/much"})
	for _, leads := range []string{"moved", "upward", "across", "abroad"} {
		pod(leads, map[string]string{"prometheus.io/scrape": "true", "prometheus.io/path": "/" + leads})
	}
	pod("astray", map[string]string{"prometheus.io/scrape": "true", "prometheus.io/path": "/../../../../secrets"})
	pod("monitored", nil)
	pod("quiet", nil)
	kind := monitors(t, config)
	for name, spec := range map[string]map[string]any{
		"m": {"selector": map[string]any{"matchLabels": map[string]any{"name": "monitored"}}, "podMetricsEndpoints": []any{map[string]any{"port": "metrics"}}},
		"crowd": {
			"selector":    map[string]any{"matchExpressions": []any{map[string]any{"key": "name", "operator": "In", "values": []any{"monitored", "quiet"}}}},
			"targetLimit": int64(1), "podMetricsEndpoints": []any{map[string]any{"port": "metrics", "params": map[string]any{"a": []any{"b"}}}},
		},
	} {
		named := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": map[string]any{"name": name}, "spec": spec}}
		for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			if _, err := kind.Namespace(namespace).Create(t.Context(), named, metav1.CreateOptions{}); err == nil {
				break
			} else if time.Now().After(end) {
				t.Fatal(err)
			}
		}
	}
	measure := func(profile v1alpha1.MetricsProfile) map[string]float64 {
		t.Helper()
		var bodies [][]byte
		s, err := New(Needs{
			Config: config, Dir: t.TempDir(), Now: func() time.Time { return noon }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Put: func(body []byte) error { bodies = append(bodies, body); return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Round(t.Context(), profile); err != nil {
			t.Fatal(err)
		}
		return sent(t, bodies)
	}
	got := map[string]float64{}
	for key, value := range measure(v1alpha1.MetricsStandard) {
		if strings.Contains(key, "namespace="+namespace) && (strings.HasPrefix(key, "up{") || strings.HasPrefix(key, "orders_total{") || strings.HasPrefix(key, "m{")) {
			got[strings.ReplaceAll(strings.ReplaceAll(key, namespace, "NS"), fmt.Sprint(address.Port), "PORT")] = value
		}
	}
	if diff := cmp.Diff(map[string]float64{
		"orders_total{instance=NS/annotated:PORT,job=pods,kind=a,namespace=NS,pod=annotated}":                                        3,
		"up{exported_namespace=theirs,exported_pod=other,instance=NS/annotated:PORT,job=pods,namespace=NS,pod=annotated}":            1,
		"up{instance=NS/annotated:PORT,job=pods,namespace=NS,pod=annotated}":                                                         1,
		"up{instance=NS/much:PORT,job=pods,namespace=NS,pod=much}":                                                                   0,
		"orders_total{instance=NS/moved:PORT,job=pods,kind=a,namespace=NS,pod=moved}":                                                3,
		"up{exported_namespace=theirs,exported_pod=other,instance=NS/moved:PORT,job=pods,namespace=NS,pod=moved}":                    1,
		"up{instance=NS/moved:PORT,job=pods,namespace=NS,pod=moved}":                                                                 1,
		"up{instance=NS/upward:PORT,job=pods,namespace=NS,pod=upward}":                                                               0,
		"up{instance=NS/across:PORT,job=pods,namespace=NS,pod=across}":                                                               0,
		"up{instance=NS/abroad:PORT,job=pods,namespace=NS,pod=abroad}":                                                               0,
		"orders_total{instance=NS/monitored:PORT,job=podmonitor/NS/m,kind=a,namespace=NS,pod=monitored}":                             3,
		"up{exported_namespace=theirs,exported_pod=other,instance=NS/monitored:PORT,job=podmonitor/NS/m,namespace=NS,pod=monitored}": 1,
		"up{instance=NS/monitored:PORT,job=podmonitor/NS/m,namespace=NS,pod=monitored}":                                              1,
		"up{instance=NS/monitored:PORT,job=podmonitor/NS/crowd,namespace=NS,pod=monitored}":                                          0,
		"up{instance=NS/quiet:PORT,job=podmonitor/NS/crowd,namespace=NS,pod=quiet}":                                                  0,
	}, got); diff != "" {
		t.Errorf("of pods (-want +got):\n%s", diff)
	}
	end()
	for key, value := range measure(v1alpha1.MetricsStandard) {
		if strings.HasPrefix(key, "up{instance="+namespace) && value != 0 {
			t.Errorf("nobody is there: %s is %v", key, value)
		}
	}
	for key := range measure(v1alpha1.MetricsMinimal) {
		if strings.Contains(key, "annotated") {
			t.Errorf("minimal has %s", key)
		}
	}
}
