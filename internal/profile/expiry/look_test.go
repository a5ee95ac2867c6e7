package expiry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/identity"
)

// server answers with a certificate that ends at that time, and lists the Nodes.
func server(t *testing.T, ca *identity.CA, life time.Duration, nodes string) *httptest.Server {
	t.Helper()
	pair, err := ca.IssueServer(identity.Request{CommonName: "x", Hosts: []string{"127.0.0.1"}, TTL: life})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(nodes))
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// TestTheFirstThatEndsIsTold: the API server's or a kubelet's; one that has ended already, too; and who cannot be reached is left out.
func TestTheFirstThatEndsIsTold(t *testing.T) {
	ca, err := identity.NewCA("ca", 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	kubelet := server(t, ca, 2*time.Minute, "")
	port, err := strconv.Atoi(kubelet.URL[strings.LastIndex(kubelet.URL, ":")+1:])
	if err != nil {
		t.Fatal(err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := closed.Addr().(*net.TCPAddr).Port
	closed.Close()
	node := func(name string, port int) string {
		return `{"metadata":{"name":"` + name + `"},"status":{"addresses":[{"type":"InternalIP","address":"127.0.0.1"}],"daemonEndpoints":{"kubeletEndpoint":{"Port":` + strconv.Itoa(port) + `}}}}`
	}
	api := server(t, ca, time.Hour, `{"kind":"NodeList","apiVersion":"v1","items":[`+node("a", dead)+","+node("b", port)+`,{"metadata":{"name":"c"}}]}`)
	told := make(chan Found, 1)
	w := New(Needs{
		Config: &rest.Config{Host: api.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca.CertPEM()}}, Log: slog.New(slog.DiscardHandler),
		Tell: func(f Found) { told <- f },
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	if f := <-told; f.Of != "kubelet of b" || time.Until(f.Until) > 2*time.Minute {
		t.Errorf("told %+v", f)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	all, err := w.Look(t.Context())
	if err != nil || len(all) != 3 || all[0].Of != "CA" || all[1].Of != "API server" {
		t.Errorf("found %+v (%v)", all, err)
	}
	agent, err := ca.IssueClient(identity.Request{CommonName: "agent", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	w.Config.CertData, w.Config.KeyData = agent.CertPEM, agent.KeyPEM
	if all, err = w.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if first, _ := First(all); first.Of != "agent's own login" {
		t.Errorf("what the agent itself logs in with ends first, and it says %+v", first)
	}
}

func TestTheLastOfSomeCAs(t *testing.T) {
	at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	if got := lastEnd([]*x509.Certificate{{NotAfter: at}, {NotAfter: at.Add(time.Hour)}, {NotAfter: at}}); got != at.Add(time.Hour) {
		t.Errorf("got %s", got)
	}
}

func TestAddressOf(t *testing.T) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	if _, ok := addressOf(n); ok {
		t.Error("a Node without an address has one")
	}
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "a"}, {Type: corev1.NodeInternalIP, Address: "fd00::1"}}
	n.Status.DaemonEndpoints.KubeletEndpoint.Port = 10250
	if at, ok := addressOf(n); !ok || at != "[fd00::1]:10250" {
		t.Errorf("got %s", at)
	}
}

func TestFirst(t *testing.T) {
	at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, ok := First(nil); ok {
		t.Error("the first of none")
	}
	if f, _ := First([]Found{{at, "b"}, {at.Add(time.Hour), "a"}, {at, "a2"}}); f.Of != "a2" {
		t.Errorf("got %+v", f)
	}
}
