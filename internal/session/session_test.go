package session

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/identity/seal"
)

var quiet = slog.New(slog.DiscardHandler)

// member is what an agent holds, in memory.
type member struct {
	mu      sync.Mutex
	held    map[string]*wire.PackageStatus
	stores  []string // each change that was stored, such as "1 +a/web@1 -b/db"
	broken  error    // what Store answers
	slow    time.Duration
	waiting []*wire.PackageStatus
	gone    []string
	wake    chan struct{}
}

func newMember(held ...*wire.PackageStatus) *member {
	m := &member{held: map[string]*wire.PackageStatus{}, wake: make(chan struct{}, 1)}
	for _, p := range held {
		m.held[p.GetPackage()] = p
	}
	return m
}

func (m *member) Held() (held []*wire.PackageStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.held {
		held = append(held, p)
	}
	return held
}

func (m *member) Store(_ context.Context, change *wire.DesiredState) error {
	time.Sleep(m.slow)
	m.mu.Lock()
	defer m.mu.Unlock()
	text := fmt.Sprint(change.GetVersion())
	for _, a := range change.GetAssign() {
		text += " +" + a.GetPackage() + "@" + a.GetRelease()
	}
	for _, name := range change.GetRemove() {
		text += " -" + name
	}
	if m.broken != nil {
		m.stores = append(m.stores, text+" refused")
		return m.broken
	}
	m.stores = append(m.stores, text)
	return nil
}

func (m *member) Changed() <-chan struct{} { return m.wake }

func (m *member) Take() *wire.StatusReport {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting)+len(m.gone) == 0 {
		return nil
	}
	report := &wire.StatusReport{Packages: m.waiting, Removed: m.gone}
	m.waiting, m.gone = nil, nil
	return report
}

func (m *member) say(p ...*wire.PackageStatus) {
	m.mu.Lock()
	m.waiting = append(m.waiting, p...)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// ring is a set of credentials that are renewed after an hour.
type ring struct {
	renewAt   time.Time
	installed []string
	trusts    string
	broken    error
	cas       *x509.CertPool // by which it knows the hub
}

func (r *ring) RenewAt() time.Time { return r.renewAt }
func (r *ring) Trusts() string     { return r.trusts }
func (r *ring) Trust(bundle []byte) error {
	r.trusts = string(bundle)
	return r.broken
}
func (r *ring) Verify(word seal.Word, sealed *seal.Seal) error {
	word.Cluster = "prod"
	return sealed.Verify(&word, r.cas)
}
func (r *ring) Request() ([]byte, error) { return []byte("csr"), nil }
func (r *ring) Install(certificate, trust []byte) error {
	r.installed = append(r.installed, string(certificate)+" "+string(trust))
	r.renewAt = time.Now().Add(time.Hour)
	return nil
}

// diary is an Observer that writes down what it hears.
type diary struct {
	mu    sync.Mutex
	lines []string
	// probes counts answers.
	probes int
}

func (d *diary) add(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}
func (d *diary) Opened(h *wire.Hello) { d.add("opened with %d packages", len(h.GetPackages())) }
func (d *diary) Acknowledged(_ *wire.DesiredState, problem string) {
	d.add("ack %q", problem)
}
func (d *diary) Trusts(digest string)           { d.add("trusts %s", digest) }
func (d *diary) Detached()                      { d.add("detached") }
func (d *diary) Upgrading(s *wire.UpgradeState) { d.add("upgrade %s", s.GetPhase()) }
func (d *diary) Answered(apiError string) {
	d.mu.Lock()
	d.probes++
	d.mu.Unlock()
	if apiError != "" {
		d.add("api: %s", apiError)
	}
}
func (d *diary) Reported(r *wire.StatusReport) {
	if r.GetKubernetesVersion() != "" {
		d.add("kubernetes %s", r.GetKubernetesVersion())
	}
	for _, p := range r.GetPackages() {
		d.add("%s %s %s", p.GetPackage(), p.GetRelease(), p.GetPhase())
	}
	for _, name := range r.GetRemoved() {
		d.add("%s is gone", name)
	}
}

// stage is a hub and an agent with a pipe between them.
type stage struct {
	t       *testing.T
	hub     HubConfig
	agent   AgentConfig
	diary   *diary
	member  *member
	ring    *ring
	changed chan struct{}
	orders  chan *wire.FromHub

	mu      sync.Mutex
	desired DesiredSet
	ready   bool

	hubErr, agentErr chan error
	hubEnd, agentEnd net.Conn
}

func newStage(t *testing.T, held ...*wire.PackageStatus) *stage {
	s := &stage{
		t: t, diary: &diary{}, member: newMember(held...), ring: &ring{renewAt: time.Now().Add(time.Hour)},
		changed: make(chan struct{}, 1), orders: make(chan *wire.FromHub, 1), ready: true,
		hubErr: make(chan error, 1), agentErr: make(chan error, 1),
	}
	s.hub = HubConfig{
		Version: "v1", Changed: s.changed, Orders: s.orders, Observer: s.diary, Log: quiet,
		Desired: func() (DesiredSet, bool) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.desired, s.ready
		},
		Issue: func(csr []byte) ([]byte, []byte, error) {
			return []byte("certificate for " + string(csr)), []byte("trust"), nil
		},
	}
	s.agent = AgentConfig{
		Version: "v1", Packages: s.member, Credentials: s.ring, Log: quiet,
		CheckAPI: func(context.Context) (string, error) { return "v1.36.3", nil },
		Detach:   func(context.Context, *wire.Detach) error { return nil },
	}
	s.hubEnd, s.agentEnd = net.Pipe()
	return s
}

func (s *stage) start(ctx context.Context) {
	go func() { s.hubErr <- RunHub(ctx, s.hubEnd, s.hub) }()
	go func() { s.agentErr <- RunAgent(ctx, s.agentEnd, s.agent) }()
	synctest.Wait()
}

func (s *stage) want(assign []*wire.Assignment, remove ...v1alpha1.PackageKey) {
	s.mu.Lock()
	s.desired = DesiredSet{Assign: assigned(assign...), Remove: remove}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
	synctest.Wait()
}

func (s *stage) stored(reason string, want ...string) {
	s.t.Helper()
	s.member.mu.Lock()
	defer s.member.mu.Unlock()
	if diff := cmp.Diff(want, s.member.stores); diff != "" {
		s.t.Errorf("%s: stored (-want +got):\n%s", reason, diff)
	}
	s.member.stores = nil
}

func (s *stage) heard(reason string, want ...string) {
	s.t.Helper()
	s.diary.mu.Lock()
	defer s.diary.mu.Unlock()
	if diff := cmp.Diff(want, s.diary.lines); diff != "" {
		s.t.Errorf("%s: the hub heard (-want +got):\n%s", reason, diff)
	}
	s.diary.lines = nil
}

func (s *stage) ends(wantHub, wantAgent error) {
	s.t.Helper()
	if err := <-s.hubErr; !errors.Is(err, wantHub) {
		s.t.Errorf("the hub's end: %v, want %v", err, wantHub)
	}
	if err := <-s.agentErr; !errors.Is(err, wantAgent) {
		s.t.Errorf("the agent's end: %v, want %v", err, wantAgent)
	}
}

func story(t *testing.T, tell func(t *testing.T, ctx context.Context)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		tell(t, ctx)
	})
}

func TestDesiredStateTravelsAsDifferences(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t, &wire.PackageStatus{Package: "a/web", Release: "1", Revision: "rev-1", Digest: "sha256:1"})
		s.desired.Assign = assigned(assignment("a/web", "1"), assignment("b/db", "1"))
		s.agent.CheckAPI = func(context.Context) (string, error) { return "", nil }
		s.start(ctx)
		s.stored("what the agent holds is not sent again", "1 +b/db@1")
		s.want([]*wire.Assignment{assignment("a/web", "2"), assignment("b/db", "1")})
		s.stored("a new release", "2 +a/web@2")
		s.want([]*wire.Assignment{assignment("a/web", "2")})
		s.stored("a package that is not named any more stays")
		s.want([]*wire.Assignment{assignment("a/web", "2")}, "b/db")
		s.stored("one that a decision removes", "3 -b/db")
		s.want([]*wire.Assignment{assignment("a/web", "2")}, "b/db")
		s.stored("a removal is told once")
		s.heard("acknowledgements", "opened with 1 packages", `ack ""`, `ack ""`, `ack ""`)
	})
}

func TestUnknownIsNeverEmpty(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t, &wire.PackageStatus{Package: "a/web", Release: "1"})
		s.ready = false
		s.desired.Remove = []v1alpha1.PackageKey{"a/web"}
		s.start(ctx)
		time.Sleep(time.Minute)
		s.stored("nothing is known, nothing is said")
		s.mu.Lock()
		s.ready = true
		s.mu.Unlock()
		s.want([]*wire.Assignment{assignment("a/web", "2")})
		s.stored("it is known now", "1 +a/web@2")
	})
}

func TestOneChangeIsInFlight(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		s.member.slow = 10 * time.Second
		s.start(ctx)
		for release := range 6 {
			s.want([]*wire.Assignment{assignment("a/web", fmt.Sprint(release+1))})
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		s.stored("what was overtaken meanwhile is never sent", "1 +a/web@1", "2 +a/web@6")
	})
}

func TestNackIsTriedAgain(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		s.member.broken = errors.New("no space left on device")
		s.desired.Assign = assigned(assignment("a/web", "1"))
		s.start(ctx)
		s.stored("refused", "1 +a/web@1 refused")
		time.Sleep(3 * time.Second)
		s.member.mu.Lock()
		n := len(s.member.stores)
		s.member.broken, s.member.stores = nil, nil
		s.member.mu.Unlock()
		if n < 1 || n > 10 {
			t.Errorf("tried %d times in 3 s, want a few", n)
		}
		time.Sleep(2 * time.Minute)
		s.member.mu.Lock()
		if n := len(s.member.stores); n != 1 {
			t.Errorf("stored %d times once the disk had room, want once: %v", n, s.member.stores)
		}
		s.member.mu.Unlock()
		s.diary.mu.Lock()
		defer s.diary.mu.Unlock()
		if got := strings.Join(s.diary.lines, "\n"); !strings.Contains(got, `ack "no space left on device"`) {
			t.Errorf("the hub did not hear why:\n%s", got)
		}
	})
}

func TestStatusesAreChangesAndCoalesced(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		s.start(ctx)
		s.heard("the start", "opened with 0 packages", "kubernetes v1.36.3")
		s.member.say(&wire.PackageStatus{Package: "a/web", Release: "1", Phase: wire.PackageStatus_APPLYING})
		synctest.Wait()
		s.heard("the first comes at once", "a/web 1 APPLYING")
		s.member.say(&wire.PackageStatus{Package: "a/web", Release: "1", Phase: wire.PackageStatus_APPLIED})
		synctest.Wait()
		s.heard("the next waits")
		time.Sleep(reportGap)
		synctest.Wait()
		s.heard("and comes", "a/web 1 APPLIED")
		time.Sleep(time.Hour / 2)
		s.heard("an idle session says nothing")
	})
}

func TestRemovedAndWantedAgain(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t, &wire.PackageStatus{Package: "a/web", Release: "1", Revision: "rev-1", Digest: "sha256:1"})
		s.desired = DesiredSet{Assign: assigned(assignment("a/web", "1"))}
		s.start(ctx)
		s.stored("it is held")
		s.member.mu.Lock()
		s.member.gone = []string{"a/web"}
		s.member.mu.Unlock()
		s.member.say()
		synctest.Wait()
		s.stored("what the agent lost it gets again", "1 +a/web@1")
	})
}

func TestProbes(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		s.start(ctx)
		time.Sleep(time.Minute)
		s.diary.mu.Lock()
		if s.diary.probes < 11 || s.diary.probes > 15 {
			t.Errorf("%d answers in a minute, want about 13", s.diary.probes)
		}
		s.diary.mu.Unlock()
	})
}

func TestProbeGoesEndToEnd(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		s.agent.CheckAPI = func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", errors.New("the API server does not answer")
		}
		s.start(ctx)
		time.Sleep(4 * time.Second)
		s.heard("a member whose API server hangs", "opened with 0 packages", "api: the API server does not answer")
	})
}

func TestAgentThatDoesNotAnswer(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		block := make(chan struct{})
		defer close(block)
		s.agent.CheckAPI = func(context.Context) (string, error) { <-block; return "", nil }
		start := time.Now()
		go func() { s.agentErr <- RunAgent(ctx, s.agentEnd, s.agent) }()
		err := RunHub(ctx, s.hubEnd, s.hub)
		if !errors.Is(err, ErrProbeTimeout) {
			t.Errorf("the hub's end: %v", err)
		}
		if took := time.Since(start); took < 15*time.Second || took > 21*time.Second {
			t.Errorf("it took %v, want three to four intervals", took)
		}
	})
}

func TestSilentHub(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		go func() { s.agentErr <- RunAgent(ctx, s.agentEnd, s.agent) }()
		if _, _, err := readHello(s.hubEnd); err != nil {
			t.Fatal(err)
		}
		welcome := &wire.Welcome{Protocol: 1, ProbeIntervalMillis: 2000}
		if err := WriteFrame(s.hubEnd, &wire.FromHub{Message: &wire.FromHub_Welcome{Welcome: welcome}}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := <-s.agentErr; !errors.Is(err, ErrProbeTimeout) {
			t.Errorf("the agent's end: %v", err)
		}
		if took := time.Since(start); took != 6*time.Second {
			t.Errorf("it took %v, want three intervals", took)
		}
	})
}

func TestCertificateIsRenewed(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		s.start(ctx)
		time.Sleep(time.Hour - time.Second)
		if len(s.ring.installed) != 0 {
			t.Error("renewed too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"certificate for csr trust"}, s.ring.installed); diff != "" {
			t.Errorf("installed (-want +got):\n%s", diff)
		}
	})
}

// An agent that floods the hub is slowed down; it costs the hub a bounded number of messages a second.
func TestFloodIsSlowedDown(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		go func() { s.hubErr <- RunHub(ctx, s.hubEnd, s.hub) }()
		if err := WriteFrame(s.agentEnd, hello("flooder")); err != nil {
			t.Fatal(err)
		}
		reader := bufio.NewReader(s.agentEnd)
		go func() {
			for ReadFrame(reader, &wire.FromHub{}) == nil {
			}
		}()
		report := &wire.FromAgent{Message: &wire.FromAgent_Status{Status: &wire.StatusReport{
			Packages: []*wire.PackageStatus{{Package: "a/web"}},
		}}}
		for WriteFrame(s.agentEnd, report) == nil {
		}
		if err := <-s.hubErr; !errors.Is(err, ErrProbeTimeout) {
			t.Errorf("the hub's end: %v", err)
		}
		s.diary.mu.Lock()
		defer s.diary.mu.Unlock()
		if n := len(s.diary.lines); n > frameBurst+30*framesPerSecond {
			t.Errorf("the hub took %d reports", n)
		}
	})
}

// A peer that does not read runs into a deadline.
func TestAgentThatDoesNotRead(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		go func() { s.hubErr <- RunHub(ctx, s.hubEnd, s.hub) }()
		if err := WriteFrame(s.agentEnd, hello("deaf")); err != nil {
			t.Fatal(err)
		}
		if err := <-s.hubErr; !errors.Is(err, ErrProbeTimeout) {
			t.Errorf("the hub's end: %v", err)
		}
	})
}

func TestEndOfContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replaced := errors.New("replaced by a newer session")
		ctx, cancel := context.WithCancelCause(t.Context())
		s := newStage(t)
		s.start(ctx)
		cancel(replaced)
		s.ends(replaced, replaced)
	})
}
