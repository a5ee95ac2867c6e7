package tunnel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"umbel.dev/umbel/internal/identity"
)

// pair returns both ends of a session over TLS on loopback. When the test ends it checks that no goroutine is left.
func pair(t *testing.T, serverConfig Config) (agent, hub *Session) {
	t.Helper()
	before := runtime.NumGoroutine()
	listener, clientTLS := listen(t)
	accepted := make(chan *Session, 1)
	go func() {
		defer close(accepted)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if err := Handshake(t.Context(), conn.(*tls.Conn), time.Minute); err != nil {
			t.Errorf("handshake: %v", err)
			return
		}
		session, err := Server(conn, serverConfig)
		if err != nil {
			t.Errorf("server: %v", err)
			return
		}
		accepted <- session
	}()
	agent, err := Dial(t.Context(), DialConfig{Address: listener.Addr().String(), TLS: clientTLS})
	if err != nil {
		t.Fatal(err)
	}
	hub, ok := <-accepted
	if !ok {
		t.FailNow()
	}
	t.Cleanup(func() {
		agent.Close()
		hub.Close()
		listener.Close()
		eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	})
	return agent, hub
}

func listen(t *testing.T) (net.Listener, *tls.Config) {
	t.Helper()
	ca, err := identity.NewCA("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	server, err := ca.IssueServer(identity.Request{CommonName: "hub", Hosts: []string{"127.0.0.1"}, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	client, err := ca.IssueClient(identity.Request{CommonName: "prod-eu", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	serverCert, err := server.TLS()
	if err != nil {
		t.Fatal(err)
	}
	clientCert, err := client.TLS()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{serverCert},
		ClientAuth:   tls.RequestClientCert,
		NextProtos:   []string{Protocol},
		MinVersion:   tls.VersionTLS13,
	})
	if err != nil {
		t.Fatal(err)
	}
	return listener, &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{clientCert}}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			stacks := make([]byte, 1<<20)
			t.Fatalf("did not happen in a minute: %s\n%s", what, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func accept(t *testing.T, s *Session, want Kind) *Stream {
	t.Helper()
	stream, err := s.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if kind, err := stream.Kind(); kind != want || err != nil {
		t.Fatalf("kind is %v, want %v: %v", kind, want, err)
	}
	return stream
}

func TestBothEndsOpenStreams(t *testing.T) {
	agent, hub := pair(t, Config{})
	for _, c := range []struct {
		from, to *Session
		kind     Kind
	}{{agent, hub, Control}, {hub, agent, Kube}, {agent, hub, Content}} {
		out, err := c.from.Open(t.Context(), c.kind)
		if err != nil {
			t.Fatal(err)
		}
		in := accept(t, c.to, c.kind)
		if _, err := io.WriteString(out, "hello"); err != nil {
			t.Fatal(err)
		}
		if err := out.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(in)
		if err != nil || string(got) != "hello" {
			t.Fatalf("%v: read %q, %v", c.kind, got, err)
		}
		// Half-closed: the way back is open.
		if _, err := io.WriteString(in, "back"); err != nil {
			t.Fatal(err)
		}
		in.Close()
		if got, err := io.ReadAll(out); err != nil || string(got) != "back" {
			t.Fatalf("%v: read back %q, %v", c.kind, got, err)
		}
		out.Close()
	}
	if name := hub.PeerCertificates()[0].Subject.CommonName; name != "prod-eu" {
		t.Errorf("the hub sees the certificate of %q", name)
	}
}

func TestCloseUnblocksReader(t *testing.T) {
	agent, hub := pair(t, Config{})
	out, err := agent.Open(t.Context(), Content)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, hub, Content)
	ended := make(chan error, 1)
	go func() {
		_, err := out.Read(make([]byte, 1))
		ended <- err
	}()
	out.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a reader of a closed stream got %v", err)
	}
}

func TestEndOfSessionIsNotEOF(t *testing.T) {
	agent, hub := pair(t, Config{})
	out, err := agent.Open(t.Context(), Control)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, hub, Control)
	hub.Close()
	if _, err := io.ReadAll(out); !errors.Is(err, ErrClosed) {
		t.Errorf("read after the session's end: %v", err)
	}
	<-agent.Done()
	if _, err := out.Write([]byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("write after the session's end: %v", err)
	}
	if _, err := agent.Open(t.Context(), Control); !errors.Is(err, ErrClosed) {
		t.Errorf("open after the session's end: %v", err)
	}
	if _, err := agent.Accept(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("accept after the session's end: %v", err)
	}
}

// A stream that one end resets is not at its end at the other; the session and its other streams go on.
func TestResetIsNotEOF(t *testing.T) {
	agent, hub := pair(t, Config{})
	out, err := hub.Open(t.Context(), Kube)
	if err != nil {
		t.Fatal(err)
	}
	in := accept(t, agent, Kube)
	if _, err := in.Write([]byte("half of it")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := in.Reset(); err != nil {
		t.Fatal(err)
	}
	if n, err := out.Read(make([]byte, 10)); n != 0 || err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a stream that was reset: read %d bytes, %v", n, err)
	}
	if _, err := in.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("at the end that reset it: %v", err)
	}
	other, err := hub.Open(t.Context(), Kube)
	if err != nil {
		t.Fatal(err)
	}
	other.Write([]byte("x"))
	if _, err := io.ReadFull(accept(t, agent, Kube), make([]byte, 1)); err != nil {
		t.Errorf("after it: %v", err)
	}
	eventually(t, "both ends have let go of it", func() bool { return agent.mux.NumStreams() == 1 && hub.mux.NumStreams() == 1 })
}

// What a peer leaves open that was closed here is let go of after a while.
// Who asked and goes away before the answer ends: whoever writes it hears so, and does not wait for a reader for good.
func TestAnAnswerThatNobodyReadsEnds(t *testing.T) {
	agent, hub := pair(t, Config{})
	for _, kind := range []Kind{Kube, Content} {
		asking, answering := hub, agent
		if kind == Content {
			asking, answering = agent, hub
		}
		stream, err := asking.Open(t.Context(), kind)
		if err != nil {
			t.Fatal(err)
		}
		answer := accept(t, answering, kind)
		ended := make(chan error, 1)
		go func() {
			_, err := answer.Write(make([]byte, 10*window))
			ended <- err
		}()
		if _, err := io.ReadFull(stream, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if err := stream.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err == nil {
			t.Errorf("%s: an answer of ten windows was written, and nobody read it", kind)
		}
		answer.Close()
	}
	for _, asking := range []*Session{hub, agent} { // something comes, as a probe does: then it is let go of
		kind, answering := Kube, agent
		if asking == agent {
			kind, answering = Content, hub
		}
		stream, err := asking.Open(t.Context(), kind)
		if err != nil {
			t.Fatal(err)
		}
		accept(t, answering, kind).Close()
		if _, err := io.ReadAll(stream); err != nil {
			t.Fatal(err)
		}
		stream.Close()
	}
	eventually(t, "nothing is left of the streams", func() bool { return agent.mux.NumStreams() == 0 && hub.mux.NumStreams() == 0 })
}

func TestClosedStreamsAreForgotten(t *testing.T) {
	agent, hub := pair(t, Config{})
	left, err := agent.mux.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	left.Write([]byte("\x03what nobody reads"))
	accept(t, hub, Content).Close()
	hub.closing.mu.Lock()
	hub.closing.streams[0].at = time.Now().Add(-2 * closeTimeout)
	hub.closing.mu.Unlock()
	for range 2 { // one to have it forgotten, and one that brings something
		out, err := agent.Open(t.Context(), Content)
		if err != nil {
			t.Fatal(err)
		}
		accept(t, hub, Content).Close()
		out.Close()
	}
	eventually(t, "it is let go of", func() bool { return hub.mux.NumStreams() == 0 })
}

// A peer that pings costs a goroutine each, and none of ours does: its session ends.
func TestPingsEndTheSession(t *testing.T) {
	near, far := net.Pipe()
	session, err := Server(near, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	go io.Copy(io.Discard, far)
	for range 100 {
		far.Write(frameOf(muxPing, 1, 0, 1, ""))
	}
	<-session.Done()
}

// A peer that sends a flood of frames that say nothing is slowed down, and can be let go of meanwhile.
func TestSmallFramesArePaced(t *testing.T) {
	near, far := net.Pipe()
	session, err := Server(near, Config{})
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, far)
	began := time.Now()
	var sent atomic.Int64
	var flooding sync.WaitGroup
	flooding.Go(func() {
		flood := bytes.Repeat(frameOf(1, 0, 7, 0, ""), 100)
		for {
			if _, err := far.Write(flood); err != nil {
				return
			}
			sent.Add(100)
		}
	})
	eventually(t, "as many are read as may come at once", func() bool { return sent.Load() >= smallBurst })
	time.Sleep(time.Second)
	session.Close()
	far.Close()
	flooding.Wait()
	took := time.Since(began)
	if most := smallBurst + (took.Seconds()+2)*smallPerSecond; float64(sent.Load()) > most {
		t.Errorf("%d frames were read in %s, want at most %.0f", sent.Load(), took, most)
	}
}

// deaf is a connection whose peer has vanished without a word: what is written goes nowhere, nothing is ever read.
type deaf struct {
	net.Conn
	gone chan struct{}
	once sync.Once
}

func (d *deaf) Read([]byte) (int, error)    { <-d.gone; return 0, net.ErrClosed }
func (d *deaf) Write(p []byte) (int, error) { return len(p), nil }
func (d *deaf) Close() error                { d.once.Do(func() { close(d.gone) }); return nil }

func (d *deaf) SetWriteDeadline(time.Time) error { return nil }

func TestStreamToDeadPeer(t *testing.T) {
	before := runtime.NumGoroutine()
	session, err := Server(&deaf{gone: make(chan struct{})}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := session.Open(t.Context(), Kube)
	if err != nil {
		t.Fatal(err)
	}
	stream.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	var timeout net.Error
	if _, err := stream.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("read from a dead peer: %v, want a timeout", err)
	}
	// The peer accepts nothing, so that opening blocks at some point; the caller's patience ends it.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for err == nil {
		_, err = session.Open(ctx, Kube)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("open to a dead peer: %v", err)
	}
	session.Close()
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestGarbageInsteadOfTLS(t *testing.T) {
	listener, _ := listen(t)
	defer listener.Close()
	go func() {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			return
		}
		io.WriteString(conn, "SSH-2.0-OpenSSH_9.2\r\n")
		io.Copy(io.Discard, conn)
		conn.Close()
	}()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := Handshake(t.Context(), conn.(*tls.Conn), time.Minute); err == nil {
		t.Error("a handshake with garbage succeeded")
	}
}

func TestHandshakeThatNeverComes(t *testing.T) {
	listener, _ := listen(t)
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := Handshake(t.Context(), conn.(*tls.Conn), 20*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline", err)
	}
}

func TestGarbageInsteadOfStreams(t *testing.T) {
	listener, clientTLS := listen(t)
	defer listener.Close()
	clientTLS.NextProtos = []string{Protocol}
	go func() {
		conn, err := tls.Dial("tcp", listener.Addr().String(), clientTLS)
		if err != nil {
			return
		}
		conn.Write(bytes.Repeat([]byte{0xff}, 1<<16))
		io.Copy(io.Discard, conn)
		conn.Close()
	}()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := Handshake(t.Context(), conn.(*tls.Conn), time.Minute); err != nil {
		t.Fatal(err)
	}
	session, err := Server(conn, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.Accept(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	session.Close()
}

func TestDialErrors(t *testing.T) {
	other, clientTLS := listen(t)
	defer other.Close()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	httpServer := &http.Server{Handler: http.NotFoundHandler()}
	go httpServer.Serve(plain)
	defer httpServer.Close()

	wrongALPN, err := tls.Listen("tcp", "127.0.0.1:0", func() *tls.Config {
		ca, _ := identity.NewCA("x", time.Hour)
		pair, _ := ca.IssueServer(identity.Request{CommonName: "x", Hosts: []string{"127.0.0.1"}, TTL: time.Hour})
		cert, _ := pair.TLS()
		clientTLS = &tls.Config{RootCAs: ca.Pool()}
		return &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}}
	}())
	if err != nil {
		t.Fatal(err)
	}
	defer wrongALPN.Close()
	shake := func(l net.Listener) {
		if conn, err := l.Accept(); err == nil {
			Handshake(context.WithoutCancel(t.Context()), conn.(*tls.Conn), time.Minute)
			conn.Close()
		}
	}
	go shake(wrongALPN)
	go shake(other)

	for _, c := range []struct{ reason, address, want string }{
		{"nobody listens", "127.0.0.1:1", "connection refused"},
		{"not TLS", plain.Addr().String(), "is this the address of a hub's gateway?"},
		{"TLS, but another protocol", wrongALPN.Addr().String(), "is this the address of a hub's gateway?"},
		{"a hub of another CA", other.Addr().String(), "unknown authority"},
	} {
		_, err := Dial(t.Context(), DialConfig{Address: c.address, TLS: clientTLS})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.address) {
			t.Errorf("%s: got %v, want it to name %q and %q", c.reason, err, c.address, c.want)
		}
	}
}

func TestSlowReaderHoldsUpNobodyElse(t *testing.T) {
	agent, hub := pair(t, Config{})
	slow, err := hub.Open(t.Context(), Kube)
	if err != nil {
		t.Fatal(err)
	}
	neverRead := accept(t, agent, Kube)
	blocked := make(chan int, 1)
	go func() {
		n, _ := slow.Write(make([]byte, 16<<20))
		blocked <- n
	}()

	want := bytes.Repeat([]byte("umbel"), 1<<20)
	quick, err := hub.Open(t.Context(), Kube)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		quick.Write(want)
		quick.CloseWrite()
	}()
	got, err := io.ReadAll(accept(t, agent, Kube))
	if err != nil || sha256.Sum256(got) != sha256.Sum256(want) {
		t.Fatalf("read %d bytes of %d, %v", len(got), len(want), err)
	}
	slow.Close()
	if n := <-blocked; n > window {
		t.Errorf("a reader that never read took %d bytes", n)
	}
	neverRead.Close()
}

func TestManyStreams(t *testing.T) {
	agent, hub := pair(t, Config{MaxStreams: 2000})
	const n = 1000
	var serving, asking sync.WaitGroup
	serving.Go(func() {
		for range n {
			stream, err := hub.Accept(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			serving.Go(func() {
				io.Copy(stream, stream)
				stream.Close()
			})
		}
	})
	for i := range n {
		asking.Go(func() {
			stream, err := agent.Open(t.Context(), Content)
			if err != nil {
				t.Error(err)
				return
			}
			defer stream.Close()
			want := fmt.Sprintf("stream %d", i)
			io.WriteString(stream, want)
			stream.CloseWrite()
			if got, err := io.ReadAll(stream); err != nil || string(got) != want {
				t.Errorf("stream %d: %q, %v", i, got, err)
			}
		})
	}
	asking.Wait()
	serving.Wait()
	eventually(t, "all streams are closed on both ends", func() bool { return agent.mux.NumStreams()+hub.mux.NumStreams() == 0 })
}

// A peer that opens a stream and does not say what for holds up nobody else.
func TestAStreamThatSaysNothing(t *testing.T) {
	agent, hub := pair(t, Config{})
	silent, err := agent.mux.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	out, err := agent.Open(t.Context(), Content)
	if err != nil {
		t.Fatal(err)
	}
	first, err := hub.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan error, 1)
	go func() {
		_, err := first.Only(Content).Read(make([]byte, 1))
		heard <- err
	}()
	second := accept(t, hub, Content)
	if _, err := out.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(second, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	select {
	case err := <-heard:
		t.Errorf("a stream that says nothing was read: %v", err)
	default:
	}
	silent.Write([]byte{byte(Kube), 'x'})
	if err := <-heard; err == nil || !strings.Contains(err.Error(), "kube") {
		t.Errorf("a kube stream where content is wanted: %v", err)
	}
	silent.Close()
	for _, s := range []*Stream{first, second, out} {
		s.Close()
	}
}

func TestStreamsBeyondTheLimitAreClosed(t *testing.T) {
	agent, hub := pair(t, Config{MaxStreams: 2})
	first, err := agent.Open(t.Context(), Content)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, hub, Content)
	var others []*Stream
	for range 3 {
		stream, err := agent.Open(t.Context(), Content)
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, stream)
	}
	accept(t, hub, Content)
	ctx, cancel := context.WithCancel(t.Context())
	var accepting sync.WaitGroup
	accepting.Go(func() { hub.Accept(ctx) })
	for i, stream := range others[1:] {
		if _, err := stream.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("stream %d beyond the limit: %v", i, err)
		}
		stream.Close()
	}
	cancel()
	accepting.Wait()
	if _, err := first.Write([]byte("x")); err != nil {
		t.Errorf("the first stream suffered: %v", err)
	}
}

// A peer that opens streams, fills them and never lets go of them, though each was closed here, loses its session: what they
// hold would be this end's memory.
func TestAPeerThatNeverLetsGo(t *testing.T) {
	agent, hub := pair(t, Config{MaxStreams: 2})
	var accepting sync.WaitGroup
	defer accepting.Wait()
	accepting.Go(func() {
		for {
			stream, err := hub.Accept(t.Context())
			if err != nil {
				return
			}
			stream.Close()
		}
	})
	most := 0
	for {
		stream, err := agent.mux.OpenStream() // which is not closed at this end
		if err == nil {
			_, err = stream.Write(append([]byte{byte(Content)}, make([]byte, 100<<10)...))
		}
		if agent.mux.IsClosed() {
			break
		}
		most = max(most, hub.mux.NumStreams())
		if err != nil {
			continue // it was refused
		}
	}
	if most > 2*2+backlog+2 {
		t.Errorf("the hub had %d streams", most)
	}
}

func TestHTTPThroughStreams(t *testing.T) {
	agent, hub := pair(t, Config{})
	listener := NewListener(hub.RemoteAddr())
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Method, r.URL.Path)
	})}
	var running sync.WaitGroup
	running.Go(func() { server.Serve(listener) })
	running.Go(func() {
		for {
			stream, err := agent.Accept(t.Context())
			if err != nil {
				return
			}
			listener.Deliver(stream)
		}
	})
	transport := hub.Transport(Kube)
	client := &http.Client{Transport: transport}
	for range 3 {
		response, err := client.Get("http://prod-eu/readyz")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(body) != "GET /readyz" {
			t.Fatalf("got %q, %v", body, err)
		}
	}
	if hub.mux.NumStreams() != 1 {
		t.Errorf("three requests in a row used %d streams, want one", hub.mux.NumStreams())
	}
	transport.CloseIdleConnections()
	server.Close()
	agent.Close()
	running.Wait()
	if listener.Deliver(&deaf{gone: make(chan struct{})}) {
		t.Error("a closed listener took a connection")
	}
}

func TestBackoff(t *testing.T) {
	backoff := Backoff{Rand: func() float64 { return 0.5 }}
	var got []time.Duration
	for range 9 {
		got = append(got, backoff.Next())
	}
	want := "[100ms 200ms 400ms 800ms 1.6s 3.2s 6.4s 12.8s 15s]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
	for range 100 {
		backoff.Next()
	}
	if d := backoff.Next(); d != 15*time.Second {
		t.Errorf("after many attempts: %v", d)
	}
	backoff.Reset()
	if d := backoff.Next(); d != 100*time.Millisecond {
		t.Errorf("after a reset: %v", d)
	}
}
