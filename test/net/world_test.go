//go:build e2e

package net

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/programtest"
	"umbel.dev/umbel/test/net/line"
)

// hubName is the name of the hub that its certificate has beside its address.
const hubName = "hub.umbel.test"

// world is a hub, and members that reach it over lines.
type world struct {
	*testing.T
	api       *rest.Config
	client    client.Client
	authority string // PEM
	hub       *process
	hubEnv    []string
	port      string
	proxy     string // which the next member's bootstrap names
	members   []*place
}

// place is where a member is.
type place struct {
	*world
	name    v1alpha1.ClusterName
	number  int // of its line
	line    *line.Line
	process *process
	env     []string
	near    string // the address of the test's end of the line
	far     string
	dir     string
	wished  string // that it holds
	ticks   ticks
}

// newWorld starts a hub that probes every so often.
func newWorld(t *testing.T, probe time.Duration) *world {
	t.Helper()
	w := &world{T: t, api: kubetest.Start(t)}
	kubetest.InstallCRDs(t, w.api)
	var err error
	w.client, err = client.New(w.api, client.Options{Scheme: scheme()})
	w.must(err)
	w.must(client.IgnoreAlreadyExists(w.client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}})))
	t.Cleanup(w.clean)
	w.hubEnv = []string{kubeconfigEnv + "=" + kubetest.Kubeconfig(t, w.api), probeEnv + "=" + probe.String()}
	_, w.port, err = net.SplitHostPort(programtest.FreeAddress(t))
	w.must(err)
	w.startHub()
	return w
}

// startHub starts the hub, at the address that it had.
func (w *world) startHub() {
	w.Helper()
	w.hub = start(w.T, "hub", &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}, append(w.hubEnv, listenEnv+"=0.0.0.0:"+w.port)...)
	there := w.hub.tell(order{Do: "address"})
	_, port, err := net.SplitHostPort(there.Address)
	w.must(err)
	w.port, w.authority = port, there.CA
}

// clean takes away what a test left in the API, which the next one uses too.
func (w *world) clean() {
	ctx := context.WithoutCancel(w.Context())
	w.must(w.client.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(v1alpha1.SystemNamespace)))
	var left v1alpha1.MemberClusterList
	w.must(w.client.List(ctx, &left))
	for _, m := range left.Items {
		patch := client.MergeFrom(m.DeepCopy())
		m.Finalizers = nil
		w.must(client.IgnoreNotFound(w.client.Patch(ctx, &m, patch)))
		w.must(client.IgnoreNotFound(w.client.Delete(ctx, &m)))
	}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// eventually waits for up to four minutes: lines are slow here.
func (w *world) eventually(what string, check func() error) {
	w.Helper()
	var last error
	err := wait.PollUntilContextTimeout(w.Context(), 50*time.Millisecond, 4*time.Minute, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		w.Fatalf("did not happen: %s: %v", what, last)
	}
}

// lines counts the lines of this process: their devices and networks are numbered, up to maxLines.
var lines atomic.Int32

const maxLines = 100

// nearEnd is the address of a line at which the hub is.
func nearEnd(n int) string { return fmt.Sprintf("10.77.%d.1", n) }

// join makes a member with an agent at the far end of a line, and does not start it. The agent reaches the hub at address,
// which is the near end of its line unless given.
func (w *world) join(name v1alpha1.ClusterName, address string, env ...string) *place {
	w.Helper()
	p := w.prepare(name, address, env...)
	p.settle("agent")
	w.Cleanup(func() { w.must(p.line.Close()) })
	w.members = append(w.members, p)
	return p
}

// prepare makes a member, and the folder of its agent.
func (w *world) prepare(name v1alpha1.ClusterName, address string, env ...string) *place {
	w.Helper()
	n := int(lines.Add(1))
	p := &place{world: w, name: name, number: n, near: nearEnd(n), far: fmt.Sprintf("10.77.%d.2", n), dir: w.TempDir()}
	if address == "" {
		address = net.JoinHostPort(p.near, w.port)
	}
	w.must(w.client.Create(w.Context(), &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: string(name)}}))
	token, err := identity.NewToken()
	w.must(err)
	w.must(w.client.Create(w.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret(name)},
		Type:       v1alpha1.JoinTokenType,
		StringData: map[string]string{
			v1alpha1.JoinTokenHash:    identity.HashToken(token),
			v1alpha1.JoinTokenExpires: time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		},
	}))
	raw, err := json.Marshal(v1alpha1.Bootstrap{Cluster: name, Address: address, CA: w.authority, Token: token, Proxy: w.proxy})
	w.must(err)
	w.must(os.WriteFile(filepath.Join(p.dir, "bootstrap.json"), raw, 0o600))
	p.env = append(env, dirEnv+"="+p.dir)
	return p
}

// settle makes the process, in a namespace at the far end of a line. It may be made again once it has ended.
func (p *place) settle(role string) {
	p.Helper()
	p.process = start(p.T, role, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}, p.env...)
	var err error
	p.line, err = line.New(line.Config{
		Name: fmt.Sprintf("line%d", p.number), Process: p.process.cmd.Process.Pid, Near: p.near + "/29", Far: p.far + "/29", Seed: uint64(p.number),
	})
	p.must(err)
}

// start starts the agent.
func (p *place) start() *place {
	p.Helper()
	p.process.tell(order{Do: "start"})
	return p
}

// connected waits until the hub says that the member is.
func (p *place) connected() *place {
	p.Helper()
	p.eventually(fmt.Sprintf("%s is connected", p.name), func() error { return p.is(metav1.ConditionTrue) })
	return p
}

// is says whether the member's condition Connected has a status.
func (p *place) is(status metav1.ConditionStatus) error {
	var m v1alpha1.MemberCluster
	if err := p.client.Get(p.Context(), client.ObjectKey{Name: string(p.name)}, &m); err != nil {
		return err
	}
	c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionConnected)
	if c == nil || c.Status != status {
		return fmt.Errorf("Connected is %+v", c)
	}
	return nil
}

// sessions returns how many sessions of the member began and how many ended, as the hub logged them.
func (p *place) sessions() (began, ended int) {
	p.Helper()
	member := "member=" + string(p.name)
	return p.hub.says("an agent is in session", member), p.hub.says("an agent's session ended", member)
}

// holds waits until the member has what it is to hold, by asking its API server through the hub.
func (p *place) holds(value string) {
	p.Helper()
	p.eventually(fmt.Sprintf("%s holds %q", p.name, value), func() error {
		got, err := p.get(p.Context(), "/api/v1/namespaces/default/configmaps/wanted")
		if err == nil && !strings.Contains(string(got), fmt.Sprintf("%q:%q", "value", value)) {
			err = fmt.Errorf("it has %.200s", got)
		}
		return err
	})
}

// get reads a path of the member through the hub.
func (p *place) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	response, err := p.request(ctx, path)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return body, err
}

// personTLS is how a person of the hub reaches it.
func (w *world) personTLS() *tls.Config {
	w.Helper()
	config, err := rest.TLSConfigFor(w.api)
	w.must(err)
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM([]byte(w.authority))
	config.RootCAs, config.ServerName, config.NextProtos = trust, hubName, []string{"http/1.1"}
	return config
}

// request asks the member's API server through the hub, over a connection of its own. The caller closes the body.
func (p *place) request(ctx context.Context, path string) (*http.Response, error) {
	transport := &http.Transport{TLSClientConfig: p.personTLS(), DisableKeepAlives: true}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://127.0.0.1:"+p.port+"/clusters/"+string(p.name)+path, nil)
	if err != nil {
		return nil, err
	}
	return transport.RoundTrip(r)
}

// exec opens the echo of the member through the hub: what is written comes back.
func (p *place) exec(ctx context.Context) (io.ReadWriteCloser, error) {
	transport := &http.Transport{TLSClientConfig: p.personTLS(), DisableKeepAlives: true}
	url := "https://127.0.0.1:" + p.port + "/clusters/" + string(p.name) + "/api/v1/namespaces/default/pods/shell/exec"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", echoProtocol)
	response, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		defer response.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return nil, fmt.Errorf("exec: %s: %s", response.Status, body)
	}
	return response.Body.(io.ReadWriteCloser), nil
}

// echoes sends bytes through an exec and reads them back.
func echoes(stream io.ReadWriter, sent, back *pattern, n int) error {
	if _, err := stream.Write(sent.next(n)); err != nil {
		return err
	}
	got := make([]byte, n)
	if _, err := io.ReadFull(stream, got); err != nil {
		return err
	}
	return back.check(got)
}
