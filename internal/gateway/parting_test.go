package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// A hub that is told to end, while much is under way to an agent whose line takes nothing any more, cuts that one off; it waits neither
// for as long as a frame may take, nor for its own grace to be over.
func TestAHubEndsWhateverALineTakes(t *testing.T) {
	h, log := newHubWithJournal(t)
	h.stop()
	h.probe = time.Minute // so that it is not known yet that the line is dead
	h.start()
	line := newStandstill(t, h.address)
	boot := h.invite("prod-eu", time.Now().Add(time.Hour))
	boot.Address = line.Addr().String()
	a := h.newAgent(boot, t.TempDir()).start()
	h.shows("prod-eu", v1alpha1.ConditionConnected, "True/ProbeAnswered")
	namespace := kubetest.Namespace(t, h.api)
	alice := h.person(namespace, "alice", "prod-eu")

	line.stand()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sent := &endless{}
	ask, err := http.NewRequestWithContext(ctx, http.MethodPost, alice.Host+"/api/v1/namespaces/"+namespace+"/configmaps", sent)
	if err != nil {
		t.Fatal(err)
	}
	ask.Header.Set("Authorization", "Bearer "+alice.BearerToken)
	var asking sync.WaitGroup
	asking.Go(func() {
		if answer, err := h.web(nil).Do(ask); err == nil {
			readAll(t, answer)
		}
	})
	defer asking.Wait()
	defer cancel()
	h.eventually("the line takes nothing any more", sent.stands)
	began := time.Now()
	h.stop()
	t.Logf("the hub has ended after %s", time.Since(began).Round(100*time.Millisecond))
	h.logs(log, "an agent's connection was cut off")
	line.Close()
	a.stop()
}

// endless is a body without an end.
type endless struct {
	mu          sync.Mutex
	read, stood int
	last        int
}

func (e *endless) Read(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.read += len(p)
	return len(p), nil
}

// stands says whether nothing was read of it for a while, after much was.
func (e *endless) stands() (bool, string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.read > e.last {
		e.stood = 0
	}
	e.stood++
	e.last = e.read
	return e.read > 1<<20 && e.stood > 100, fmt.Sprintf("%d bytes were read", e.read)
}

// standstill is a line of TCP that passes on what comes, until it stands still: then it reads no more of what the hub says.
type standstill struct {
	net.Listener
	hub string

	mu      sync.Mutex
	stands  chan struct{} // until this is closed
	carried []net.Conn
}

func newStandstill(t *testing.T, hub string) *standstill {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &standstill{Listener: listener, hub: hub}
	s.stand()
	close(s.stands)
	var carrying sync.WaitGroup
	carrying.Go(func() {
		for {
			agent, err := s.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", s.hub)
			if err != nil {
				agent.Close()
				continue
			}
			s.mu.Lock()
			s.carried = append(s.carried, agent, far)
			s.mu.Unlock()
			carrying.Go(func() { io.Copy(far, agent); far.Close() })
			carrying.Go(func() { io.Copy(agent, passing{s, far}); agent.Close() })
		}
	})
	t.Cleanup(func() {
		s.Close()
		s.mu.Lock()
		for _, conn := range s.carried {
			conn.Close()
		}
		close(s.stands)
		s.mu.Unlock()
		carrying.Wait()
	})
	return s
}

func (s *standstill) stand() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stands = make(chan struct{})
}

// passing is what the hub says, while the line does not stand still.
type passing struct {
	line *standstill
	hub  io.Reader
}

func (p passing) Read(b []byte) (int, error) {
	p.line.mu.Lock()
	stands := p.line.stands
	p.line.mu.Unlock()
	<-stands
	return p.hub.Read(b)
}
