package session

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/identity/seal"
)

// notary is the Trust of a hub that seals what it says to the agent of a cluster.
type notary struct {
	*seal.Signer
	cluster string
	bundle  string
}

func (n *notary) Bundle() (*wire.TrustBundle, string) {
	return &wire.TrustBundle{TrustPem: []byte(n.bundle)}, n.bundle
}
func (n *notary) Changed() <-chan struct{} { return nil }
func (n *notary) Seal(word seal.Word) (*seal.Seal, error) {
	word.Cluster = n.cluster
	return n.Sign(&word, nil)
}

// newNotary is one of a new CA.
func newNotary(t *testing.T) (*notary, *x509.CertPool) {
	t.Helper()
	ca, err := identity.NewCA("fleet", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.IssueSigner("hub")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := seal.NewSigner(pair)
	if err != nil {
		t.Fatal(err)
	}
	return &notary{signer, "prod", "cas"}, ca.Pool()
}

func actingAs(a *wire.Assignment, name string) *wire.FromHub {
	a = proto.CloneOf(a)
	a.Policy = &wire.Policy{ActsAs: &wire.ServiceAccount{Namespace: "shop", Name: name}}
	return &wire.FromHub{Message: &wire.FromHub_Desired{Desired: &wire.DesiredState{Version: 1, Assign: []*wire.Assignment{a}}}}
}

// TestWordsAreSealed: hub and agent lead a session under the seal, as they do without. An end of the version before has it as before.
func TestWordsAreSealed(t *testing.T) {
	by, cas := newNotary(t)
	for _, c := range []struct {
		name string
		hub  Trust
		want bool
	}{{"a hub that seals", by, true}, {"one of before", nil, false}} {
		t.Run(c.name, func(t *testing.T) {
			story(t, func(t *testing.T, ctx context.Context) {
				s, fence := newStage(t), &remembered{}
				s.hub.Trust, s.agent.Fence, s.ring.cas = c.hub, fence, cas
				s.desired.Assign = assigned(assignment("a/web", "1"))
				s.hub.Fleet = Fleet{Name: "fleet", Epoch: 7}
				s.start(ctx)
				s.want([]*wire.Assignment{assignment("a/web", "2")}, "b/db")
				s.stored("all of it", "1 +a/web@1", "2 +a/web@2")
				if fence.epoch != 7 {
					t.Errorf("it keeps epoch %d", fence.epoch)
				}
				if fence.sealed != c.want || (s.ring.trusts == "cas") != c.want {
					t.Errorf("it remembers a seal: %t, and trusts %q", fence.sealed, s.ring.trusts)
				}
			})
		})
	}
	t.Run("an agent of before", func(t *testing.T) {
		story(t, func(t *testing.T, ctx context.Context) {
			s := newStage(t)
			s.hub.Trust, s.desired.Assign = by, assigned(assignment("a/web", "1"))
			go func() { s.hubErr <- RunHub(ctx, s.hubEnd, s.hub) }()
			reader := bufio.NewReader(s.agentEnd)
			if _, err := greet(s.agentEnd, reader, &wire.Hello{Protocol: wire.Protocol, MinProtocol: wire.MinProtocol}); err != nil {
				t.Fatal(err)
			}
			var trust, second wire.FromHub
			for _, message := range []*wire.FromHub{&trust, &second} {
				if err := ReadFrame(reader, message); err != nil || message.GetWord() != nil {
					t.Fatalf("it is told %v, %v", message, err)
				}
			}
			if trust.GetTrust() == nil || second.GetDesired() == nil && second.GetProbe() == nil {
				t.Errorf("it is told %v, then %v", &trust, &second)
			}
		})
	})
}

// between plays somebody who is connected as the hub is: it welcomes the agent, and says what it makes of the agent's nonce.
func between(s *stage, says func(hello *wire.Hello) []*wire.FromHub) {
	go func() {
		hello, reader, err := readHello(s.hubEnd)
		if err != nil {
			s.hubErr <- err
			return
		}
		go answers(s, reader)
		welcome := &wire.FromHub{Message: &wire.FromHub_Welcome{Welcome: &wire.Welcome{Protocol: wire.Protocol}}}
		for _, message := range append([]*wire.FromHub{welcome}, says(hello)...) {
			if err := send(s.hubEnd, message, helloTimeout); err != nil {
				return // the agent has gone
			}
		}
	}()
}

// answers writes down what the agent says, until it ends.
func answers(s *stage, reader *bufio.Reader) {
	for {
		var said wire.FromAgent
		if err := ReadFrame(reader, &said); err != nil {
			s.hubErr <- err
			return
		}
		if ack := said.GetAck(); ack != nil {
			s.diary.add("ack %q", ack.GetError())
		}
	}
}

// TestWhoStandsBetweenSaysNothing: with the gateway's certificate and with all that was ever said, but without what signs. Nothing of
// it is stored.
func TestWhoStandsBetweenSaysNothing(t *testing.T) {
	by, cas := newNotary(t)
	other, _ := newNotary(t)
	good, older := actingAs(assignment("a/web", "1"), "shop"), actingAs(assignment("a/web", "1"), "admin")
	// signed is what the hub itself says, as number count of the session with a nonce.
	signed := func(by *notary, nonce []byte, count uint64, message *wire.FromHub) *wire.FromHub {
		h := &hubEnd{HubConfig: HubConfig{Trust: by}, words: words{nonce, count}}
		word, err := h.word(message)
		if err != nil || word.GetWord() == nil {
			t.Fatalf("it is not sealed: %v, %v", word, err)
		}
		return word
	}
	// forged is a word with another message in it.
	forged := func(nonce []byte, message *wire.FromHub) *wire.FromHub {
		word := signed(by, nonce, 0, good)
		raw, err := proto.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		word.GetWord().Message = raw
		return word
	}
	unbound := proto.CloneOf(good)
	unbound.GetDesired().Assign[0].Policy = &wire.Policy{DeleteBudget: &wire.Budget{Limit: &wire.Budget_Count{Count: 1 << 20}}}
	elsewhere := &notary{by.Signer, "test", "cas"}
	for name, says := range map[string]func(nonce []byte) []*wire.FromHub{
		"a forged account":          func(nonce []byte) []*wire.FromHub { return []*wire.FromHub{forged(nonce, older)} },
		"a forged policy":           func(nonce []byte) []*wire.FromHub { return []*wire.FromHub{forged(nonce, unbound)} },
		"a forged bundle of CAs":    func(nonce []byte) []*wire.FromHub { return []*wire.FromHub{forged(nonce, trustIn("evil"))} },
		"one of an earlier session": func([]byte) []*wire.FromHub { return []*wire.FromHub{signed(by, seal.NewNonce(), 0, older)} },
		"one that was said to another cluster": func(nonce []byte) []*wire.FromHub {
			return []*wire.FromHub{signed(elsewhere, nonce, 0, older)}
		},
		"one by somebody else":        func(nonce []byte) []*wire.FromHub { return []*wire.FromHub{signed(other, nonce, 0, older)} },
		"the second one in its place": func(nonce []byte) []*wire.FromHub { return []*wire.FromHub{signed(by, nonce, 1, older)} },
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, ctx context.Context) {
				s, fence := newStage(t), &remembered{}
				s.agent.Fence, s.ring.cas = fence, cas
				between(s, func(hello *wire.Hello) []*wire.FromHub { return says(hello.GetNonce()) })
				if err := RunAgent(ctx, s.agentEnd, s.agent); !errors.Is(err, ErrNotTheHub) {
					t.Errorf("the agent's end: %v", err)
				}
				s.stored("nothing of it")
				if s.ring.trusts != "" || fence.sealed {
					t.Errorf("it trusts %q, and remembers a seal: %t", s.ring.trusts, fence.sealed)
				}
			})
		})
	}
	t.Run("the same one twice", func(t *testing.T) {
		story(t, func(t *testing.T, ctx context.Context) {
			s := newStage(t)
			s.ring.cas = cas
			between(s, func(hello *wire.Hello) []*wire.FromHub {
				word := signed(by, hello.GetNonce(), 0, good)
				return []*wire.FromHub{word, proto.CloneOf(word)}
			})
			if err := RunAgent(ctx, s.agentEnd, s.agent); !errors.Is(err, ErrNotTheHub) {
				t.Errorf("the agent's end: %v", err)
			}
			s.stored("once", "1 +a/web@1")
		})
	})
}

func trustIn(bundle string) *wire.FromHub {
	return &wire.FromHub{Message: &wire.FromHub_Trust{Trust: &wire.TrustBundle{TrustPem: []byte(bundle)}}}
}

// TestNobodyPretendsToBeAnOlderHub: what changes something and is under no seal is not followed, once the hub has sealed.
func TestNobodyPretendsToBeAnOlderHub(t *testing.T) {
	_, cas := newNotary(t)
	story(t, func(t *testing.T, ctx context.Context) {
		s, taken := newStage(t), &orders{}
		s.agent.Fence, s.agent.Upgrades, s.ring.cas = &remembered{sealed: true}, taken, cas
		s.agent.Detach = func(context.Context, *wire.Detach) error {
			t.Error("it has let go")
			return nil
		}
		between(s, func(*wire.Hello) []*wire.FromHub {
			return []*wire.FromHub{
				actingAs(assignment("a/web", "1"), "admin"), trustIn("evil"), detach(&wire.Detach{Prune: true}),
				{Message: &wire.FromHub_Upgrade{Upgrade: &wire.Upgrade{Build: "evil"}}},
				{Message: &wire.FromHub_Certificate{Certificate: &wire.CertificateIssued{TrustPem: []byte("evil")}}},
			}
		})
		go func() { s.agentErr <- RunAgent(ctx, s.agentEnd, s.agent) }()
		synctest.Wait()
		s.stored("nothing of it")
		if s.ring.trusts != "" || len(s.ring.installed)+len(taken.taken) > 0 {
			t.Errorf("it trusts %q, installed %v and became %v", s.ring.trusts, s.ring.installed, taken.taken)
		}
		s.diary.mu.Lock()
		defer s.diary.mu.Unlock()
		if said := strings.Join(s.diary.lines, "\n"); !strings.Contains(said, "an older version of the hub runs, or somebody stands between") {
			t.Errorf("it answered %q", said)
		}
	})
}

// TestAnUpgradeWithARefusal is the way out for an agent that is too old: its hub seals it.
func TestAnUpgradeWithARefusal(t *testing.T) {
	by, cas := newNotary(t)
	for name, c := range map[string]struct {
		first func(ctx context.Context, stream net.Conn, hub HubConfig) error
		want  int
	}{
		"by the hub": {func(ctx context.Context, stream net.Conn, hub HubConfig) error { return RunHub(ctx, stream, hub) }, 1},
		"by somebody else": {func(_ context.Context, stream net.Conn, _ HubConfig) error {
			if _, _, err := readHello(stream); err != nil {
				return err
			}
			return sendRefusal(stream, &wire.Refusal{Reason: "ProtocolMismatch", Upgrade: &wire.Upgrade{Build: "evil"}})
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, ctx context.Context) {
				s, taken := newStage(t), &orders{}
				upgrade := make(chan *wire.Upgrade, 1)
				upgrade <- &wire.Upgrade{Build: "v2-0123456789ab"}
				s.hub.Trust, s.hub.Upgrade, s.hub.Fleet.Epoch = by, upgrade, 1
				s.agent.Fence, s.agent.Upgrades, s.ring.cas = &remembered{sealed: true}, taken, cas
				go func() { s.hubErr <- c.first(ctx, s.hubEnd, s.hub) }()
				old := &tooOld{Conn: s.agentEnd}
				if err := RunAgent(ctx, old, s.agent); refusal(err) == "" || len(taken.taken) != c.want {
					t.Errorf("it took %v, want %d; it ended with %v", taken.taken, c.want, err)
				}
			})
		})
	}
}

// tooOld has an agent say that it speaks a protocol that nobody speaks any more.
type tooOld struct {
	net.Conn
	said bool
}

func (c *tooOld) Write(frame []byte) (int, error) {
	if c.said {
		return c.Conn.Write(frame)
	}
	c.said = true
	var hello wire.FromAgent
	if err := ReadFrame(bufio.NewReader(strings.NewReader(string(frame))), &hello); err != nil {
		return 0, err
	}
	hello.GetHello().Protocol, hello.GetHello().MinProtocol = wire.Protocol+9, wire.Protocol+9
	return len(frame), WriteFrame(c.Conn, &hello)
}

// TestWhatAJoinBrings is under the seal too: with another bundle of CAs all seals would be somebody else's.
func TestWhatAJoinBrings(t *testing.T) {
	by, cas := newNotary(t)
	csr := []byte("a request")
	good, err := (JoinResponse{Certificate: "c", Trust: "cas"}).Sealed(by, csr)
	if err != nil {
		t.Fatal(err)
	}
	evil := good
	evil.Trust = "evil"
	for _, c := range []struct {
		reason   string
		response JoinResponse
		csr      string
		sealed   bool
		want     error
	}{
		{"the hub's own", good, "a request", false, nil},
		{"so, again", good, "a request", true, nil},
		{"of a hub of before", JoinResponse{Certificate: "c", Trust: "cas"}, "a request", false, nil},
		{"of one that pretends to be that", JoinResponse{Certificate: "c", Trust: "evil"}, "a request", true, errUnsealed},
		{"another bundle", evil, "a request", false, ErrNotTheHub},
		{"the answer to another request", good, "another", true, ErrNotTheHub},
	} {
		fence := &remembered{sealed: c.sealed}
		client := &Client{config: ClientConfig{Agent: AgentConfig{Credentials: &ring{cas: cas}, Fence: fence}}}
		if err := client.believe([]byte(c.csr), c.response); !errors.Is(err, c.want) || fence.sealed != (c.sealed || c.response.Seal != nil && err == nil) {
			t.Errorf("%s: %v, want %v; it remembers a seal: %t", c.reason, err, c.want, fence.sealed)
		}
	}
}

// TestAGreetingThatIsNotTheHubs: nothing of it outlasts the session, and what the hub itself says after it is not followed.
func TestAGreetingThatIsNotTheHubs(t *testing.T) {
	by, cas := newNotary(t)
	epoch := func(epoch uint64) *uint64 { return &epoch }
	greets := func(said *uint64) *wire.FromHub {
		return &wire.FromHub{Message: &wire.FromHub_Welcome{Welcome: &wire.Welcome{Protocol: wire.Protocol, ClusterSet: "evil", Epoch: said}}}
	}
	good := actingAs(assignment("a/web", "1"), "shop")
	for _, c := range []struct {
		reason string
		greet  *wire.FromHub
		// skips is how many words of the hub somebody took away.
		skips  int
		want   error
		stored []string
	}{
		{"one of a hub of before", greets(epoch(7)), 0, nil, []string{"1 +a/web@1"}},
		{"one of a hub that knows no epochs", greets(nil), 0, nil, []string{"1 +a/web@1"}},
		{"an epoch that no hub has", greets(epoch(1 << 40)), 0, nil, []string{"1 +a/web@1"}},
		{"an older copy", greets(epoch(6)), 0, ErrSuperseded, nil},
		{"in place of the hub's own", greets(epoch(1 << 40)), 1, ErrNotTheHub, nil},
	} {
		t.Run(c.reason, func(t *testing.T) {
			story(t, func(t *testing.T, ctx context.Context) {
				s, fence, fleet := newStage(t), &remembered{sealed: true, epoch: 7}, ""
				s.agent.Fence, s.ring.cas = fence, cas
				s.agent.Opened = func(welcome *wire.Welcome) { fleet = welcome.GetClusterSet() }
				go func() {
					hello, reader, err := readHello(s.hubEnd)
					if err != nil {
						s.hubErr <- err
						return
					}
					go answers(s, reader)
					h := &hubEnd{HubConfig: HubConfig{Trust: by}, words: words{hello.GetNonce(), uint64(c.skips)}}
					word, err := h.word(good)
					if err != nil {
						t.Error(err)
						return
					}
					for _, message := range []*wire.FromHub{c.greet, word} {
						if send(s.hubEnd, message, helloTimeout) != nil {
							return // the agent has gone
						}
					}
				}()
				if c.want == nil {
					go func() { s.agentErr <- RunAgent(ctx, s.agentEnd, s.agent) }()
				} else if err := RunAgent(ctx, s.agentEnd, s.agent); !errors.Is(err, c.want) {
					t.Errorf("the agent's end: %v", err)
				}
				synctest.Wait()
				s.stored("what the hub said", c.stored...)
				if fence.epoch != 7 || fleet != "" {
					t.Errorf("it keeps epoch %d, and is in the fleet %q", fence.epoch, fleet)
				}
			})
		})
	}
}

// TestAGreetingIsAWord of the hub to an agent that draws a nonce, the first one.
func TestAGreetingIsAWord(t *testing.T) {
	by, cas := newNotary(t)
	story(t, func(t *testing.T, ctx context.Context) {
		s := newStage(t)
		s.hub.Trust, s.hub.Fleet = by, Fleet{Name: "fleet", Epoch: 7}
		go func() { s.hubErr <- RunHub(ctx, s.hubEnd, s.hub) }()
		nonce := seal.NewNonce()
		answer, err := greet(s.agentEnd, bufio.NewReader(s.agentEnd), &wire.Hello{Protocol: wire.Protocol, MinProtocol: wire.MinProtocol, Nonce: nonce})
		if err != nil || answer.GetWord() == nil {
			t.Fatalf("it says %v, %v", answer, err)
		}
		a := &agentEnd{AgentConfig: AgentConfig{Credentials: &ring{cas: cas}}, words: words{nonce: nonce}}
		opened, err := a.believe(answer)
		if welcome := opened.GetWelcome(); err != nil || welcome.GetEpoch() != 7 || welcome.GetClusterSet() != "fleet" {
			t.Errorf("it says %v, %v", opened, err)
		}
	})
}
