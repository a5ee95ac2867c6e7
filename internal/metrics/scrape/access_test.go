package scrape

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// forwards is what a kubelet does when a port is forwarded, as far as it counts here: it stands in for one, which a test of a package has not. All ports are of
// this machine.
func forwards(w http.ResponseWriter, r *http.Request) {
	if _, err := httpstream.Handshake(r, w, []string{forwardProtocol}); err != nil {
		return
	}
	streams := make(chan httpstream.Stream, 2)
	all := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error { streams <- s; return nil })
	if all == nil {
		return
	}
	defer all.Close()
	of := map[string]httpstream.Stream{}
	for range 2 {
		s := <-streams
		of[s.Headers().Get(corev1.StreamType)] = s
	}
	data, trouble := of[corev1.StreamTypeData], of[corev1.StreamTypeError]
	to, err := net.Dial("tcp", "127.0.0.1:"+data.Headers().Get(corev1.PortHeader))
	if err != nil {
		fmt.Fprintf(trouble, "nobody listens: %v", err)
		trouble.Close()
		<-all.CloseChan()
		return
	}
	defer to.Close()
	var both sync.WaitGroup
	both.Go(func() { io.Copy(to, data); to.Close() })   //nolint:errcheck // it ends with either
	both.Go(func() { io.Copy(data, to); data.Close() }) //nolint:errcheck
	both.Wait()
	trouble.Close()
}

// pair makes a certificate and its key, in PEM.
func pair(t *testing.T, name string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

// TestMonitorsCredentialsAreShown to a pod, and to that pod alone, through a port that a real API server forwards: a password, a token, a certificate. A pod has to
// be who it says where the monitor wants that. What is missing, or wrong, costs the pod's own series, and the log says which monitor and which field, and nothing
// that is secret. What has an interval of its own is not asked with all else.
func TestMonitorsCredentialsAreShown(t *testing.T) {
	api, err := kubetest.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Stop)
	client, err := kubernetes.NewForConfig(api.Config)
	if err != nil {
		t.Fatal(err)
	}
	const namespace, password, token = "shop", "hunter2", "t0ken"
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}))
	must(client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}))
	kind := monitors(t, api.Config)

	pod := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, secret, _ := r.BasicAuth()
		if r.URL.Path == "/relabeled" {
			fmt.Fprintf(w, "# TYPE kept_total counter\nkept_total{pod=\"theirs\",job=\"state\",asked=%q,long=\"abc\"} 2\ndropped 1\nkept_total{pod=\"theirs\",asked=%q,long=\"abd\"} 3\n", r.URL.RawQuery, r.URL.RawQuery)
			return
		}
		if to := map[string]string{"/leads": "/bearer", "/leads/a": "/bearer", "/leads/b": "https://example.com/bearer"}[r.URL.Path]; to != "" {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		let := map[string]bool{
			"/oauth2": r.Header.Get("Authorization") == "Bearer w0nderful", "/oauth2/": r.Header.Get("Authorization") == "Bearer w0nderful", "/oauth2/4": r.Header.Get("Authorization") == "Bearer w0nderful",
			"/basic": user == "ada" && secret == password, "/bearer": r.Header.Get("Authorization") == "Bearer "+token, "/bearer/": r.Header.Get("Authorization") == "Bearer "+token,
			"/cert": len(r.TLS.PeerCertificates) == 1 && r.TLS.PeerCertificates[0].Subject.CommonName == "scraper", "/open": r.Header.Get("Authorization") == "",
		}[r.URL.Path]
		if !let {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, "asked{path=%q} 1\n", r.URL.Path)
	}))
	pod.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	pod.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	pod.StartTLS()
	t.Cleanup(pod.Close)
	port := pod.Listener.Addr().(*net.TCPAddr).Port

	kubelet := httptest.NewUnstartedServer(http.HandlerFunc(forwards))
	kubelet.Listener.Close()
	kubelet.Listener = listen(t)
	at := kubelet.Listener.Addr().(*net.TCPAddr)
	certificate, err := api.Kubelet(at.IP.String())
	must(nil, err)
	kubelet.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	kubelet.StartTLS()
	t.Cleanup(kubelet.Close)
	node, err := client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"rack": "r1"}}}, metav1.CreateOptions{})
	must(nil, err)
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: at.IP.String()}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(at.Port)
	must(client.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}))
	web, err := client.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}, metav1.CreateOptions{})
	must(nil, err)
	web.Status.Phase, web.Status.PodIP, web.Status.PodIPs = corev1.PodRunning, "10.9.9.9", []corev1.PodIP{{IP: "10.9.9.9"}}
	must(client.CoreV1().Pods(namespace).UpdateStatus(t.Context(), web, metav1.UpdateOptions{}))

	own, key := pair(t, "scraper")
	must(client.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "creds"}, StringData: map[string]string{"user": "ada", "password": password, "token": token + "\n", "tls.crt": own, "tls.key": key},
	}, metav1.CreateOptions{}))
	must(client.CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "ca"}, Data: map[string]string{
		"ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pod.Certificate().Raw})), "other.crt": own,
	}}, metav1.CreateOptions{}))
	var asked atomic.Int64
	released := make(chan struct{})
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch id, secret, _ := r.BasicAuth(); {
		case r.URL.Path == "/hangs":
			<-released
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/token", http.StatusTemporaryRedirect)
		case r.URL.Path == "/token" && id == "ada" && secret == password && r.FormValue("grant_type") == "client_credentials" && r.FormValue("scope") == "metrics" && r.FormValue("audience") == "pods":
			asked.Add(1)
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"access_token": "w0nderful", "token_type": "bearer", "expires_in": 600}`)
		default:
			http.Error(w, `{"error": "`+secret+`"}`, http.StatusUnauthorized)
		}
	}))
	t.Cleanup(idp.Close)
	t.Cleanup(func() { close(released) })
	oauth2 := func(path, key, more string) string {
		return "oauth2: {clientId: {secret: {name: creds, key: user}}, clientSecret: {name: creds, key: " + key + "}, tokenUrl: '" + idp.URL + path + "', scopes: [metrics], endpointParams: {audience: pods}}, tlsConfig: {insecureSkipVerify: true}" + more
	}
	const relabel = "path: /relabeled, bearerTokenSecret: {name: creds, key: token}, tlsConfig: {insecureSkipVerify: true}, params: {a: [b]}, relabelings: [{sourceLabels: [__meta_kubernetes_pod_node_name], targetLabel: node}, {sourceLabels: [__meta_kubernetes_node_label_rack], targetLabel: rack}], "
	for name, endpoint := range map[string]string{
		"oauth2":   "{path: /oauth2, " + oauth2("/token", "password", "}"),
		"oauth2b":  "{path: /oauth2/, " + oauth2("/token", "password", "}"),
		"proxied":  "{path: /oauth2/4, " + strings.Replace(oauth2("/token", "password", "}"), "tokenUrl: '"+idp.URL, "proxyUrl: '"+idp.URL+"', tokenUrl: 'http://idp.invalid", 1),
		"unissued": "{path: /oauth2/1, " + oauth2("/token", "token", "}"),
		"hangs":    "{path: /oauth2/2, " + oauth2("/hangs", "password", ", scrapeTimeout: 1s}"),
		"moved":    "{path: /oauth2/3, " + oauth2("/moved", "password", "}"),
		"rewrites": "{" + relabel + "metricRelabelings: [{sourceLabels: [__name__], regex: dropped, action: drop}, {sourceLabels: [long], regex: '(..).*', targetLabel: short}, {regex: long, action: labeldrop}]}",
		"honors":   "{" + relabel + "portNumber: PORT, honorLabels: true, params: {a: [c]}, metricRelabelings: [{targetLabel: job, replacement: kubelet}]}",
		"labelled": "{" + relabel + "params: {a: [e]}}",
		"limited":  "{" + relabel + "params: {a: [d]}, metricRelabelings: [{sourceLabels: [__name__], regex: dropped, action: drop}]}",
		"basic":    "{path: /basic, basicAuth: {username: {name: creds, key: user}, password: {name: creds, key: password}}, tlsConfig: {ca: {configMap: {name: ca, key: ca.crt}}, serverName: example.com}}",
		"bearer":   "{path: /bearer, authorization: {credentials: {name: creds, key: token}}, tlsConfig: {insecureSkipVerify: true}, sampleAge: 7}",
		"leads":    "{path: /leads, bearerTokenSecret: {name: creds, key: token}, tlsConfig: {insecureSkipVerify: true}}",
		"stays":    "{path: /leads/a, followRedirects: false, bearerTokenSecret: {name: creds, key: token}, tlsConfig: {insecureSkipVerify: true}}",
		"strays":   "{path: /leads/b, bearerTokenSecret: {name: creds, key: token}, tlsConfig: {insecureSkipVerify: true}}",
		"cert":     "{path: /cert, tlsConfig: {ca: {configMap: {name: ca, key: ca.crt}}, serverName: example.com, cert: {secret: {name: creds, key: tls.crt}}, keySecret: {name: creds, key: tls.key}}}",
		"stranger": "{path: /basic/2, basicAuth: {username: {name: creds, key: user}, password: {name: creds, key: password}}, tlsConfig: {ca: {configMap: {name: ca, key: other.crt}}, serverName: example.com}}",
		"missing":  "{path: /basic/3, basicAuth: {username: {name: creds, key: user}, password: {name: creds, key: nope}}}",
		"refused":  "{path: /open, bearerTokenSecret: {name: creds, key: token}, tlsConfig: {insecureSkipVerify: true}}",
		"nobody":   "{path: /basic, portNumber: 1, bearerTokenSecret: {name: creds, key: token}}",
		"seldom":   "{path: /bearer/, interval: 1h, bearerTokenSecret: {name: creds, key: token}, tlsConfig: {insecureSkipVerify: true}}",
	} {
		var fields map[string]any
		must(nil, yaml.Unmarshal([]byte(strings.ReplaceAll(endpoint, "PORT", strconv.Itoa(port))), &fields))
		if fields["scheme"] = "https"; fields["scrapeTimeout"] == nil {
			fields["scrapeTimeout"] = "10s"
		}
		if fields["portNumber"] == nil {
			fields["portNumber"] = float64(port)
		}
		m := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": map[string]any{"name": name},
			"spec": map[string]any{"selector": map[string]any{}, "podMetricsEndpoints": []any{fields}},
		}}
		if limit := map[string]string{"limited": "sampleLimit", "labelled": "labelLimit"}[name]; limit != "" {
			m.Object["spec"].(map[string]any)[limit] = int64(1)
		}
		if name == "rewrites" {
			m.Object["spec"].(map[string]any)["attachMetadata"] = map[string]any{"node": true}
		}
		for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			if _, err := kind.Namespace(namespace).Create(t.Context(), m, metav1.CreateOptions{}); err == nil {
				break
			} else if time.Now().After(end) {
				t.Fatal(err)
			}
		}
	}

	var mu sync.Mutex
	var bodies [][]byte
	var log bytes.Buffer
	s, err := New(Needs{
		Config: api.Config, Dir: t.TempDir(), Now: time.Now, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Put: func(body []byte) error { mu.Lock(); defer mu.Unlock(); bodies = append(bodies, body); return nil },
	})
	must(nil, err)
	rewritten := map[string]float64{}
	said := func() map[string]float64 {
		t.Helper()
		found := map[string]float64{}
		for series, value := range sent(t, bodies) {
			if strings.HasPrefix(series, "kept_total") || strings.HasPrefix(series, "dropped") {
				rewritten[strings.ReplaceAll(series, strconv.Itoa(port), "PORT")] = value
			}
			if name, of, _ := strings.Cut(series, "{"); strings.Contains(of, "podmonitor/") && (name == "up" || name == "asked") {
				_, job, _ := strings.Cut(of, "podmonitor/shop/")
				job, _, _ = strings.Cut(job, ",")
				found[name+" "+job] = value
			}
		}
		bodies = nil
		return found
	}
	must(nil, s.Round(t.Context(), v1alpha1.MetricsStandard))
	if diff := cmp.Diff(map[string]float64{
		"up basic": 1, "asked basic": 1, "up bearer": 1, "asked bearer": 1, "up cert": 1, "asked cert": 1, "up oauth2": 1, "asked oauth2": 1, "up oauth2b": 1, "asked oauth2b": 1,
		"up leads": 1, "asked leads": 1, "up stays": 0, "up strays": 0, "up unissued": 0, "up hangs": 0, "up moved": 0, "up rewrites": 1, "up honors": 1, "up limited": 0, "up labelled": 0, "up proxied": 1, "asked proxied": 1, "up stranger": 0, "up missing": 0, "up refused": 0, "up nobody": 0,
	}, said()); diff != "" {
		t.Errorf("with all (-want +got):\n%s", diff)
	}
	for _, want := range []string{
		`PodMonitor shop/stranger says: tls: failed to verify certificate`,
		`PodMonitor shop/missing: basicAuth.password: Secret shop/creds has no key \"nope\"`,
		`PodMonitor shop/refused says: it answered 401 Unauthorized`,
		`PodMonitor shop/nobody says: nobody listens`,
		`PodMonitor shop/stays says: it answered 302 Found`,
		`PodMonitor shop/strays says: it answered 302 Found`,
		`PodMonitor shop/unissued: oauth2: ` + idp.URL + `/token answered 401 Unauthorized`,
		`PodMonitor shop/hangs: oauth2: asking ` + idp.URL + `/hangs for a token: context deadline exceeded`,
		`PodMonitor shop/moved: oauth2: ` + idp.URL + `/moved answered 307 Temporary Redirect`,
		`PodMonitor shop/limited: spec.sampleLimit: it has more than 1 series`,
		`PodMonitor shop/labelled: spec.labelLimit: the number of labels of kept_total is `,
		`monitor="PodMonitor shop/bearer" field=spec.podMetricsEndpoints[0].sampleAge why="it does not count here"`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	if diff := cmp.Diff(map[string]float64{
		"kept_total{asked=a=b,exported_pod=theirs,instance=shop/web:PORT,job=podmonitor/shop/rewrites,namespace=shop,node=n,pod=web,rack=r1,short=ab}": 2,
		"kept_total{asked=a=c,instance=shop/web:PORT,job=podmonitor/shop/honors,long=abc,namespace=shop,node=n,pod=theirs}":                            2,
		"kept_total{asked=a=c,instance=shop/web:PORT,job=podmonitor/shop/honors,long=abd,namespace=shop,node=n,pod=theirs}":                            3,
		"dropped{instance=shop/web:PORT,job=podmonitor/shop/honors,namespace=shop,node=n,pod=web}":                                                     1,
	}, rewritten); diff != "" {
		t.Errorf("after their steps (-want +got):\n%s", diff)
	}
	before := log.Len()
	s.due(t.Context(), v1alpha1.MetricsStandard)
	s.turns.running.Wait()
	if next := s.due(t.Context(), v1alpha1.MetricsStandard); next > time.Minute {
		t.Errorf("the next round is in %s", next)
	}
	if got := said(); got["up seldom"] != 1 || got["asked seldom"] != 1 || got["up basic"] != 1 {
		t.Errorf("in its turn: %v", got)
	}
	if n := strings.Count(log.String()[before:], "does not count"); n != 0 {
		t.Errorf("it is said again what does not count:\n%s", log.String()[before:])
	}
	if s.due(t.Context(), v1alpha1.MetricsStandard); len(bodies) != 0 {
		t.Errorf("something was asked that is not due: %v", said())
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("a token was asked for %d times for three monitors in two rounds", n)
	}
	for _, secret := range []string{password, token, "w0nderful", "PRIVATE", strconv.Quote("ada")} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log says %q", secret)
		}
	}
	if t.Failed() {
		t.Log(log.String())
	}
}
