package session

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"umbel.dev/umbel/api/wire"
)

// Below testdata/versions is what either end of a session said, in the bytes that it said it in, when another version of this program led the
// conversation that recorded leads. The folder's name is the day and the commit of that version. `go test ./internal/session -run Earlier
// -record FOLDER` records it for this version, and so does this file in an earlier one, without what that does not know.
var record = flag.String("record", "", "folder in which the conversation of this version is recorded")

// tape writes down what is said.
type tape struct {
	net.Conn
	mu   sync.Mutex
	said bytes.Buffer
}

func (c *tape) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.said.Write(p)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// spoken is what both ends said.
type spoken struct{ hub, agent []byte }

// conversation prepares the ends for the conversation, and lead leads it from the hub's side.
func conversation(t *testing.T) (s *stage, lead func()) {
	s = newStage(t, &wire.PackageStatus{
		Package: "a/web", Release: "1", Revision: "rev-1", Digest: "sha256:1", Phase: wire.PackageStatus_APPLIED, Objects: 3, Applied: 3, Healthy: 2,
		Failures: []*wire.Failure{{Object: "Deployment shop/web", File: "web.yaml", Message: "no pod is ready"}}, Repairs: 4,
		LastRepair: &wire.LastRepair{Object: "ConfigMap shop/web", Cause: "Changed by kubectl"},
	})
	s.hub.Fleet, s.ring.renewAt = Fleet{Name: "fleet", Epoch: 7}, time.Now().Add(8*time.Second)
	upgrade := make(chan *wire.Upgrade, 1)
	upgrade <- &wire.Upgrade{Build: "v2-0123456789ab", Image: "registry/umbel-agent:v2", Attempt: 1}
	s.hub.Upgrade = upgrade
	return s, func() {
		synctest.Wait()
		s.want([]*wire.Assignment{rich("a/web", "2"), assignment("b/db", "1")})
		s.want([]*wire.Assignment{rich("a/web", "2")}, "b/db")
		time.Sleep(20 * time.Second)
		s.member.mu.Lock()
		s.member.waiting, s.member.gone = []*wire.PackageStatus{inAllItsDetail()}, []string{"b/db"}
		s.member.mu.Unlock()
		s.member.wake <- struct{}{}
		synctest.Wait()
		s.orders <- detach(&wire.Detach{Prune: true})
		time.Sleep(20 * time.Second)
		s.orders <- &wire.FromHub{Message: &wire.FromHub_Refusal{Refusal: &wire.Refusal{Reason: ReasonNoMember, Message: "it is no member"}}}
		synctest.Wait()
	}
}

// heardOfIt is what the hub hears in the conversation, and stored what the agent stores.
var (
	heardOfIt  = []string{"opened with 1 packages", "kubernetes v1.36.3", `ack ""`, `ack ""`, "a/web 2 APPLYING", "b/db is gone", "detached"}
	storedOfIt = []string{"1 +a/web@2 +b/db@1", "2 -b/db"}
)

// rich is an assignment with all that may be in one.
func rich(pkg, release string) *wire.Assignment {
	a := proto.CloneOf(assignment(pkg, release))
	a.PolicyId = "policy"
	a.Policy = &wire.Policy{
		DeleteBudget:    &wire.Budget{Limit: &wire.Budget_Percent{Percent: 10}},
		DeleteApprovals: []*wire.DeleteApproval{{Release: release, Objects: 3, Protected: 1, Id: "id"}},
		Planned:         "hash", PlannedDeletes: []string{"ConfigMap shop/old"}, DriftMode: wire.Policy_REPORT,
		DriftIgnore: []*wire.DriftIgnore{{Group: "apps", Kind: "Deployment", JsonPointers: []string{"/spec/replicas"}}},
		Prevention:  &wire.Prevention{Users: []string{"alice"}, Source: "git"}, Health: []*wire.HealthRule{{Group: "g", Kind: "K", Healthy: "true"}},
		ActsAs: &wire.ServiceAccount{Namespace: "shop", Name: "deployer"},
	}
	a.Content = &wire.Content{Repository: a.GetRepository(), Digest: a.GetDigest(), Size: a.GetSize()}
	a.Repository, a.Digest, a.Size = "", "", 0
	a.Seal = &wire.Seal{
		Certificates: [][]byte{[]byte("der")}, Signature: []byte("sig"), Verified: "alice", Variants: 2, Variant: 1, Root: []byte("root"), Path: [][]byte{[]byte("hash")},
	}
	return a
}

// inAllItsDetail is a status with all that may be in one.
func inAllItsDetail() *wire.PackageStatus {
	return &wire.PackageStatus{
		Package: "a/web", Release: "2", Revision: "rev-2", Digest: "sha256:2", Phase: wire.PackageStatus_APPLYING, Message: "applying 3 objects", Objects: 3, Applied: 1,
		PolicyId: "policy", DeletesHeld: &wire.DeletesHeld{Objects: 2, Holds: 4, Allowed: 1, Protected: 1, Names: []string{"ConfigMap shop/old"}},
		Refused: "3", Drifting: 1,
		Drifts:    []*wire.Drift{{Object: "ConfigMap shop/web", Action: wire.Drift_REPORTED, By: "kubectl", Fields: []string{".data.a"}, Time: 1, Count: 2}},
		Contested: []*wire.Contest{{Object: "ConfigMap shop/web", Package: "b/db"}},
	}
}

// thisVersion is the conversation as this version leads it.
func thisVersion(t *testing.T) (said spoken) {
	t.Helper()
	story(t, func(t *testing.T, ctx context.Context) {
		s, lead := conversation(t)
		hub, agent := &tape{Conn: s.hubEnd}, &tape{Conn: s.agentEnd}
		s.hubEnd, s.agentEnd = hub, agent
		s.start(ctx)
		lead()
		s.heard("this version", heardOfIt...)
		s.stored("this version", storedOfIt...)
		said = spoken{hub.said.Bytes(), agent.said.Bytes()}
	})
	return said
}

// versions are the conversations of all versions that there are recordings of, and of this one.
func versions(t *testing.T) map[string]spoken {
	t.Helper()
	all := map[string]spoken{"this version": thisVersion(t)}
	folders, err := filepath.Glob("testdata/versions/*")
	if err != nil || len(folders) == 0 {
		t.Fatalf("there is no recording of an earlier version: %v", err)
	}
	for _, folder := range folders {
		var said spoken
		for name, part := range map[string]*[]byte{"hub.frames": &said.hub, "agent.frames": &said.agent} {
			if *part, err = os.ReadFile(filepath.Join(folder, name)); err != nil {
				t.Fatal(err)
			}
		}
		all[filepath.Base(folder)] = said
	}
	return all
}

// listener is what the other end has said so far.
type listener struct {
	mu   sync.Mutex
	news *sync.Cond
	said map[string]uint64
	over bool
}

func newListener() *listener {
	h := &listener{said: map[string]uint64{}}
	h.news = sync.NewCond(&h.mu)
	return h
}

// hears notes that something was said, and end that nothing comes any more.
func (h *listener) hears(what string, number uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said[what] = max(number, h.said[what])
	h.news.Broadcast()
}

func (h *listener) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	h.news.Broadcast()
}

// await waits until something was said.
func (h *listener) await(what string, number uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for !h.over && h.said[what] < number {
		h.news.Wait()
	}
}

// playAgent plays what an agent said, each message when it has heard what it was an answer to.
func playAgent(t *testing.T, conn net.Conn, frames []byte) {
	heard := newListener()
	go func() {
		defer heard.end()
		for reader := bufio.NewReader(conn); ; {
			var m wire.FromHub
			if ReadFrame(reader, &m) != nil {
				return
			}
			switch {
			case m.GetDesired() != nil:
				heard.hears("desired", m.GetDesired().GetVersion())
			case m.GetProbe() != nil:
				heard.hears("probe", m.GetProbe().GetNonce())
			case m.GetDetach() != nil:
				heard.hears("detach", 1)
			}
		}
	}()
	for reader := bufio.NewReader(bytes.NewReader(frames)); ; {
		var m wire.FromAgent
		if err := ReadFrame(reader, &m); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("reading the recording: %v", err)
			}
			return
		}
		heard.await("desired", m.GetAck().GetVersion())
		heard.await("probe", m.GetProbeAnswer().GetNonce())
		if m.GetDetached() != nil {
			heard.await("detach", 1)
		}
		if send(conn, &m, helloTimeout) != nil {
			return // the hub has ended the session
		}
	}
}

// playHub plays what a hub said.
func playHub(t *testing.T, conn net.Conn, frames []byte) {
	heard := newListener()
	go func() {
		defer heard.end()
		for reader := bufio.NewReader(conn); ; {
			var m wire.FromAgent
			if ReadFrame(reader, &m) != nil {
				return
			}
			switch {
			case m.GetHello() != nil:
				heard.hears("hello", 1)
			case m.GetAck() != nil:
				heard.hears("ack", m.GetAck().GetVersion())
			case m.GetCertificateRequest() != nil:
				heard.hears("request", 1)
			case m.GetDetached() != nil:
				heard.hears("detached", 1)
			}
		}
	}()
	heard.await("hello", 1)
	for reader := bufio.NewReader(bytes.NewReader(frames)); ; {
		var m wire.FromHub
		if err := ReadFrame(reader, &m); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("reading the recording: %v", err)
			}
			return
		}
		switch {
		case m.GetDesired() != nil:
			heard.await("ack", m.GetDesired().GetVersion()-1)
		case m.GetCertificate() != nil:
			heard.await("request", 1)
		case m.GetDetach() != nil:
			heard.await("ack", 2)
		case m.GetRefusal() != nil:
			heard.await("detached", 1)
		}
		if send(conn, &m, helloTimeout) != nil {
			return // the agent has ended the session
		}
	}
}

// TestEarlierAgents are led through a session by the hub of this version, sealing what it says to those that know of seals, as they are by
// one that does not.
func TestEarlierAgents(t *testing.T) {
	by, _ := newNotary(t)
	for name, said := range versions(t) {
		for seals, trust := range map[string]Trust{"": nil, ", of a hub that seals": by} {
			if name == "this version" && trust != nil {
				continue // it would be told words, which nobody opens here; see TestWordsAreSealed
			}
			t.Run(name+seals, func(t *testing.T) {
				story(t, func(t *testing.T, ctx context.Context) {
					s, lead := conversation(t)
					s.hub.Trust = trust
					go func() { s.hubErr <- RunHub(ctx, s.hubEnd, s.hub) }()
					go playAgent(t, s.agentEnd, said.agent)
					lead()
					s.heard("the same as ever", heardOfIt...)
					if err := <-s.hubErr; refusal(err) != ReasonNoMember {
						t.Errorf("the hub's end: %v", err)
					}
				})
			})
		}
	}
}

// TestEarlierHubs lead the agent of this version through a session.
func TestEarlierHubs(t *testing.T) {
	for name, said := range versions(t) {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, ctx context.Context) {
				s, _ := conversation(t)
				var told *wire.Detach
				s.agent.Detach = func(_ context.Context, wish *wire.Detach) error {
					told = wish
					return nil
				}
				go playHub(t, s.hubEnd, said.hub)
				if err := RunAgent(ctx, s.agentEnd, s.agent); refusal(err) != ReasonNoMember && !errors.Is(err, ErrDetached) {
					t.Errorf("the agent's end: %v", err)
				}
				s.stored("the same as ever", storedOfIt...)
				if !told.GetPrune() || len(s.ring.installed) != 1 {
					t.Errorf("it was told to go: %v; it installed %v", told, s.ring.installed)
				}
			})
		})
	}
}

// TestEarlierVersionsAreRecorded by the same conversation: what this version says can be kept for the next ones.
func TestEarlierVersionsAreRecorded(t *testing.T) {
	said := thisVersion(t)
	folder := *record
	if folder == "" {
		folder = t.TempDir()
	}
	for name, frames := range map[string][]byte{"hub.frames": said.hub, "agent.frames": said.agent} {
		if err := os.WriteFile(filepath.Join(folder, name), frames, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
