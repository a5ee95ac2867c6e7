package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/identity/seal"
	"umbel.dev/umbel/internal/tunnel"
)

// room is how many bytes of a frame are for what a message carries.
const room = MaxFrame - 4096

// reportGap is the least time between two status reports.
const reportGap = 100 * time.Millisecond

// ReasonNoMember is the reason of a refusal that says: whose agent this was is no member of this hub any more. It ends
// an agent that has let go, and takes nothing away from any other.
const ReasonNoMember = "NoMember"

// Refused is how a hub ended the session: it does not accept the agent.
type Refused struct {
	// Reason is a word for programs, such as CertificateRefused.
	Reason string
	// Message says why, and what to do next.
	Message string
}

func (r *Refused) Error() string {
	return fmt.Sprintf("the hub refused the agent: %s (%s)", r.Message, r.Reason)
}

// ErrDetached: the agent has let go, and the hub says that it is no member. The agent is not to come back.
var ErrDetached = errors.New("the member has left the fleet")

// errLetGo is why an agent stores nothing any more.
var errLetGo = errors.New("the agent has let go of what it held and leaves the fleet: `umbel leave --force`, then `umbel join` make it a member again")

// Packages is what the agent holds. delivery/apply implements it.
type Packages interface {
	// Held returns the state of every package that the agent holds: the release is the one that is stored, whether it
	// is applied yet or not. What it returned counts as reported.
	Held() []*wire.PackageStatus
	// Store keeps change on disk and returns; applying it comes later. It is idempotent. After an error nothing of the
	// change may be lost silently: the hub sends it again.
	Store(ctx context.Context, change *wire.DesiredState) error
	// Changed holds a token when Take has something to say.
	Changed() <-chan struct{}
	// Take returns what changed since the last call of Take or Held, or nil. It does not block.
	Take() *wire.StatusReport
}

// Upgrades is how an agent becomes another program. upgrade/self implements it.
type Upgrades interface {
	// Introduce puts into Hello which program the agent is, and what became of the last upgrade. What it says there counts
	// as reported.
	Introduce(hello *wire.Hello)
	// Order asks for an upgrade. It does not block. An order that was carried out, or failed before, is answered again.
	Order(order *wire.Upgrade)
	// Changed holds a token when State has something to say.
	Changed() <-chan struct{}
	// State returns what became of the last order, or nil when there was none.
	State() *wire.UpgradeState
}

// Credentials are the agent's key and certificate.
type Credentials interface {
	// RenewAt returns when the certificate is to be renewed.
	RenewAt() time.Time
	// Request returns a certificate request (PKCS #10, DER) for the key.
	Request() ([]byte, error)
	// Install keeps a new certificate. It is idempotent.
	Install(certificatePEM, trustPEM []byte) error
	// Trust keeps a bundle of the hub's CAs. It is idempotent, and uses the bundle also when it returns an error because it
	// cannot be kept.
	Trust(bundlePEM []byte) error
	// Verify says why a word is not one of the hub to this agent, by the CAs of that bundle; nil when it is.
	Verify(word seal.Word, sealed *seal.Seal) error
	// Trusts returns the digest of the bundle that is in use; empty before one came from the hub.
	Trusts() string
}

// AgentConfig is what the agent's end of a session needs.
type AgentConfig struct {
	// Version of the agent.
	Version  string
	Packages Packages
	// Fence keeps the agent from older copies of its hub. Optional.
	Fence Fence
	// Properties are the member's ClusterProperties. Optional.
	Properties Properties
	// CheckAPI asks the member's API server whether it is well and which version it has. It runs once per probe and has
	// half a probe interval.
	CheckAPI func(ctx context.Context) (kubernetesVersion string, err error)
	// Detach lets go of what was applied: it prunes first, when that is asked for. It is idempotent, and tried again
	// when it fails. When it returns nil, the agent has let go for good, also after it was killed.
	Detach func(ctx context.Context, wish *wire.Detach) error
	// LetGo says that Detach succeeded before.
	LetGo       bool
	Credentials Credentials
	// Upgrades carries out what the hub says of the agent's program. Without it the agent stays what it is.
	Upgrades Upgrades
	// Measure is called with what the hub wants measured, at the begin of each session and when that changes. It must not block. Optional.
	Measure func(profile string)
	// Stand is called with how far the agent is to go, at the begin of each session and when that changes; empty where the hub does not say.
	// Its error ends the session: the agent is to begin anew. Optional.
	Stand func(level string) error
	// Opened is called when the hub has accepted the agent. It must not block. Optional.
	Opened func(welcome *wire.Welcome)
	Log    *slog.Logger
}

// agentEnd is one running session on the agent.
type agentEnd struct {
	AgentConfig
	stream   net.Conn
	interval time.Duration
	working  sync.WaitGroup
	word     time.Time   // when the hub said something last
	heard    *time.Timer // fires after silence
	renewal  renewal
	words    words

	probe struct {
		checked  chan checkResult
		checking bool
		nonce    uint64 // of the latest probe
		version  string // of Kubernetes, as told last
	}
	stored  chan *wire.Ack
	storing sync.WaitGroup
	detach  struct {
		begun bool
		done  chan struct{}
	}
	reports struct {
		next       *time.Timer             // nil unless a report waits for its turn
		last       time.Time               // when the latest one was sent
		properties *wire.ClusterProperties // as told last
		waiting    []*wire.StatusReport    // parts of a large one that are to be sent yet
	}
}

type checkResult struct {
	version string
	err     error
}

// RunAgent runs the agent's end of a session on the control stream until ctx ends or the session does, and closes the
// stream. The returned error says why: a *Refused, ErrProbeTimeout, ErrClosed, or ctx's cause.
func RunAgent(ctx context.Context, stream net.Conn, config AgentConfig) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer stream.Close()
	stop := context.AfterFunc(ctx, func() { stream.Close() })
	defer stop()

	a := &agentEnd{
		AgentConfig: config, stream: stream, interval: DefaultProbeInterval,
		stored: make(chan *wire.Ack, 1),
	}
	a.probe.checked, a.detach.done = make(chan checkResult, 1), make(chan struct{}, 1)
	reader := bufio.NewReaderSize(stream, 4096)
	if err := a.begin(reader); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	received, wait := receive(ctx, reader, func() *wire.FromHub { return &wire.FromHub{} })
	err := a.loop(ctx, received)
	cancel()
	stream.Close()
	wait()
	a.working.Wait()
	return err
}

// begin says Hello and waits for the answer.
func (a *agentEnd) begin(reader *bufio.Reader) error {
	a.words.nonce = seal.NewNonce()
	hello := &wire.Hello{
		Protocol: wire.Protocol, MinProtocol: wire.MinProtocol, AgentVersion: a.Version, Packages: fit(a.Packages.Held()),
		Trust: a.Credentials.Trusts(), Epoch: a.latest(), Nonce: a.words.nonce, Features: wire.Features(),
	}
	if a.Upgrades != nil {
		a.Upgrades.Introduce(hello)
	}
	answer, err := greet(a.stream, reader, hello)
	if err != nil {
		return err
	}
	if answer, err = a.believe(answer); err != nil {
		return err
	}
	if refusal := answer.GetRefusal(); refusal != nil {
		if order := refusal.GetUpgrade(); order != nil && a.Upgrades != nil && a.obeys(refusal) {
			a.Upgrades.Order(order)
		}
		return &Refused{Reason: refusal.GetReason(), Message: refusal.GetMessage()}
	}
	welcome := answer.GetWelcome()
	if welcome == nil {
		return errFirst
	}
	if err := a.pass(welcome); err != nil {
		return err
	}
	a.expect(welcome.GetProbeIntervalMillis())
	if err := a.stand(welcome.GetLevel()); err != nil {
		return err
	}
	if welcome.Metrics != nil {
		a.measure(welcome.GetMetrics())
	}
	if a.Opened != nil {
		a.Opened(welcome)
	}
	return a.stream.SetReadDeadline(time.Time{})
}

func (a *agentEnd) measure(profile string) {
	if a.Measure != nil {
		a.Measure(profile)
	}
}

func (a *agentEnd) stand(level string) error {
	if a.Stand == nil {
		return nil
	}
	return a.Stand(level)
}

// expect notes how often the hub probes, if it says so.
func (a *agentEnd) expect(millis uint32) {
	if millis > 0 {
		a.interval = min(time.Duration(millis)*time.Millisecond, 10*time.Minute)
	}
}

// errFirst says that a hub does not begin as hubs do.
var errFirst = errors.New("the hub's first message is neither Welcome nor Refusal")

// greet says hello and returns the hub's answer: Welcome or Refusal, or either in a Word.
func greet(stream net.Conn, reader *bufio.Reader, hello *wire.Hello) (*wire.FromHub, error) {
	if err := send(stream, &wire.FromAgent{Message: &wire.FromAgent_Hello{Hello: hello}}, helloTimeout); err != nil {
		return nil, err
	}
	stream.SetReadDeadline(time.Now().Add(helloTimeout))
	var answer wire.FromHub
	if err := ReadFrame(reader, &answer); err != nil {
		return nil, fmt.Errorf("waiting for the hub's welcome: %w", ended(err))
	}
	if answer.GetWelcome() == nil && answer.GetRefusal() == nil && answer.GetWord() == nil {
		return nil, errFirst
	}
	return &answer, nil
}

// fit makes what the agent holds fit into a frame: when it does not, what it holds matters more than how it fares.
func fit(packages []*wire.PackageStatus) []*wire.PackageStatus {
	if proto.Size(&wire.Hello{Packages: packages}) <= room {
		return packages
	}
	slim := make([]*wire.PackageStatus, len(packages))
	for i, p := range packages {
		slim[i] = &wire.PackageStatus{
			Package: p.GetPackage(), Release: p.GetRelease(), Revision: p.GetRevision(), Digest: p.GetDigest(),
			Phase: p.GetPhase(), Objects: p.GetObjects(), Applied: p.GetApplied(), Healthy: p.GetHealthy(), PolicyId: p.GetPolicyId(), Refused: p.GetRefused(),
		}
	}
	return slim
}

func (a *agentEnd) loop(ctx context.Context, received <-chan delivery[*wire.FromHub]) error {
	a.word, a.heard = time.Now(), time.NewTimer(missedProbes*a.interval)
	defer a.heard.Stop()
	a.renewal.begin(a.Credentials.RenewAt(), a.interval)
	defer a.renewal.due.Stop()
	err := a.report()
	for err == nil {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case d := <-received:
			err = a.hear(ctx, d)
		case <-a.heard.C:
			if lost(a.stream, time.Since(a.word), missedProbes*a.interval) {
				return fmt.Errorf("%w: the hub is silent", ErrProbeTimeout)
			}
			a.heard.Reset(a.interval)
		case result := <-a.probe.checked:
			err = a.answer(result)
		case ack := <-a.stored:
			err = a.send(&wire.FromAgent{Message: &wire.FromAgent_Ack{Ack: ack}})
		case <-a.Packages.Changed():
			err = a.report()
		case <-a.propertiesChanged():
			err = a.report()
		case <-a.upgradeNews():
			err = a.sendUpgrade()
		case <-a.reportTimer():
			a.reports.next = nil
			err = a.report()
		case <-a.partWaits():
			select {
			case d := <-received: // the hub's word goes before what the agent has to tell
				err = a.hear(ctx, d)
			default:
				err = a.tellOn()
			}
		case <-a.renewal.due.C:
			err = a.requestCertificate()
		case <-a.renewal.keep():
			err = a.keepTrust()
		case <-a.detach.done:
			// The hub ends the session, when it has made sure that it will not ask again.
			err = a.send(&wire.FromAgent{Message: &wire.FromAgent_Detached{Detached: &wire.Detached{}}})
		}
	}
	return err
}

// hear takes what came from the hub: a message, or why none comes any more.
func (a *agentEnd) hear(ctx context.Context, d delivery[*wire.FromHub]) error {
	if d.err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if d.err != nil {
		return ended(d.err)
	}
	err := a.handle(ctx, d.message)
	a.word = time.Now()
	a.heard.Reset(missedProbes * a.interval) // a probe may have said how often there will be one
	return err
}

func (a *agentEnd) handle(ctx context.Context, message *wire.FromHub) error {
	message, err := a.believe(message)
	if err != nil {
		return err
	}
	switch m := message.GetMessage().(type) {
	case *wire.FromHub_Probe:
		a.probe.nonce = m.Probe.GetNonce()
		a.expect(m.Probe.GetIntervalMillis())
		a.check(ctx)
	case *wire.FromHub_Desired:
		return a.store(ctx, m.Desired)
	case *wire.FromHub_Certificate:
		return a.renewed(m.Certificate)
	case *wire.FromHub_Trust:
		return a.trust(m.Trust)
	case *wire.FromHub_Detach:
		a.letGo(ctx, m.Detach)
	case *wire.FromHub_Upgrade:
		if a.Upgrades != nil {
			a.Upgrades.Order(m.Upgrade)
		}
	case *wire.FromHub_Metrics:
		a.measure(m.Metrics.GetProfile())
	case *wire.FromHub_Level:
		return a.stand(m.Level.GetLevel())
	case *wire.FromHub_Refusal:
		return &Refused{Reason: m.Refusal.GetReason(), Message: m.Refusal.GetMessage()}
	}
	return nil // a message of a later version
}

// check asks the API server, one question at a time, and leaves the answer in checked.
func (a *agentEnd) check(ctx context.Context) {
	if a.probe.checking {
		return // its result answers this probe too
	}
	a.probe.checking = true
	patience := a.interval / 2 // the hub may ask at another pace meanwhile
	a.working.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		version, err := a.CheckAPI(ctx)
		a.probe.checked <- checkResult{version, err}
	})
}

func (a *agentEnd) answer(result checkResult) error {
	a.probe.checking = false
	answer := &wire.ProbeAnswer{Nonce: a.probe.nonce}
	if result.err != nil {
		answer.ApiError = clip(result.err.Error())
	}
	if err := a.send(&wire.FromAgent{Message: &wire.FromAgent_ProbeAnswer{ProbeAnswer: answer}}); err != nil {
		return err
	}
	if result.version == "" || result.version == a.probe.version {
		return nil
	}
	a.probe.version = result.version
	return a.sendReport(&wire.StatusReport{KubernetesVersion: a.probe.version})
}

// store keeps what is desired, beside the loop: a slow disk must not look like a dead agent. An agent that leaves keeps
// nothing any more, since nobody would look after it.
func (a *agentEnd) store(ctx context.Context, change *wire.DesiredState) error {
	if a.LetGo || a.detach.begun {
		ack := &wire.Ack{Version: change.GetVersion(), Error: errLetGo.Error()}
		return a.send(&wire.FromAgent{Message: &wire.FromAgent_Ack{Ack: ack}})
	}
	a.storing.Add(1)
	a.working.Go(func() {
		ack := &wire.Ack{Version: change.GetVersion()}
		err := a.Packages.Store(ctx, change)
		a.storing.Done()
		if err != nil {
			ack.Error = clip(err.Error())
			a.Log.Error("the desired state was not stored", "error", err)
		}
		select {
		case a.stored <- ack:
		case <-ctx.Done():
		}
	})
	return nil
}

// letGo detaches, trying until it is done; a second wish joins the first.
func (a *agentEnd) letGo(ctx context.Context, wish *wire.Detach) {
	if a.detach.begun {
		return
	}
	a.detach.begun = true
	a.working.Go(func() {
		a.storing.Wait() // what came before the wish is let go of with the rest
		backoff := tunnel.Backoff{Min: time.Second, Max: time.Minute}
		for {
			err := a.Detach(ctx, wish)
			if err == nil {
				a.detach.done <- struct{}{}
				return
			}
			wait := backoff.Next()
			a.Log.Error("the member was not detached", "error", err, "retryIn", wait)
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
	})
}

// report sends what changed, unless the last report was just now: then a timer does.
func (a *agentEnd) report() error {
	if a.reports.waiting != nil {
		return nil // what changed meanwhile follows
	}
	if wait := reportGap - time.Since(a.reports.last); wait > 0 {
		if a.reports.next == nil {
			a.reports.next = time.NewTimer(wait)
		}
		return nil
	}
	report := a.withProperties(a.Packages.Take())
	if report == nil {
		return nil
	}
	a.reports.last = time.Now()
	return a.sendReport(report)
}

func (a *agentEnd) reportTimer() <-chan time.Time {
	if a.reports.next == nil {
		return nil
	}
	return a.reports.next.C
}

func (a *agentEnd) upgradeNews() <-chan struct{} {
	if a.Upgrades == nil {
		return nil
	}
	return a.Upgrades.Changed()
}

func (a *agentEnd) sendUpgrade() error {
	state := a.Upgrades.State()
	if state == nil {
		return nil
	}
	return a.send(&wire.FromAgent{Message: &wire.FromAgent_Upgrade{Upgrade: state}})
}

func (a *agentEnd) send(message *wire.FromAgent) error {
	return send(a.stream, message, missedProbes*a.interval)
}
