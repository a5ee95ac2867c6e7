package scrape

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/metrics/request"
)

// TestDeadNodesHoldUpNobody: of more nodes than are asked at a time all but one are dead, as a machine is that answers nothing. They are asked through a
// real API server. In the round after, the one that lives has been asked for everything before any of them is, although its name is the last.
func TestDeadNodesHoldUpNobody(t *testing.T) {
	api, err := kubetest.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Stop)
	client, err := kubernetes.NewForConfig(api.Config)
	if err != nil {
		t.Fatal(err)
	}
	dead := listen(t)
	t.Cleanup(func() { dead.Close() })
	alive := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total 3\n")
	}))
	alive.Listener.Close()
	alive.Listener = listen(t)
	certificate, err := api.Kubelet(alive.Listener.Addr().(*net.TCPAddr).IP.String())
	if err != nil {
		t.Fatal(err)
	}
	alive.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	alive.StartTLS()
	t.Cleanup(alive.Close)
	add := func(name string, at net.Addr) {
		t.Helper()
		address := at.(*net.TCPAddr)
		node, err := client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address.IP.String()}}
		node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(address.Port)
		if _, err := client.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	const lost = atOnce + 2
	for i := range lost {
		add(fmt.Sprintf("dead-%02d", i), dead.Addr())
	}
	add("living", alive.Listener.Addr())

	var count atomic.Int64 // each look at the clock is a second later: times say in which order was asked
	var bodies [][]byte
	s, err := New(Needs{
		Config: api.Config, Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Now: func() time.Time { return noon.Add(time.Duration(count.Add(1)) * time.Second) },
		Put: func(body []byte) error { bodies = append(bodies, body); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.patience = 4 * time.Second // the one that lives has to answer within it, on a machine that is busy
	for round := range 2 {
		bodies = nil
		if err := s.Round(t.Context(), v1alpha1.MetricsStandard); err != nil {
			t.Fatal(err)
		}
		lastLiving, firstDead, answered, silent := int64(0), noon.Add(time.Hour).UnixMilli(), 0, 0
		for _, body := range bodies {
			if err := request.Decode(body, func(series *request.Series) error {
				of := map[string]string{}
				for _, l := range series.Labels {
					of[l.Name] = l.Value
				}
				switch sample := series.Samples[0]; {
				case of["__name__"] != "up":
				case of["instance"] == "living" && sample.Value == 1:
					answered, lastLiving = answered+1, max(lastLiving, sample.Millis)
				case strings.HasPrefix(of["instance"], "dead-") && sample.Value == 0:
					silent, firstDead = silent+1, min(firstDead, sample.Millis)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if answered != 3 || silent != 3*lost {
			t.Errorf("round %d: %d sources of the living node answered, and %d of the dead did not; want 3 and %d", round, answered, silent, 3*lost)
		}
		if round == 1 && lastLiving >= firstDead {
			t.Errorf("a dead node was asked before one that lives")
		}
	}
}

// TestDeadAPIServersAreAskedBesideEachOther: those that the cluster names take a connection and say nothing. Each is waited for while all others are. The test's own, which
// answers all else, listens where no EndpointSlice can say.
func TestDeadAPIServersAreAskedBesideEachOther(t *testing.T) {
	api, err := kubetest.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Stop)
	client, err := kubernetes.NewForConfig(api.Config)
	if err != nil {
		t.Fatal(err)
	}
	const lost = 3
	var open, most atomic.Int64
	for i := range lost {
		dead := listen(t)
		t.Cleanup(func() { dead.Close() })
		go func() {
			c, err := dead.Accept()
			if err != nil {
				return
			}
			for n := open.Add(1); ; {
				if before := most.Load(); n <= before || most.CompareAndSwap(before, n) {
					break
				}
			}
			_, _ = io.Copy(io.Discard, c) // until it is waited for no more
			open.Add(-1)
			c.Close()
		}()
		at := dead.Addr().(*net.TCPAddr)
		_, err := client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).Create(t.Context(), &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Name: fmt.Sprintf("dead-%d", i), Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
			AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: new("https"), Port: new(int32(at.Port))}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{at.IP.String()}}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	var bodies [][]byte
	s, err := New(Needs{
		Config: api.Config, Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: func() time.Time { return noon },
		Put: func(body []byte) error { bodies = append(bodies, body); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.patience = 5 * time.Second
	if err := s.Round(t.Context(), v1alpha1.MetricsMinimal); err != nil {
		t.Fatal(err)
	}
	silent := 0
	for series, value := range sent(t, bodies) {
		if strings.HasPrefix(series, "up{") && strings.Contains(series, "job=apiserver") && value == 0 {
			silent++
		}
	}
	if silent != lost || most.Load() != lost {
		t.Errorf("%d API servers did not answer, of whom %d were waited for at a time; want %d and %d", silent, most.Load(), lost, lost)
	}
}
