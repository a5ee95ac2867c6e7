package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/identity/seal"
	"umbel.dev/umbel/internal/tunnel"
)

const (
	// DefaultProbeInterval is how often a hub asks an agent whether it is there.
	DefaultProbeInterval = 5 * time.Second
	// missedProbes is how many intervals without an answer end a session, and how many without a word make an agent
	// dial anew.
	missedProbes = 3
	// helloTimeout is how long the first message may take.
	helloTimeout = 15 * time.Second
	// framesPerSecond and frameBurst bound what one agent may say; more is slowed down.
	framesPerSecond, frameBurst = 50, 500
	// perToken is how many bytes count as a frame: large frames are as dear as many small ones.
	perToken = 16 << 10
)

// Why a session ended.
var (
	// ErrProbeTimeout: the peer did not answer, or was silent, for three probe intervals.
	ErrProbeTimeout = errors.New("no probe came back for three intervals")
	// ErrClosed: the connection ended.
	ErrClosed = errors.New("the connection ended")
)

// Observer hears what happens in a session, in order, from one goroutine. Its methods must not block.
type Observer interface {
	// Opened is the first call: the agent was welcomed.
	Opened(hello *wire.Hello)
	// Answered tells that a probe came back. apiError is empty when the member's API server is well.
	Answered(apiError string)
	// Reported tells of a status report.
	Reported(report *wire.StatusReport)
	// Acknowledged tells that the agent answered a DesiredState: with an Ack, or with a NACK when problem is not empty.
	// After either it may hold what change assigns.
	Acknowledged(change *wire.DesiredState, problem string)
	// Upgrading tells what became of an upgrade.
	Upgrading(state *wire.UpgradeState)
	// Detached tells that the agent has let go. It may say so more than once. The session goes on until it is refused.
	Detached()
	// Trusts tells which bundle of CAs the agent keeps, by its digest.
	Trusts(digest string)
}

// Trust is by which CAs the hub's agents are to know it.
type Trust interface {
	// Bundle returns the bundle for this agent and its digest. It does not block.
	Bundle() (*wire.TrustBundle, string)
	// Changed returns a channel that is closed when Bundle has another answer.
	Changed() <-chan struct{}
	// Seal signs a word to this agent, whose cluster it is to say. It does not block.
	Seal(word seal.Word) (*seal.Seal, error)
}

// Issue returns a certificate for the key of a request (PKCS #10, DER), and the bundle of the hub's CAs, both in PEM.
type Issue func(csr []byte) (certificatePEM, trustPEM []byte, err error)

// HubConfig is what the hub's end of a session needs.
type HubConfig struct {
	// Version of the hub.
	Version string
	// Fleet is what agents are told of it.
	Fleet Fleet
	// Pace says how often the agent is probed. Sessions of one hub share it. The default is one that this session has to
	// itself.
	Pace *Pace
	// Desired returns what the member is to hold, and whether that is known. It is asked only while no DesiredState is
	// under way: whatever it returned before has been answered by the agent.
	Desired func() (DesiredSet, bool)
	// Changed and Listed hold a token when the answer of Desired may have changed. Listed is optional.
	Changed, Listed <-chan struct{}
	// Orders carries what else the agent is to be told: a Detach, or a Refusal, which ends the session.
	Orders <-chan *wire.FromHub
	// Telling, when it is set, is called before the agent is told what changes what it holds or whether it is a member: a
	// DesiredState, a Detach or a Refusal. It may take a moment.
	Telling func(*wire.FromHub)
	// Upgrade holds what the agent is to run, when there is something to say; the latest only. Optional.
	Upgrade <-chan *wire.Upgrade
	// Metrics returns what the agent is to measure (wire.Metrics), and Measures holds a token when that has changed. Optional, both.
	Metrics  func() string
	Measures <-chan struct{}
	// Level returns how far the agent is to go (wire.Level); Measures holds a token when that has changed, too. Optional.
	Level func() string
	// Issue renews the agent's certificate.
	Issue Issue
	// Trust is told to an agent that keeps another bundle. Optional.
	Trust    Trust
	Observer Observer
	Log      *slog.Logger
}

// hubEnd is one running session on the hub.
type hubEnd struct {
	HubConfig
	stream net.Conn
	held   Holdings
	words  words

	version  uint64             // of the last DesiredState
	inFlight *wire.DesiredState // sent and not acknowledged
	undone   map[string]bool    // deletions that the agent knows are to be undone
	retry    tunnel.Backoff     // between NACKs
	retryAt  *time.Timer        // nil unless a NACK waits for its retry

	leaving  bool // the agent was told to let go
	unissued int  // requests for a certificate that were refused since the last one that was granted

	trusts       string          // the digest of the bundle that the agent was told last, or says that it keeps
	trustChanged <-chan struct{} // nil without Trust

	metrics   string        // as the agent was told
	level     string        // likewise
	interval  time.Duration // between probes, as the agent knows it
	nonce     uint64        // of the latest probe
	lastNonce uint64        // of the latest answer
	answered  time.Time     // when it came
}

// RunHub runs the hub's end of a session on the control stream until ctx ends or the session does, and closes the
// stream. The returned error says why: a *Refused, ErrProbeTimeout, ErrClosed, or ctx's cause. A Hello that is refused
// is answered with the reason and returned as ErrNoCommonProtocol, ErrSuperseded or ErrBadHello.
func RunHub(ctx context.Context, stream net.Conn, config HubConfig) error {
	if config.Pace == nil {
		config.Pace = NewPace(DefaultProbeInterval)
	}
	leave := config.Pace.join()
	defer leave()
	h := &hubEnd{HubConfig: config, stream: stream, retry: tunnel.Backoff{Min: time.Second, Max: time.Minute}, interval: config.Pace.Interval()}
	defer stream.Close()
	stop := context.AfterFunc(ctx, func() { stream.Close() })
	defer stop()

	hello, reader, err := readHello(stream)
	if err != nil {
		return err
	}
	if err := h.open(hello); err != nil {
		return err
	}
	received, wait := receive(ctx, reader, func() *wire.FromAgent { return &wire.FromAgent{} })
	err = h.loop(ctx, received)
	stream.Close()
	wait()
	return err
}

// open answers Hello.
func (h *hubEnd) open(hello *wire.Hello) error {
	h.words.nonce = hello.GetNonce()
	err := checkHello(hello)
	if err != nil {
		return errors.Join(err, refuse(h.stream, "BadHello", err.Error()))
	}
	if hello.GetEpoch() > h.Fleet.Epoch {
		return errors.Join(ErrSuperseded, refuse(h.stream, v1alpha1.ReasonHubSuperseded, ErrSuperseded.Error()))
	}
	protocol, err := Negotiate(hello, wire.MinProtocol, wire.Protocol)
	if err != nil {
		refusal := &wire.Refusal{Reason: v1alpha1.ReasonProtocolMismatch, Message: err.Error(), Epoch: &h.Fleet.Epoch}
		select {
		case refusal.Upgrade = <-h.Upgrade: // the way out for an agent that is too old
		default:
		}
		return errors.Join(err, h.send(&wire.FromHub{Message: &wire.FromHub_Refusal{Refusal: refusal}}))
	}
	h.held = HoldingsOf(hello)
	h.answered = time.Now()
	welcome := &wire.Welcome{
		Protocol: protocol, HubVersion: h.Version, ProbeIntervalMillis: uint32(h.interval.Milliseconds()),
		ClusterSet: h.Fleet.Name, Epoch: &h.Fleet.Epoch,
	}
	if h.Metrics != nil {
		h.metrics = h.Metrics()
		welcome.Metrics = new(h.metrics)
	}
	if h.Level != nil {
		h.level = h.Level()
		welcome.Level = new(h.level)
	}
	if err := h.send(&wire.FromHub{Message: &wire.FromHub_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	h.Observer.Opened(hello)
	h.trusts = hello.GetTrust()
	return h.trust()
}

// trust tells the agent by which CAs it is to know the hub, if it does not know, or if it is to renew because of them and has
// come back before it did. The channel is taken first: what changes in between is told twice rather than not at all.
func (h *hubEnd) trust() error {
	if h.Trust == nil {
		return nil
	}
	h.trustChanged = h.Trust.Changed()
	bundle, digest := h.Trust.Bundle()
	if digest == h.trusts && bundle.GetRenewWithinMillis() == 0 {
		return nil
	}
	h.trusts = digest
	return h.send(&wire.FromHub{Message: &wire.FromHub_Trust{Trust: bundle}})
}

// measure tells the agent what it is to measure, when that is news to it.
func (h *hubEnd) measure() error {
	if h.Metrics == nil {
		return nil
	}
	profile := h.Metrics()
	if profile == h.metrics {
		return nil
	}
	h.metrics = profile
	return h.send(&wire.FromHub{Message: &wire.FromHub_Metrics{Metrics: &wire.Metrics{Profile: profile}}})
}

// stand tells the agent how far it is to go, when that is news to it.
func (h *hubEnd) stand() error {
	if h.Level == nil || h.Level() == h.level {
		return nil
	}
	h.level = h.Level()
	return h.send(&wire.FromHub{Message: &wire.FromHub_Level{Level: &wire.Level{Level: h.level}}})
}

// readHello reads the first message of an agent. The reader reads what follows.
func readHello(stream net.Conn) (*wire.Hello, *bufio.Reader, error) {
	begin := &greeting{Conn: stream, until: time.Now().Add(longestHello)}
	reader := bufio.NewReaderSize(begin, 512)
	var first wire.FromAgent
	if err := ReadFrame(reader, &first); err != nil {
		return nil, nil, fmt.Errorf("reading the agent's hello: %w", err)
	}
	begin.until = time.Time{}
	return first.GetHello(), reader, stream.SetReadDeadline(time.Time{})
}

// Refuse tells the agent at the other end of a new control stream why it is not accepted, once it has said Hello. The
// caller closes the stream.
func Refuse(stream net.Conn, reason, message string) error {
	if _, _, err := readHello(stream); err != nil {
		return err
	}
	return refuse(stream, reason, message)
}

func refuse(stream net.Conn, reason, message string) error {
	return sendRefusal(stream, &wire.Refusal{Reason: reason, Message: message})
}

func sendRefusal(stream net.Conn, refusal *wire.Refusal) error {
	return send(stream, &wire.FromHub{Message: &wire.FromHub_Refusal{Refusal: refusal}}, helloTimeout)
}

// loop decides and writes; everything that happens to the session passes here.
func (h *hubEnd) loop(ctx context.Context, received <-chan delivery[*wire.FromAgent]) error {
	probe := time.NewTimer(0)
	defer probe.Stop()
	if err := h.update(); err != nil {
		return err
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case d := <-received:
			if d.err != nil && ctx.Err() != nil {
				return context.Cause(ctx) // which is why the stream ended
			}
			if d.err != nil {
				return ended(d.err)
			}
			err = h.handle(d.message)
		case <-h.Changed:
			h.retryAt = nil
			err = h.update()
		case <-h.Listed:
			err = h.update()
		case <-h.trustChanged:
			err = h.trust()
		case <-h.Measures:
			if err = h.stand(); err == nil {
				err = h.measure()
			}
		case <-h.retryTimer():
			h.retryAt = nil
			err = h.update()
		case order := <-h.Orders:
			err = h.tell(order)
			h.leaving = h.leaving || order.GetDetach() != nil
			if refusal := order.GetRefusal(); refusal != nil {
				return errors.Join(err, &Refused{Reason: refusal.GetReason(), Message: refusal.GetMessage()})
			}
		case order := <-h.Upgrade:
			err = h.send(&wire.FromHub{Message: &wire.FromHub_Upgrade{Upgrade: order}})
		case <-probe.C:
			var next time.Duration
			if next, err = h.probe(); err == nil {
				probe.Reset(next)
			}
		}
		if err != nil {
			return err
		}
	}
}

// probe asks the agent whether it is there, and says when to ask again. What the agent was told last is what it is judged by.
func (h *hubEnd) probe() (next time.Duration, err error) {
	if lost(h.stream, time.Since(h.answered), missedProbes*h.interval) {
		return 0, ErrProbeTimeout
	}
	h.nonce++
	h.interval = h.Pace.Interval()
	probe := &wire.Probe{Nonce: h.nonce, IntervalMillis: uint32(h.interval.Milliseconds())}
	return jitter(h.interval), h.send(&wire.FromHub{Message: &wire.FromHub_Probe{Probe: probe}})
}

func (h *hubEnd) handle(message *wire.FromAgent) error {
	switch m := message.GetMessage().(type) {
	case *wire.FromAgent_ProbeAnswer:
		if nonce := m.ProbeAnswer.GetNonce(); nonce > h.lastNonce && nonce <= h.nonce {
			h.lastNonce, h.answered = nonce, time.Now()
			h.Observer.Answered(m.ProbeAnswer.GetApiError())
		}
	case *wire.FromAgent_Ack:
		return h.acknowledged(m.Ack)
	case *wire.FromAgent_Status:
		return h.reported(m.Status)
	case *wire.FromAgent_CertificateRequest:
		return h.issue(m.CertificateRequest.GetCsr())
	case *wire.FromAgent_Upgrade:
		h.Observer.Upgrading(m.Upgrade)
	case *wire.FromAgent_Detached:
		h.Observer.Detached()
	case *wire.FromAgent_TrustHeld:
		h.Observer.Trusts(clip(m.TrustHeld.GetDigest()))
	case *wire.FromAgent_Hello:
		return fmt.Errorf("%w: a second one", ErrBadHello)
	}
	return nil // a message of a later version
}

func (h *hubEnd) acknowledged(ack *wire.Ack) error {
	if h.inFlight == nil || ack.GetVersion() != h.inFlight.GetVersion() {
		return nil
	}
	change := h.inFlight
	h.inFlight = nil
	h.Observer.Acknowledged(change, ack.GetError())
	if ack.GetError() != "" {
		h.held.Doubt(change)
		wait := h.retry.Next()
		h.Log.Warn("the agent did not store its desired state", "error", ack.GetError(), "retryIn", wait)
		h.retryAt = time.NewTimer(wait)
		return nil
	}
	h.retry.Reset()
	h.held.Acknowledge(change)
	for _, id := range change.GetUndo() {
		if h.undone == nil {
			h.undone = map[string]bool{}
		}
		h.undone[id] = true
	}
	return h.update()
}

func (h *hubEnd) reported(report *wire.StatusReport) error {
	if err := checkPackages(report.GetPackages()); err != nil {
		return err
	}
	for _, name := range report.GetRemoved() {
		delete(h.held, v1alpha1.PackageKey(name))
	}
	h.Observer.Reported(report)
	return h.update() // what was removed may be wanted again
}

func (h *hubEnd) issue(csr []byte) error {
	certificate, trust, err := h.Issue(csr)
	if err != nil {
		if h.unissued++; h.unissued == 1 {
			h.Log.Warn("a certificate was not renewed", "error", err)
		}
		return nil // the agent asks again; the session goes on
	}
	if h.unissued > 1 {
		h.Log.Warn("a certificate was renewed after several requests", "refused", h.unissued)
	}
	h.unissued = 0
	issued := &wire.CertificateIssued{CertificatePem: certificate, TrustPem: trust}
	return h.send(&wire.FromHub{Message: &wire.FromHub_Certificate{Certificate: issued}})
}

// update sends the next difference, unless one is under way, a NACK waits, nothing is known, or the agent leaves.
func (h *hubEnd) update() error {
	if h.inFlight != nil || h.retryAt != nil || h.leaving {
		return nil
	}
	desired, ready := h.Desired()
	if !ready {
		return nil
	}
	change, differs := Diff(h.held, desired)
	for _, id := range desired.Undo {
		if !h.undone[id] {
			change.Undo = append(change.Undo, id)
		}
	}
	if !differs && len(change.Undo) == 0 {
		return nil
	}
	h.version++
	change.Version = h.version
	h.inFlight = change
	return h.tell(&wire.FromHub{Message: &wire.FromHub_Desired{Desired: change}})
}

// tell sends what Telling is to hear of first.
func (h *hubEnd) tell(message *wire.FromHub) error {
	if h.Telling != nil {
		h.Telling(message)
	}
	return h.send(message)
}

func (h *hubEnd) retryTimer() <-chan time.Time {
	if h.retryAt == nil {
		return nil
	}
	return h.retryAt.C
}

func (h *hubEnd) send(message *wire.FromHub) error {
	message, err := h.word(message)
	if err != nil {
		return err
	}
	return send(h.stream, message, missedProbes*h.interval)
}
