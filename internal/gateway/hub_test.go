package gateway

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/gateway/trust"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/identity/signin"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/programtest"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// probeInterval is how often hubs ask their agents whether they are there, in tests: one that a busy machine holds up for some seconds is not to seem dead.
const probeInterval = 2 * time.Second

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}

// desires is what members are to hold, by the test's word.
type desires struct {
	mu    sync.Mutex
	sets  map[v1alpha1.ClusterName]session.DesiredSet
	ready bool
	subs  map[chan struct{}]bool
}

func (d *desires) For(cluster v1alpha1.ClusterName) (session.DesiredSet, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sets[cluster], d.ready
}

func (d *desires) Subscribe(v1alpha1.ClusterName) (<-chan struct{}, func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	changed := make(chan struct{}, 1)
	d.subs[changed] = true
	return changed, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.subs, changed)
	}
}

func (d *desires) set(cluster v1alpha1.ClusterName, set session.DesiredSet, ready bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sets[cluster], d.ready = set, ready
	for changed := range d.subs {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

// hub is a gateway on a real API server.
type hub struct {
	t         *testing.T
	api       *rest.Config
	client    client.Client
	authority *trust.Authority
	desires   *desires
	audit     *audit.Log
	gateway   *Gateway
	address   string
	// authentication is the file that says whom the hub trusts to vouch for people; nobody when it is empty.
	authentication string
	log            *slog.Logger
	stop           func()
	// replica is its name among several; api is how it reaches the API then, and quiet keeps it from saying that it ends.
	replica string
	quiet   bool
	// probe is how often agents are probed.
	probe time.Duration
	// life is how long their certificates are valid, unless it is 0.
	life time.Duration
}

var scheme = sync.OnceValue(func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
})

// newHub starts a gateway; when the test ends it stops and every MemberCluster goes.
func newHub(t *testing.T) *hub {
	t.Helper()
	return newHubWith(t, "", testLog(t))
}

// newHubWith is newHub with a file that says who vouches for people, and a log.
func newHubWith(t *testing.T, authentication string, log *slog.Logger) *hub {
	t.Helper()
	api := kubetest.Start(t)
	kubetest.InstallCRDs(t, api)
	c, err := client.New(api, client.Options{Scheme: scheme()})
	if err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}}
	if err := c.Create(t.Context(), namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	authority, err := trust.Load(t.Context(), trust.Config{Client: c})
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{
		t: t, api: api, client: c, authority: authority, address: programtest.FreeAddress(t), authentication: authentication, log: log, probe: probeInterval,
		desires: &desires{sets: map[v1alpha1.ClusterName]session.DesiredSet{}, ready: true, subs: map[chan struct{}]bool{}},
	}
	if h.audit, err = audit.Open(audit.LogConfig{Dir: t.TempDir(), Log: testLog(t)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.audit.Close(); err != nil {
			t.Error(err)
		}
	})
	h.start()
	t.Cleanup(h.clean)
	return h
}

// start starts the hub, at the address that it had before.
func (h *hub) start() {
	h.t.Helper()
	mgr, err := ctrl.NewManager(h.api, ctrl.Options{
		Scheme: scheme(), Metrics: metricsserver.Options{BindAddress: "0"}, Controller: ctrlconfig.Controller{UsePriorityQueue: new(false)}, // as in hub
		LeaderElection: h.replica != "", LeaderElectionID: "gateway-test", LeaderElectionNamespace: v1alpha1.SystemNamespace,
		LeaderElectionReleaseOnCancel: true, LeaseDuration: new(30 * time.Second), RenewDeadline: new(20 * time.Second), RetryPeriod: new(200 * time.Millisecond), // who ends gives its Lease back
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	var people *signin.Verifier
	if h.authentication != "" {
		if people, err = signin.New(ctx, h.authentication, h.log); err != nil {
			h.t.Fatal(err)
		}
	}
	content := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "content of %s", r.URL.Path) })
	g, err := Setup(h.t.Context(), mgr, Config{
		Listen: []string{h.address}, Authority: h.authority, Desired: h.desires, Registry: content,
		ProbeInterval: h.probe, Version: "v1", Audit: h.audit, Log: h.log, SignIn: people, Replicas: h.among(mgr),
		CertificateTTL: h.life, Metrics: echo{},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := trust.Setup(mgr, h.authority, func() error { return nil }, testLog(h.t)); err != nil {
		h.t.Fatal(err)
	}
	h.gateway = g
	h.address = g.Addrs()[0].String()
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("the hub ended: %v", err)
		}
	})
}

// clean stops the hub and takes away what it left in the API.
func (h *hub) clean() {
	h.stop()
	ctx := context.WithoutCancel(h.t.Context())
	var list v1alpha1.MemberClusterList
	if err := h.client.List(ctx, &list); err != nil {
		h.t.Fatal(err)
	}
	for _, m := range list.Items {
		patch := client.MergeFrom(m.DeepCopy())
		m.Finalizers = nil
		if err := h.client.Patch(ctx, &m, patch); client.IgnoreNotFound(err) != nil {
			h.t.Error(err)
		}
		if err := h.client.Delete(ctx, &m); client.IgnoreNotFound(err) != nil {
			h.t.Error(err)
		}
	}
	if err := h.client.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(v1alpha1.SystemNamespace),
		client.MatchingFields{"type": string(v1alpha1.JoinTokenType)}); err != nil {
		h.t.Error(err)
	}
}

// invite makes a MemberCluster and a join token, as `umbel join` does, and returns what the agent is given.
func (h *hub) invite(cluster v1alpha1.ClusterName, expires time.Time) v1alpha1.Bootstrap {
	h.t.Helper()
	member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: string(cluster)}}
	if err := h.client.Create(h.t.Context(), member); err != nil {
		h.t.Fatal(err)
	}
	token, err := identity.NewToken()
	if err != nil {
		h.t.Fatal(err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret(cluster)},
		Type:       v1alpha1.JoinTokenType,
		StringData: map[string]string{
			v1alpha1.JoinTokenHash: identity.HashToken(token), v1alpha1.JoinTokenExpires: expires.UTC().Format(time.RFC3339),
		},
	}
	if err := h.client.Create(h.t.Context(), secret); err != nil {
		h.t.Fatal(err)
	}
	return v1alpha1.Bootstrap{Cluster: cluster, Address: h.address, CA: string(h.authority.Bundle()), Token: token}
}

// member reads a MemberCluster.
func (h *hub) member(cluster v1alpha1.ClusterName) *v1alpha1.MemberCluster {
	h.t.Helper()
	var member v1alpha1.MemberCluster
	if err := h.client.Get(h.t.Context(), client.ObjectKey{Name: string(cluster)}, &member); err != nil {
		h.t.Fatal(err)
	}
	return &member
}

// shows waits until a condition of the member is STATUS/REASON and returns its message.
func (h *hub) shows(cluster v1alpha1.ClusterName, condition, want string) string {
	h.t.Helper()
	got, message := "", ""
	h.eventually(fmt.Sprintf("%s of %s is %s", condition, cluster, want), func() (bool, string) {
		c := meta.FindStatusCondition(h.member(cluster).Status.Conditions, condition)
		if c != nil {
			got, message = string(c.Status)+"/"+c.Reason, c.Message
		}
		return got == want, got + ": " + message
	})
	return message
}

func (h *hub) eventually(what string, check func() (ok bool, seen string)) {
	h.t.Helper()
	seen := ""
	err := wait.PollUntilContextTimeout(h.t.Context(), 20*time.Millisecond, 2*time.Minute, true, func(context.Context) (ok bool, err error) {
		ok, seen = check()
		return ok, nil
	})
	if err != nil {
		h.t.Fatalf("did not happen: %s; last seen: %s", what, seen)
	}
}

// agent is a real agent's end, without the part that applies.
type agent struct {
	t        *testing.T
	client   *session.Client
	packages *packages
	dir      string
	// bootstrap is what `umbel join` wrote last.
	bootstrap atomic.Pointer[v1alpha1.Bootstrap]
	end       chan error
	stop      func()
	// letGo is what the agent does when it is told to go; nothing unless set.
	letGo func(context.Context, *wire.Detach) error
	// attempts counts how often it was not in session and tried again.
	attempts atomic.Int32
	// sessions counts how often it came into session.
	sessions atomic.Int32
	// frozen keeps probes from being answered.
	frozen chan struct{}
	mu     sync.Mutex
	apiErr error
}

// letGoFile is there once the agent has let go.
const letGoFile = "let-go"

// newAgent makes an agent with its files in dir, and does not start it.
func (h *hub) newAgent(boot v1alpha1.Bootstrap, dir string) *agent {
	h.t.Helper()
	return h.newAgentWith(boot, dir, nil)
}

// newAgentWith makes an agent with a keyring, unless that is nil.
func (h *hub) newAgentWith(boot v1alpha1.Bootstrap, dir string, ring *identity.Keyring) *agent {
	h.t.Helper()
	_, err := os.Stat(filepath.Join(dir, letGoFile))
	letGo := err == nil
	kube, err := kubeproxy.NewHandler(h.api, testLog(h.t))
	if err != nil {
		h.t.Fatal(err)
	}
	if ring == nil {
		ring = h.keyringOf(boot, dir)
	}
	a := &agent{t: h.t, dir: dir, packages: &packages{wake: make(chan struct{}, 1)}, end: make(chan error, 1)}
	a.bootstrap.Store(&boot)
	a.client, err = session.NewClient(session.ClientConfig{
		Bootstrap: boot, Keyring: ring, Kube: kube, Log: testLog(h.t),
		Reread: func() (v1alpha1.Bootstrap, error) { return *a.bootstrap.Load(), nil },
		Rand: func() float64 {
			a.attempts.Add(1)
			return 0.01 // attempts follow each other quickly
		},
		Agent: session.AgentConfig{
			Version: "v1", Packages: a.packages, CheckAPI: a.check, LetGo: letGo, Log: testLog(h.t),
			Opened: func(*wire.Welcome) { a.sessions.Add(1) },
			Detach: func(ctx context.Context, wish *wire.Detach) error {
				if a.letGo != nil {
					if err := a.letGo(ctx, wish); err != nil {
						return err
					}
				}
				return os.WriteFile(filepath.Join(dir, letGoFile), nil, 0o600)
			},
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// hasLetGo says whether the agent has let go, and written it down.
func (a *agent) hasLetGo() bool {
	_, err := os.Stat(filepath.Join(a.dir, letGoFile))
	return err == nil
}

func (a *agent) check(ctx context.Context) (string, error) {
	a.mu.Lock()
	frozen, err := a.frozen, a.apiErr
	a.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
	return "v1.36.3", err
}

func (a *agent) start() *agent {
	ctx, cancel := context.WithCancel(context.WithoutCancel(a.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.end <- a.client.Run(ctx)
	}()
	a.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	a.t.Cleanup(a.stop)
	return a
}

// settled waits until the hub has written all that it has to write of a connected member that holds nothing, and returns the version of that.
func (h *hub) settled(cluster v1alpha1.ClusterName) (version string) {
	h.t.Helper()
	h.eventually("all of "+string(cluster)+" is written", func() (bool, string) {
		m := h.member(cluster)
		version = m.ResourceVersion
		id := m.Status.Identity
		known := id != nil && id.CertificateNotAfter != nil && id.Issuer != "" && id.Trust != "" && m.Status.AgentVersion != "" && m.Status.KubernetesVersion != ""
		return known && meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionReady) && slices.Contains(m.Finalizers, v1alpha1.Finalizer),
			fmt.Sprintf("%v, %+v", m.Finalizers, m.Status)
	})
	return version
}

// joined invites a cluster, starts its agent and waits until it is connected.
func (h *hub) joined(cluster v1alpha1.ClusterName) *agent {
	h.t.Helper()
	a := h.newAgent(h.invite(cluster, time.Now().Add(time.Hour)), h.t.TempDir()).start()
	h.shows(cluster, v1alpha1.ConditionConnected, "True/ProbeAnswered")
	return a
}

// packages is what an agent holds, in memory: what is assigned is applied at once.
type packages struct {
	mu     sync.Mutex
	held   map[string]*wire.PackageStatus
	news   wire.StatusReport
	wake   chan struct{}
	broken error
	stores int
	mute   bool // what is stored is not spoken of
}

// Held is for the session, which tells all of it: what was news by then is none any more.
func (p *packages) Held() (held []*wire.PackageStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.news.Packages, p.news.Removed = nil, nil
	for _, s := range p.held {
		held = append(held, s)
	}
	return held
}

// len is how many are held, for tests.
func (p *packages) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held)
}

func (p *packages) Store(_ context.Context, change *wire.DesiredState) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stores++
	if p.broken != nil {
		return p.broken
	}
	if p.held == nil {
		p.held = map[string]*wire.PackageStatus{}
	}
	for _, a := range change.GetAssign() {
		s := &wire.PackageStatus{
			Package: a.GetPackage(), Release: a.GetRelease(), Revision: a.GetRevision(), Digest: a.GetDigest(),
			Phase: wire.PackageStatus_APPLIED, Objects: 1, Applied: 1, Healthy: 1,
		}
		p.held[a.GetPackage()] = s
		p.news.Packages = append(p.news.Packages, s)
	}
	for _, name := range change.GetRemove() {
		delete(p.held, name)
		p.news.Removed = append(p.news.Removed, name)
	}
	p.poke()
	return nil
}

func (p *packages) say(s *wire.PackageStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[s.GetPackage()] = s
	p.news.Packages = append(p.news.Packages, s)
	p.poke()
}

func (p *packages) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *packages) Changed() <-chan struct{} { return p.wake }

func (p *packages) Take() *wire.StatusReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mute || len(p.news.Packages)+len(p.news.Removed) == 0 {
		return nil
	}
	report := &wire.StatusReport{Packages: p.news.Packages, Removed: p.news.Removed}
	p.news.Packages, p.news.Removed = nil, nil
	return report
}

// keyring opens an agent's keyring, for tests that act beside the agent.
func (h *hub) keyring(dir string) *identity.Keyring {
	h.t.Helper()
	return h.keyringOf(v1alpha1.Bootstrap{CA: string(h.authority.Bundle())}, dir)
}

func (h *hub) keyringOf(boot v1alpha1.Bootstrap, dir string) *identity.Keyring {
	h.t.Helper()
	ring, err := identity.NewKeyring(identity.KeyringConfig{Home: identity.Folder(dir), BootstrapCA: []byte(boot.CA), Log: testLog(h.t)})
	if err != nil {
		h.t.Fatal(err)
	}
	return ring
}

// testLog writes to the test's log, as long as the test runs.
func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func readAll(t *testing.T, answer *http.Response) string {
	t.Helper()
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func mustContain(t *testing.T, what, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s is %q, want it to say %q", what, text, w)
		}
	}
}
