package ascent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// TestEachAPIServerIsAsked: of three members of a control plane, of which another one than that at their common address knows of a
// deprecated API; and one that does not answer is no reason to go by the others.
func TestEachAPIServerIsAsked(t *testing.T) {
	const token = "of-the-kubeconfig"
	certificate, ca := ofTheAPI(t)
	var slice discoveryv1.EndpointSlice
	serve := func(address, metrics string) *httptest.Server {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Header.Get("Authorization") != "Bearer "+token:
				w.WriteHeader(http.StatusUnauthorized)
			case r.URL.Path == "/metrics":
				_, _ = w.Write([]byte(metrics))
			default:
				w.Header().Set("Content-Type", "application/json")
				_ = json.NewEncoder(w).Encode(&discoveryv1.EndpointSliceList{
					TypeMeta: metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSliceList"}, Items: []discoveryv1.EndpointSlice{slice},
				})
			}
		}))
		_ = server.Listener.Close() // it is replaced
		server.Listener, server.TLS = listener, &tls.Config{Certificates: []tls.Certificate{certificate}}
		server.StartTLS()
		t.Cleanup(server.Close)
		return server
	}
	const old = `apiserver_requested_deprecated_apis{group="",removed_release="1.36",resource="old",subresource="",version="v1"} 1`
	first := serve("127.0.0.1:0", "")
	_, port, err := net.SplitHostPort(first.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	serve("127.0.0.2:"+port, old)
	last := serve("127.0.0.3:"+port, "")
	slice.Ports = []discoveryv1.EndpointPort{{Port: new(int32(first.Listener.Addr().(*net.TCPAddr).Port))}}
	for _, address := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"} {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}})
	}
	config := &rest.Config{Host: first.URL, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
	metrics, err := metricsOfAll(t.Context(), config)
	if err != nil || len(metrics) != 3 {
		t.Fatalf("got the metrics of %d, %v", len(metrics), err)
	}
	step := Climb{From: "v1.35.4", To: "v1.36.3", Planes: 3}
	if err := step.Barred(DeprecatedIn(metrics...), int64(len(metrics))); err == nil || !strings.Contains(err.Error(), "in use are v1 old") {
		t.Errorf("what one of them knows: got %v", err)
	}
	last.Close()
	if _, err := metricsOfAll(t.Context(), config); err == nil || !strings.Contains(err.Error(), "127.0.0.3") || strings.Contains(err.Error(), token) {
		t.Errorf("while one of them does not answer: got %v", err)
	}
}

// ofTheAPI is a certificate as all API servers of a control plane may have: it is for their common address, and the names of the Service.
func ofTheAPI(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
