package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/gateway/members"
	"umbel.dev/umbel/internal/gateway/replicas"
	"umbel.dev/umbel/internal/gateway/trust"
	"umbel.dev/umbel/internal/identity/signin"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/internal/tunnel"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

const (
	// handshakeTimeout covers the TLS handshake and, for an agent, its first stream.
	handshakeTimeout = 15 * time.Second
	// parting is how long a hub that ends waits for what it says to agents to get through.
	parting = 3 * time.Second
	// maxAgentStreams is how many streams one agent may have open: an honest one has half as many at most. Each may hold a
	// window of what is not read yet, so this bounds what a hostile member costs.
	maxAgentStreams = 32
	// maxHeader bounds the head of an HTTP request.
	maxHeader = 64 << 10
	// DefaultCertificateTTL is how long an agent's certificate is valid.
	DefaultCertificateTTL = 6 * time.Hour
)

// Config is what a gateway needs.
type Config struct {
	// Listen are the addresses to listen on, as HOST:PORT.
	Listen    []string
	Authority *trust.Authority
	// Desired says what members are to hold.
	Desired Desired
	// Registry serves /v2/: the agent's image to everybody, and to each member what it is to hold. Nothing is written
	// through it.
	Registry http.Handler
	// Hooks hears of pushes; nil for a hub that does not.
	Hooks http.Handler
	// Metrics keeps what agents measure; nil for a hub that does not.
	Metrics Metrics
	// ClientCA (PEM) issues people's certificates. The default is what the hub's API server says in
	// kube-system/extension-apiserver-authentication.
	ClientCA []byte
	// SignIn knows the people of identity providers. The default is that there are none.
	SignIn *signin.Verifier
	// CertificateTTL is how long an agent's certificate is valid. The default is DefaultCertificateTTL.
	CertificateTTL time.Duration
	// ProbeInterval is how often an agent is probed, unless there are very many (session.Pace). The default is session.DefaultProbeInterval.
	ProbeInterval time.Duration
	// Replicas are those of the hub; nil on one that is one process.
	Replicas *replicas.Replicas
	// Before is when the hub was alive last before this start; zero when that is not known.
	Before time.Time
	// Version of the hub.
	Version string
	// Fleet is what its members are told of it.
	Fleet session.Fleet
	// Audit is where it is written down who did what; nil records nothing.
	Audit *audit.Log
	// APIAudit is what is done to the hub's own API past the gateway; nil where that API is somebody else's.
	APIAudit audit.Source
	Log      *slog.Logger
}

// Gateway is the hub's open door.
type Gateway struct {
	Config
	// Console is served to browsers, below consolePath; nil for a hub that has none. It is set before the manager starts.
	Console http.Handler

	client  client.Client // reads from the manager's cache
	live    client.Reader // asks the API
	members *members.Registry
	pace    *session.Pace
	people  *people
	peers   *peers // nil on a hub that is one process
	joins   *quota // joins that failed, by address
	pushes  *quota // pushes that were not genuine, by address
	signIns *quota // sign-ins to the console that failed, by address
	// certificates are what members get of them, by name.
	certificates *quota
	orders       *orders
	unread       *unread
	// registrations bounds how fast clusters register themselves, and registering has them do so one after the other:
	// each use of a token is written down in the one Secret of it.
	registrations *rate.Limiter
	registering   sync.Mutex
	strangers     *strangers
	listeners     []net.Listener
	content       *tunnel.Listener
	agents        sync.WaitGroup
}

// Setup adds the gateway and the controller of members to the manager. It listens at once, so that an address that is
// taken is an error here; connections are served when the manager has started.
func Setup(ctx context.Context, mgr ctrl.Manager, config Config) (*Gateway, error) {
	if config.ProbeInterval == 0 {
		config.ProbeInterval = session.DefaultProbeInterval
	}
	if config.CertificateTTL == 0 {
		config.CertificateTTL = DefaultCertificateTTL
	}
	people, err := newPeople(mgr.GetConfig(), config)
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		Config: config, client: mgr.GetClient(), live: mgr.GetAPIReader(), people: people, joins: newAttempts(time.Now), pushes: newAttempts(time.Now), signIns: newAttempts(time.Now),
		certificates:  newQuota(time.Now, rate.Every(min(certificateRest, config.CertificateTTL/8)), certificateBurst),
		orders:        newOrders(time.Now),
		unread:        newUnread(),
		registrations: rate.NewLimiter(registrationRate, registrationBurst),
		content:       tunnel.NewListener(tunnelAddr{}),
		strangers:     newStrangers(config.Log),
		pace:          session.NewPace(config.ProbeInterval),
	}
	g.members = members.NewRegistry(members.RegistryConfig{
		Desired: config.Desired.For, ProbeInterval: config.ProbeInterval, Before: config.Before, Replicas: config.Replicas,
		Deleted: g.deleted, Now: time.Now, Log: config.Log,
	})
	if config.Replicas != nil {
		g.peers = newPeers(config.Authority, config.Replicas.Self(), config.Replicas.Key())
	}
	if err := g.listen(); err != nil {
		return nil, err
	}
	controller, err := members.Setup(mgr, g.members)
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	if config.Replicas != nil {
		config.Replicas.OnChange(func(replica string) {
			if err := controller.Adopt(ctx, replica); err != nil {
				config.Log.Error("looking for the members of a replica", "replica", replica, "error", err)
			}
		})
	}
	if err := mgr.Add(g); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// tunnelAddr is the address of what comes through tunnels.
type tunnelAddr struct{}

func (tunnelAddr) Network() string { return "umbel" }
func (tunnelAddr) String() string  { return "tunnel" }

func (g *Gateway) listen() error {
	for _, address := range g.Listen {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return errors.Join(fmt.Errorf("the gateway's address: %w", err), g.close())
		}
		g.listeners = append(g.listeners, listener)
	}
	return nil
}

func (g *Gateway) close() error {
	var errs []error
	for _, listener := range g.listeners {
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Addrs returns the addresses that the gateway listens on.
func (g *Gateway) Addrs() []net.Addr {
	var addrs []net.Addr
	for _, listener := range g.listeners {
		addrs = append(addrs, listener.Addr())
	}
	return addrs
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: agents and people are served by every replica.
func (g *Gateway) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable: it serves until ctx ends, and returns when everything that it started has ended.
func (g *Gateway) Start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	settings := g.tls()
	people := tunnel.NewListener(g.Addrs()[0])
	var serving requests
	door, tunnels := tunnel.NewServer(serving.counted(g), g.Log), tunnel.NewServer(serving.counted(http.HandlerFunc(g.serveContent)), g.Log)
	door.BaseContext = func(net.Listener) context.Context { return ctx } // so it ends what was taken over, too
	door.TLSConfig, door.ConnContext, door.MaxHeaderBytes = settings.Clone(), withGuest, maxHeader
	tunnels.ConnContext, tunnels.MaxHeaderBytes = withMember, maxHeader
	var running sync.WaitGroup
	running.Go(func() { door.Serve(people) })
	running.Go(func() { tunnels.Serve(g.content) })
	running.Go(func() { g.people.run(ctx) })
	for _, listener := range g.listeners {
		running.Go(func() { g.serve(ctx, listener, settings, people) })
	}
	g.Log.Info("the gateway is open", "addresses", g.Listen)
	<-ctx.Done()
	err := errors.Join(g.close(), door.Close(), tunnels.Close())
	g.peers.close()
	running.Wait() // whoever accepts connections begins agents
	g.agents.Wait()
	serving.Wait()
	return err
}

// tls returns how the gateway shakes hands. Client certificates are asked for and looked at afterwards.
func (g *Gateway) tls() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{tunnel.Protocol, "h2", "http/1.1"},
		ClientAuth:             tls.RequestClientCert,
		SessionTicketsDisabled: true, // every connection shows its certificate
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return g.Authority.Serving() },
	}
}

// serve accepts connections and hands each to where it belongs.
func (g *Gateway) serve(ctx context.Context, listener net.Listener, settings *tls.Config, people *tunnel.Listener) {
	backoff := tunnel.Backoff{Min: 5 * time.Millisecond, Max: time.Second}
	for {
		raw, err := listener.Accept()
		if err == nil && ctx.Err() != nil { // who was accepted in the last moment is to dial again, and not to wait
			raw.Close()
		}
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files: it passes
			g.Log.Error("accepting a connection", "error", err)
			select {
			case <-time.After(backoff.Next()):
			case <-ctx.Done():
			}
			continue
		}
		backoff.Reset()
		guest, ok := g.strangers.Enter(ctx, raw.(*net.TCPConn))
		if !ok {
			return
		}
		g.agents.Go(func() {
			conn := tls.Server(guest, settings)
			protocol, err := shakeHands(ctx, conn)
			switch {
			case err != nil:
				g.strangers.failed(raw.RemoteAddr(), err)
			case protocol == tunnel.Protocol:
				g.agent(ctx, conn, guest)
			default:
				guest.Allow(bytesOfUnknownHTTP)
				people.Deliver(conn)
			}
		})
	}
}

// shakeHands returns the protocol that was agreed on. It stands by itself, since ConnectionState takes 400 bytes of the stack of whoever
// calls it: Go's collector halves a stack of which less than a quarter is in use, and that of a session, which waits in what calls
// this for days, would stay at 16 KiB.
func shakeHands(ctx context.Context, conn *tls.Conn) (protocol string, err error) {
	if err := tunnel.Handshake(ctx, conn, handshakeTimeout); err != nil {
		return "", err
	}
	return conn.ConnectionState().NegotiatedProtocol, nil
}

// membersPath is what the path of a member begins with.
const membersPath = "/clusters/"

// member answers a person's request to a member.
func (g *Gateway) member(w http.ResponseWriter, r *http.Request, target audit.Target) {
	g.Audit.Serve(w, r, target, func(w http.ResponseWriter, r *http.Request) { g.proxy(w, r, target.Cluster, target.Path) })
}

// ServeHTTP implements http.Handler for everybody who is not an agent in session.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	cluster := named(r)
	switch {
	case cluster != "":
		confine(w, r)
		g.member(w, r, audit.Target{Cluster: cluster, Path: r.URL.EscapedPath()})
	case g.Console == nil || !g.serveBrowser(w, r):
		g.dispatch(w, r)
	}
}

// named returns the member that somebody asks for by its name and not by a path; empty when it is none.
func named(r *http.Request) v1alpha1.ClusterName {
	if r.TLS == nil || strings.HasPrefix(r.URL.EscapedPath(), membersPath) {
		return ""
	}
	return v1alpha1.ClusterOf(r.TLS.ServerName)
}

// dispatch answers everything but the console.
func (g *Gateway) dispatch(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	switch {
	case path == "/healthz":
		w.Header().Set("Content-Type", "text/plain")
		w.Write([]byte("ok\n"))
	case path == "/readyz":
		g.serveReady(w)
	case strings.HasPrefix(path, replicaPath):
		g.servePeer(w, r)
	case path == session.JoinPath:
		g.join(w, r)
	case strings.HasPrefix(path, membersPath):
		name, rest, _ := strings.Cut(strings.TrimPrefix(path, membersPath), "/")
		g.member(w, r, audit.Target{Cluster: v1alpha1.ClusterName(name), Path: "/" + rest})
	case path == signin.LoginPath:
		g.login(w, r)
	case strings.HasPrefix(path, hooksPath):
		g.hook(w, r)
	case path == hubPath || strings.HasPrefix(path, hubPath+"/"):
		target := audit.Target{Path: "/" + strings.TrimPrefix(strings.TrimPrefix(path, hubPath), "/")}
		g.Audit.Serve(w, r, target, func(w http.ResponseWriter, r *http.Request) { g.hubAPI(w, r, target.Path) })
	case path == audit.Path:
		g.Audit.Serve(w, r, audit.Target{Path: path}, g.serveAudit)
	case strings.HasPrefix(path, queryPath):
		g.Audit.Serve(w, r, audit.Target{Path: path}, g.serveMetrics)
	case strings.HasPrefix(path, v1alpha1.ContentPath):
		g.releaseContent(w, r, strings.TrimPrefix(path, v1alpha1.ContentPath))
	case strings.HasPrefix(path, v1alpha1.HistoryPath):
		g.history(w, r, strings.TrimPrefix(path, v1alpha1.HistoryPath))
	case path == "/v2" || strings.HasPrefix(path, "/v2/"):
		g.serveImage(w, r)
	default:
		kubeproxy.WriteError(w, http.StatusNotFound, "nothing is served at this path; members are at /clusters/NAME, the hub's own API is at /hub")
	}
}

// serveReady says whether new agents and people are to come here: what members are to hold is known, and the other
// replicas of the hub know that this one is alive.
func (g *Gateway) serveReady(w http.ResponseWriter) {
	_, known := g.Desired.For("")
	switch {
	case !known:
		kubeproxy.WriteError(w, http.StatusServiceUnavailable, "this hub is still finding out what its members are to hold")
	case !g.Replicas.Current():
		kubeproxy.WriteError(w, http.StatusServiceUnavailable, "this replica of the hub cannot reach the hub's API")
	default:
		w.Header().Set("Content-Type", "text/plain")
		w.Write([]byte("ok\n"))
	}
}
