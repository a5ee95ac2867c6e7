package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/identity/seal"
	"umbel.dev/umbel/internal/tunnel"
)

const (
	// maxContentStreams is how many streams for content the agent has open at once: half of what a hub bears.
	maxContentStreams = 16
	// maxHubStreams is how many streams the hub may have open on one agent.
	maxHubStreams = 10_000
)

// ClientConfig is what the agent's loop needs.
type ClientConfig struct {
	// Bootstrap says where the hub is and how to join it.
	Bootstrap v1alpha1.Bootstrap
	// Reread returns the bootstrap as it is now: `umbel join` may have written another one. Optional.
	Reread func() (v1alpha1.Bootstrap, error)
	// Keyring holds the agent's key and certificate.
	Keyring *identity.Keyring
	// Agent says how a session is led; Credentials is the client's to set.
	Agent AgentConfig
	// Kube serves what people ask the member's API server through the hub.
	Kube http.Handler
	// Rand draws the jitter between attempts, in [0, 1); the default is math/rand's.
	Rand func() float64
	Log  *slog.Logger
}

// Client keeps an agent in session with its hub: it joins, dials, talks, renews, and begins again when that ends.
type Client struct {
	config  ClientConfig
	keyring *identity.Keyring
	kube    *tunnel.Listener
	proxy   tunnel.Proxy
	reissue bool          // the hub did not accept the certificate: ask for another one before dialing
	refused bool          // the hub did not let the agent into session the last time
	lasted  time.Duration // of the latest session, from the hub's welcome to its end; none when there was none
	letGo   atomic.Bool

	mu      sync.Mutex
	current *link
	next    chan struct{} // closed when current is set
}

// link is a session that the hub has accepted.
type link struct {
	session *tunnel.Session
	content *http.Transport
}

// ErrJoinedAnew: there is another bootstrap. The agent is to begin again with it.
var ErrJoinedAnew = errors.New("the cluster was joined anew")

// ErrKeyRevoked: the hub never lets the agent's key in again. The agent is to begin again with a new one, which takes a new
// token.
var ErrKeyRevoked = errors.New("the agent's key was revoked on the hub")

// ErrOtherLevel: the agent is to go further than before, or less far. It is to begin again, so.
var ErrOtherLevel = errors.New("the hub has set another level for the cluster")

// NewClient returns the loop of an agent. It does not dial yet.
func NewClient(config ClientConfig) (*Client, error) {
	if config.Bootstrap.Cluster == "" || config.Bootstrap.Address == "" {
		return nil, errors.New("the bootstrap names no cluster or no address of a hub; run `umbel join` again")
	}
	proxy, err := tunnel.ProxyOf(config.Bootstrap.Proxy)
	if err != nil {
		return nil, fmt.Errorf("the bootstrap: %w; run `umbel join` again with another --proxy", err)
	}
	c := &Client{config: config, keyring: config.Keyring, proxy: proxy, kube: tunnel.NewListener(hubAddr(config.Bootstrap.Address)), next: make(chan struct{})}
	c.config.Agent.Credentials = credentials{config.Keyring, config.Bootstrap.Cluster}
	c.letGo.Store(config.Agent.LetGo)
	c.config.Agent.Detach = func(ctx context.Context, wish *wire.Detach) error {
		if c.letGo.Load() {
			return nil
		}
		err := config.Agent.Detach(ctx, wish)
		c.letGo.Store(err == nil)
		return err
	}
	return c, nil
}

// joinedAnew says whether there is another bootstrap by now. What cannot be read is no news.
func (c *Client) joinedAnew() bool {
	if c.config.Reread == nil {
		return false
	}
	boot, err := c.config.Reread()
	if err != nil {
		c.config.Log.Warn("the bootstrap cannot be read any more: going on with the one from the start", "error", err)
		return false
	}
	return boot != c.config.Bootstrap
}

// credentials are a keyring that knows for whom to ask.
type credentials struct {
	*identity.Keyring
	cluster v1alpha1.ClusterName
}

// Request implements Credentials.
func (c credentials) Request() ([]byte, error) { return identity.NewMemberRequest(c.cluster, c.Key()) }

// Verify implements Credentials.
func (c credentials) Verify(word seal.Word, sealed *seal.Seal) error {
	word.Cluster = string(c.cluster)
	return sealed.Verify(&word, c.Roots())
}

// hubAddr is the hub's address as a net.Addr.
type hubAddr string

func (hubAddr) Network() string  { return "umbel" }
func (a hubAddr) String() string { return string(a) }

// Run keeps the agent in session until ctx ends, when it returns nil. It returns ErrDetached when the agent has let go
// and the hub says that it is no member, ErrJoinedAnew when there is another bootstrap, ErrOtherLevel when AgentConfig.Stand says so,
// and ErrKeyRevoked when the hub has revoked the key. Everything that goes wrong in between is logged and tried again.
func (c *Client) Run(ctx context.Context) error {
	server := tunnel.NewServer(c.config.Kube, c.config.Log)
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(c.kube) })
	defer serving.Wait()
	defer server.Close()

	pauses := newPauses(c.config.Rand)
	for {
		if c.joinedAnew() {
			return ErrJoinedAnew
		}
		err := c.connect(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if c.letGo.Load() && refusal(err) == ReasonNoMember && !c.joinedAnew() {
			return ErrDetached
		}
		if refusal(err) == v1alpha1.ReasonKeyRevoked {
			return ErrKeyRevoked
		}
		if errors.Is(err, ErrOtherLevel) {
			return ErrOtherLevel
		}
		wait := pauses.after(c.lasted, time.Now())
		c.config.Log.Warn("not in session with the hub", "error", err, "retryIn", wait.Round(time.Millisecond))
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// connect leads one session, from the certificate to its end.
func (c *Client) connect(ctx context.Context) error {
	c.lasted = 0
	if c.lacksCertificate() {
		if err := c.join(ctx); err != nil {
			return err
		}
	}
	session, err := tunnel.Dial(ctx, c.dial(c.keyring.TLS()))
	if err != nil {
		return err
	}
	var accepting sync.WaitGroup
	accepting.Go(func() { c.accept(ctx, session) })
	defer accepting.Wait()
	defer session.Close()

	control, err := session.Open(ctx, tunnel.Control)
	if err != nil {
		return err
	}
	agent := c.config.Agent
	agent.LetGo = c.letGo.Load()
	var since time.Time
	agent.Opened = func(welcome *wire.Welcome) {
		since = time.Now()
		c.opened(session)
		c.config.Log.Info("in session with the hub", "hub", c.config.Bootstrap.Address, "hubVersion", welcome.GetHubVersion())
		if c.config.Agent.Opened != nil {
			c.config.Agent.Opened(welcome)
		}
	}
	defer c.over()
	err = RunAgent(ctx, control, agent)
	if !since.IsZero() {
		c.lasted = time.Since(since)
	}
	if reason := refusal(err); reason == v1alpha1.ReasonCertificateRefused || reason == ReasonNoMember {
		c.reissue = true
	}
	c.refused = refusal(err) != ""
	return err
}

// lacksCertificate says whether to ask for a certificate before dialing. An agent that is refused asks here as early as it would
// in a session: a program that is to take its place rehearses with what it has.
func (c *Client) lacksCertificate() bool {
	return c.reissue || c.keyring.Expired() || c.refused && time.Now().After(c.keyring.RenewAt())
}

// dial says how the hub is reached.
func (c *Client) dial(trust *tls.Config) tunnel.DialConfig {
	return tunnel.DialConfig{
		Address: c.config.Bootstrap.Address, TLS: trust, Proxy: c.proxy, Config: tunnel.Config{MaxStreams: maxHubStreams},
	}
}

// refusal returns the reason of a refusal; any other error has none.
func refusal(err error) string {
	var refused *Refused
	if !errors.As(err, &refused) {
		return ""
	}
	return refused.Reason
}

// join gets a certificate: with the token, or, once the hub has pinned the key, by proving that it has it.
func (c *Client) join(ctx context.Context) error {
	csr, err := identity.NewMemberRequest(c.config.Bootstrap.Cluster, c.keyring.Key())
	if err != nil {
		return err
	}
	trust := c.keyring.TLS()
	trust.GetClientCertificate = nil
	response, err := join(ctx, c.dial(trust), JoinRequest{
		Cluster: c.config.Bootstrap.Cluster, Token: c.config.Bootstrap.Token, CSR: csr,
	})
	if err != nil {
		return err
	}
	if err := c.believe(csr, response); err != nil {
		return err
	}
	if err := c.keyring.Install([]byte(response.Certificate), []byte(response.Trust)); err != nil {
		return err
	}
	c.reissue = false
	c.config.Log.Info("the hub issued a certificate", "notAfter", c.keyring.Certificate().NotAfter)
	return nil
}

// believe says why the answer to a request for a certificate is not the hub's; nil when it is. A hub of before seals none, and an agent
// that never met a later one takes that.
func (c *Client) believe(csr []byte, response JoinResponse) error {
	fence := c.config.Agent.Fence
	if response.Seal == nil && (fence == nil || !fence.Sealed()) {
		return nil
	}
	if response.Seal == nil {
		return fmt.Errorf("the certificate that hub %s issued is not taken: %w", c.config.Bootstrap.Address, errUnsealed)
	}
	word := response.word(csr)
	if err := c.config.Agent.Credentials.Verify(word, response.Seal); err != nil {
		return fmt.Errorf("the certificate that hub %s issued is not taken: %w: %w", c.config.Bootstrap.Address, ErrNotTheHub, err)
	}
	if fence != nil {
		fence.Seals()
	}
	return nil
}

// accept hands the hub's streams to the server of the member's API.
func (c *Client) accept(ctx context.Context, session *tunnel.Session) {
	for {
		stream, err := session.Accept(ctx)
		if err != nil {
			return
		}
		if !c.kube.Deliver(stream.Only(tunnel.Kube)) { // others are of a later version
			return
		}
	}
}

func (c *Client) opened(session *tunnel.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	transport := session.Transport(tunnel.Content)
	transport.MaxConnsPerHost = maxContentStreams
	c.current = &link{session, transport}
	close(c.next)
}

func (c *Client) over() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		return
	}
	c.current.content.CloseIdleConnections()
	c.current, c.next = nil, make(chan struct{})
}

// Content returns a transport to the hub's registry, and to where it takes what the agent measured. A request waits, as long as its context lets it, for a session.
func (c *Client) Content() http.RoundTripper { return content{c} }

type content struct{ client *Client }

// RoundTrip implements http.RoundTripper.
func (t content) RoundTrip(r *http.Request) (*http.Response, error) {
	c := t.client
	for {
		c.mu.Lock()
		current, next := c.current, c.next
		c.mu.Unlock()
		if current != nil {
			// Whatever scheme the caller uses: the tunnel protects what goes through it.
			r = r.Clone(r.Context())
			r.URL.Scheme = "http"
			return current.content.RoundTrip(r)
		}
		select {
		case <-next:
		case <-r.Context().Done():
			return nil, fmt.Errorf("no session with hub %s: %w", c.config.Bootstrap.Address, r.Context().Err())
		}
	}
}

var _ net.Addr = hubAddr("")
