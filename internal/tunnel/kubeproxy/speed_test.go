package kubeproxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"syscall"
	"testing"

	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/tunnel"
)

// site is a member's API server, and the way to it through a hub: all over TLS on loopback.
type site struct {
	direct, hub *httptest.Server
}

const bulk = 64 << 20

// newSite starts it. GET /small answers with 1 kB, GET /bulk with bulk bytes in pieces as they come from a log, and /exec is
// upgraded and sends as many in small pieces.
func newSite(b *testing.B) *site {
	b.Helper()
	s := &site{direct: httptest.NewUnstartedServer(http.HandlerFunc(member))}
	s.direct.EnableHTTP2 = true
	s.direct.StartTLS()
	b.Cleanup(s.direct.Close)
	handler, err := NewHandler(&rest.Config{Host: s.direct.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	through := tunnelTo(b, handler, s.direct.TLS.Certificates)
	s.hub = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := Forward(w, r, through, alice, r.URL.EscapedPath()); err != nil && r.Context().Err() == nil {
			b.Error(err)
		}
	}))
	s.hub.EnableHTTP2 = true
	s.hub.StartTLS()
	b.Cleanup(s.hub.Close)
	return s
}

// tunnelTo starts a tunnel over TLS with the handler at its far end.
func tunnelTo(b *testing.B, handler http.Handler, certificates []tls.Certificate) *http.Transport {
	b.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certificates, NextProtos: []string{tunnel.Protocol}})
	if err != nil {
		b.Fatal(err)
	}
	ends := make(chan *tunnel.Session, 1)
	var running sync.WaitGroup
	running.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if err := tunnel.Handshake(b.Context(), conn.(*tls.Conn), handshake); err != nil {
			return
		}
		end, err := tunnel.Server(conn, tunnel.Config{})
		if err == nil {
			ends <- end
		}
	})
	agent, err := tunnel.Dial(b.Context(), tunnel.DialConfig{Address: listener.Addr().String(), TLS: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		b.Fatal(err)
	}
	hub := <-ends
	streams := tunnel.NewListener(listener.Addr())
	server := tunnel.NewServer(handler, slog.New(slog.DiscardHandler))
	running.Go(func() { server.Serve(streams) })
	running.Go(func() {
		for {
			stream, err := agent.Accept(b.Context())
			if err != nil {
				return
			}
			streams.Deliver(stream)
		}
	})
	b.Cleanup(func() {
		hub.Close()
		agent.Close()
		server.Close()
		listener.Close()
		running.Wait()
	})
	return hub.Transport(tunnel.Kube)
}

const handshake = 10e9

func member(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/small":
		w.Write(make([]byte, 1000))
	case "/bulk":
		pour(w, 32<<10) // as what copies from a node does
	case "/exec":
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
		pour(conn, 4<<10) // as a WebSocket's frames come
	}
}

// pour writes bulk bytes in pieces.
func pour(w io.Writer, size int) {
	piece := make([]byte, size)
	for range bulk / len(piece) {
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
}

// ways runs a benchmark direct and through the hub. On a busy machine the processor time, of all that takes part, says more
// than the time.
func ways(b *testing.B, run func(b *testing.B, way *httptest.Server)) {
	s := newSite(b)
	for name, way := range map[string]*httptest.Server{"direct": s.direct, "hub": s.hub} {
		b.Run(name, func(b *testing.B) {
			before := processor(b)
			run(b, way)
			b.ReportMetric(float64(processor(b)-before)/float64(b.N)/1000, "cpu-µs/op")
		})
	}
}

func processor(b *testing.B) int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func BenchmarkSmall(b *testing.B) {
	ways(b, func(b *testing.B, way *httptest.Server) {
		for b.Loop() {
			if n := get(b, way, "/small"); n != 1000 {
				b.Fatalf("got %d bytes", n)
			}
		}
	})
}

func BenchmarkBulk(b *testing.B) {
	ways(b, func(b *testing.B, way *httptest.Server) {
		b.SetBytes(bulk)
		for b.Loop() {
			if n := get(b, way, "/bulk"); n != bulk {
				b.Fatalf("got %d bytes", n)
			}
		}
	})
}

func get(b *testing.B, way *httptest.Server, path string) int64 {
	answer, err := way.Client().Get(way.URL + path)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	n, err := io.CopyBuffer(io.Discard, answer.Body, make([]byte, 64<<10))
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func BenchmarkUpgraded(b *testing.B) {
	ways(b, func(b *testing.B, way *httptest.Server) {
		b.SetBytes(bulk)
		for b.Loop() {
			if n := upgraded(b, way); n != bulk {
				b.Fatalf("got %d bytes", n)
			}
		}
	})
}

func upgraded(b *testing.B, way *httptest.Server) int64 {
	at, err := url.Parse(way.URL)
	if err != nil {
		b.Fatal(err)
	}
	var conn net.Conn
	conn, err = tls.Dial("tcp", at.Host, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /exec HTTP/1.1\r\nHost: member\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
	reader := bufio.NewReaderSize(conn, 64<<10)
	if answer, err := http.ReadResponse(reader, nil); err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		b.Fatal(answer, err)
	}
	n, err := io.Copy(io.Discard, reader)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
