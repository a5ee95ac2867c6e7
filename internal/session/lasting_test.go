package session

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/tunnel"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// way is all of the way of a person to a member, in memory and with a clock that runs as fast as nobody waits: the hub's
// door, a tunnel with a session in it, the agent, and the member's API server.
type way struct {
	*stage
	door, api *tunnel.Listener
	event     chan struct{} // closed when what is watched happens
	ended     sync.WaitGroup
}

// pipe connects to a listener.
func pipe(to *tunnel.Listener) (net.Conn, error) {
	mine, theirs := net.Pipe()
	if !to.Deliver(theirs) {
		return nil, net.ErrClosed
	}
	return mine, nil
}

func newWay(t *testing.T, ctx context.Context) *way {
	t.Helper()
	w := &way{stage: newStage(t), door: tunnel.NewListener(hubAddr("door")), api: tunnel.NewListener(hubAddr("api")), event: make(chan struct{})}
	t.Cleanup(w.ended.Wait) // the last: what is waited for is ended by the others
	hub, err := tunnel.Server(w.hubEnd, tunnel.Config{})
	must(t, err)
	agent, err := tunnel.Client(w.agentEnd, tunnel.Config{MaxStreams: maxHubStreams})
	must(t, err)
	w.agentEnd, err = agent.Open(ctx, tunnel.Control)
	must(t, err)
	w.hubEnd, err = hub.Accept(ctx)
	must(t, err)

	handler, err := kubeproxy.NewHandler(&rest.Config{
		Host: "http://member", Dial: func(context.Context, string, string) (net.Conn, error) { return pipe(w.api) },
	}, quiet)
	must(t, err)
	kube, through := tunnel.NewListener(hubAddr("kube")), hub.Transport(tunnel.Kube)
	w.serve(t, tunnel.NewServer(handler, quiet), kube)
	w.serve(t, &http.Server{Handler: http.HandlerFunc(w.member)}, w.api)
	door := tunnel.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, r *http.Request) {
		if err := kubeproxy.Forward(writer, r, through, kubeproxy.Identity{User: "alice"}, r.URL.Path); err != nil {
			t.Error(err)
		}
	}), quiet)
	door.Protocols = new(http.Protocols)
	door.Protocols.SetHTTP1(true)
	door.Protocols.SetUnencryptedHTTP2(true)
	w.serve(t, door, w.door)
	w.ended.Go(func() {
		for {
			stream, err := agent.Accept(ctx)
			if err != nil {
				return
			}
			kube.Deliver(stream)
		}
	})
	t.Cleanup(func() {
		through.CloseIdleConnections()
		agent.Close()
		hub.Close()
	})
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve serves until the test ends.
func (w *way) serve(t *testing.T, server *http.Server, at *tunnel.Listener) {
	w.ended.Go(func() { server.Serve(at) })
	t.Cleanup(func() {
		server.Close()
		at.Close()
	})
}

// member is the member's API server: a watch that says nothing before the event, and an exec that echoes lines.
func (w *way) member(writer http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(writer)
	if r.Header.Get("Upgrade") == "" {
		out.Flush()
		select {
		case <-w.event:
			fmt.Fprintln(writer, "it happened")
		case <-r.Context().Done():
		}
		return
	}
	conn, buffered, err := out.Hijack()
	if err != nil {
		w.t.Error(err)
		return
	}
	defer conn.Close()
	fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	for {
		line, err := buffered.ReadString('\n')
		if err != nil {
			return
		}
		fmt.Fprint(conn, "echo "+line)
	}
}

// watches begins to watch, and returns what was said when the watch has ended.
func (w *way) watches(t *testing.T, ctx context.Context, protocol func(*http.Protocols, bool)) (said func() string) {
	t.Helper()
	transport := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return pipe(w.door) }, Protocols: new(http.Protocols),
	}
	protocol(transport.Protocols, true)
	t.Cleanup(transport.CloseIdleConnections)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://hub/watch", nil)
	must(t, err)
	answer, err := transport.RoundTrip(r)
	must(t, err)
	return func() string {
		defer answer.Body.Close()
		raw, err := io.ReadAll(answer.Body)
		if err != nil {
			return err.Error()
		}
		return string(raw)
	}
}

// execs begins an exec, and returns what answers a line.
func (w *way) execs(t *testing.T) (ask func(line string) string) {
	t.Helper()
	conn, err := pipe(w.door)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	_, err = fmt.Fprint(conn, "POST /exec HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	must(t, err)
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, nil)
	must(t, err)
	if answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("exec: %s", answer.Status)
	}
	return func(line string) string {
		_, err := fmt.Fprintln(conn, line)
		must(t, err)
		got, err := reader.ReadString('\n')
		must(t, err)
		return got
	}
}

// Nothing on the way ends what lasts: watches over either HTTP and an exec on which nothing is said for thirty hours are there
// afterwards, in the session of the beginning, whose agent has renewed its certificate each hour.
func TestNothingEndsWhatLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := newWay(t, ctx)
		w.start(ctx)
		one := w.watches(t, ctx, (*http.Protocols).SetHTTP1)
		two := w.watches(t, ctx, (*http.Protocols).SetUnencryptedHTTP2)
		exec := w.execs(t)
		if got := exec("begin"); got != "echo begin\n" {
			t.Errorf("exec: %q", got)
		}
		time.Sleep(30 * time.Hour)
		synctest.Wait()
		close(w.event)
		for protocol, said := range map[string]func() string{"HTTP/1.1": one, "HTTP/2": two} {
			if got := said(); got != "it happened\n" {
				t.Errorf("the watch over %s: %q", protocol, got)
			}
		}
		if got := exec("end"); got != "echo end\n" {
			t.Errorf("exec: %q", got)
		}
		if n := len(w.ring.installed); n < 29 {
			t.Errorf("the certificate was renewed %d times, want each hour", n)
		}
		select {
		case err := <-w.hubErr:
			t.Errorf("the session ended: %v", err)
		default:
		}
	})
}
