package session

import (
	"bufio"
	"context"
	"errors"
	"strings"
	"testing"

	"umbel.dev/umbel/api/wire"
)

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		reason string
		first  *wire.Hello
		want   error
		tells  string
	}{
		{"no common version", &wire.Hello{Protocol: 9, MinProtocol: 8}, ErrNoCommonProtocol, "upgrade the hub"},
		{"a bad package", &wire.Hello{Protocol: 1, Packages: []*wire.PackageStatus{{Package: "x"}}}, ErrBadHello, "NAMESPACE/NAME"},
		{"another message first", nil, ErrBadHello, "first message"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			story(t, func(t *testing.T, ctx context.Context) {
				s := newStage(t)
				go func() { s.hubErr <- RunHub(ctx, s.hubEnd, s.hub) }()
				first := &wire.FromAgent{}
				if c.first != nil {
					first.Message = &wire.FromAgent_Hello{Hello: c.first}
				}
				if err := WriteFrame(s.agentEnd, first); err != nil {
					t.Fatal(err)
				}
				var answer wire.FromHub
				if err := ReadFrame(bufio.NewReader(s.agentEnd), &answer); err != nil {
					t.Fatal(err)
				}
				if got := answer.GetRefusal().GetMessage(); !strings.Contains(got, c.tells) {
					t.Errorf("the agent was told %q, want it to say %q", got, c.tells)
				}
				if err := <-s.hubErr; !errors.Is(err, c.want) {
					t.Errorf("the hub's end: %v, want %v", err, c.want)
				}
				s.heard("a refused session is never opened")
			})
		})
	}
}

func TestAgentHearsRefusal(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		go func() { s.agentErr <- RunAgent(ctx, s.agentEnd, s.agent) }()
		if err := Refuse(s.hubEnd, "CertificateRefused", "it expired; the agent asks for a new one"); err != nil {
			t.Fatal(err)
		}
		err := <-s.agentErr
		var refused *Refused
		if !errors.As(err, &refused) || refused.Reason != "CertificateRefused" {
			t.Errorf("got %v", err)
		}
	})
}

// orders are the upgrades that an agent was asked for.
type orders struct{ taken []string }

func (o *orders) Introduce(*wire.Hello)     {}
func (o *orders) Order(order *wire.Upgrade) { o.taken = append(o.taken, order.GetBuild()) }
func (o *orders) Changed() <-chan struct{}  { return nil }
func (o *orders) State() *wire.UpgradeState { return nil }

// An agent that is refused for its protocol becomes another program at the word of its hub, and not of an older copy of it.
func TestNoUpgradeByAnOlderCopy(t *testing.T) {
	said := func(epoch uint64) *uint64 { return &epoch }
	for _, c := range []struct {
		reason string
		fence  Fence
		said   *uint64
		want   int
	}{
		{"its hub was never restored", &remembered{epoch: 0}, said(0), 1},
		{"so, and says no epoch", &remembered{epoch: 0}, nil, 1},
		{"its hub, which was restored", &remembered{epoch: 9}, said(9), 1},
		{"a hub that was restored since", &remembered{epoch: 9}, said(12), 1},
		{"an older copy", &remembered{epoch: 9}, said(5), 0},
		{"one that says no epoch may be an older copy", &remembered{epoch: 9}, nil, 0},
		{"without a fence", nil, said(5), 1},
	} {
		t.Run(c.reason, func(t *testing.T) {
			story(t, func(t *testing.T, ctx context.Context) {
				s, taken := newStage(t), &orders{}
				s.agent.Fence, s.agent.Upgrades = c.fence, taken
				go func() { s.agentErr <- RunAgent(ctx, s.agentEnd, s.agent) }()
				if _, _, err := readHello(s.hubEnd); err != nil {
					t.Fatal(err)
				}
				refusal := &wire.Refusal{Reason: "ProtocolMismatch", Upgrade: &wire.Upgrade{Build: "v2-0123456789ab"}, Epoch: c.said}
				if err := sendRefusal(s.hubEnd, refusal); err != nil {
					t.Fatal(err)
				}
				if err := <-s.agentErr; len(taken.taken) != c.want {
					t.Errorf("it took %v, want %d upgrades; it ended with %v", taken.taken, c.want, err)
				}
			})
		})
	}
}

// An older copy of a hub refuses as such, whatever protocol it speaks: it asks for no upgrade.
func TestAnOlderCopySaysSo(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		s.hub.Fleet.Epoch = 5
		upgrade := make(chan *wire.Upgrade, 1)
		upgrade <- &wire.Upgrade{Build: "v2-0123456789ab"}
		s.hub.Upgrade = upgrade
		go func() { s.hubErr <- RunHub(ctx, s.hubEnd, s.hub) }()
		hello := &wire.Hello{Protocol: 9, MinProtocol: 8, Epoch: 9}
		answer, err := greet(s.agentEnd, bufio.NewReader(s.agentEnd), hello)
		if refusal := answer.GetRefusal(); err != nil || refusal.GetReason() != "HubSuperseded" || refusal.GetUpgrade() != nil {
			t.Errorf("the agent was told %v, %v", answer, err)
		}
		if err := <-s.hubErr; !errors.Is(err, ErrSuperseded) {
			t.Errorf("the hub's end: %v", err)
		}
	})
}

func TestRevokedInSession(t *testing.T) {
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		s.start(ctx)
		s.orders <- &wire.FromHub{Message: &wire.FromHub_Refusal{Refusal: &wire.Refusal{Reason: "CertificateRefused", Message: "revoked"}}}
		for _, end := range []chan error{s.hubErr, s.agentErr} {
			var refused *Refused
			if err := <-end; !errors.As(err, &refused) || refused.Message != "revoked" {
				t.Errorf("got %v", err)
			}
		}
	})
}
