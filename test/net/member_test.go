//go:build e2e

package net

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/agent"
	"umbel.dev/umbel/test/scale/fakekube"
)

// What an agent process is told by its environment.
const (
	dirEnv    = "UMBEL_NET_DIR"
	resolvEnv = "UMBEL_NET_RESOLV" // a file that takes the place of /etc/resolv.conf
)

// member is an agent and its member, which is a fake.
type member struct {
	server *http.Server
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan error
	closed sync.WaitGroup

	mu     sync.Mutex
	shells map[net.Conn]bool
}

func newAgent() (actor, error) {
	m := &member{ended: make(chan error, 1), shells: map[net.Conn]bool{}}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m, nil
}

func (m *member) act(o order) (answer, error) {
	switch o.Do {
	case "start":
		return answer{}, m.start()
	case "break":
		m.breakShells()
		return answer{}, nil
	}
	return answer{}, fmt.Errorf("an agent cannot %q", o.Do)
}

// start starts the agent: its namespace has to have its line by then.
func (m *member) start() error {
	if file := os.Getenv(resolvEnv); file != "" {
		if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount(file, "/etc/resolv.conf", "", unix.MS_BIND, "")); err != nil {
			return fmt.Errorf("giving the agent another /etc/resolv.conf: %w", err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	m.server = &http.Server{Handler: m.apiServer(fakekube.New(nil)), IdleTimeout: 5 * time.Second}
	m.closed.Go(func() { m.server.Serve(listener) })
	dir := os.Getenv(dirEnv)
	options := agent.Options{
		Dir: dir, Bootstrap: filepath.Join(dir, "bootstrap.json"), Config: &rest.Config{Host: "http://" + listener.Addr().String()},
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	go func() { m.ended <- agent.Run(m.ctx, options) }()
	return nil
}

func (m *member) stop() error {
	m.cancel()
	err := <-m.ended
	m.server.Close()
	m.closed.Wait()
	return err
}

// apiServer is the member's API server: a fake, with streams that the fake does not have.
func (m *member) apiServer(fake *fakekube.Server) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/pods/shell/exec"):
			m.echo(w, r)
		case strings.HasSuffix(r.URL.Path, "/pods/shell/log"):
			text(w, r)
		default:
			through(w, r, fake)
		}
	})
}

// through asks the fake, and sends on what it says as it says it.
func through(w http.ResponseWriter, r *http.Request, fake *fakekube.Server) {
	response, err := fake.RoundTrip(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer response.Body.Close()
	stop := context.AfterFunc(r.Context(), func() { response.Body.Close() })
	defer stop()
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(response.StatusCode)
	flush(w)
	buffer := make([]byte, 32<<10)
	for {
		n, err := response.Body.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return
			}
			flush(w)
		}
		if err != nil {
			return
		}
	}
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// echoProtocol is what the exec of the fake upgrades to: what is sent comes back. It stands in for SPDY and WebSocket.
const echoProtocol = "umbel-test-echo"

func (m *member) echo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != echoProtocol {
		http.Error(w, "want Upgrade: "+echoProtocol, http.StatusBadRequest)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	defer m.shell(conn)()
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", echoProtocol)
	io.Copy(conn, buffered)
}

// shell notes that an exec began, until ended is called.
func (m *member) shell(conn net.Conn) (ended func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shells[conn] = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.shells, conn)
	}
}

// breakShells resets every exec, as an API server does that dies.
func (m *member) breakShells() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for conn := range m.shells {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}

// text sends as many bytes of the pattern as the query bytes says; without it, until the caller goes.
func text(w http.ResponseWriter, r *http.Request) {
	want, err := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
	if err != nil {
		want = 1 << 62
	}
	w.Header().Set("Content-Type", "text/plain")
	out := bufio.NewWriterSize(w, 32<<10)
	var p pattern
	for sent := int64(0); sent < want; {
		part := p.next(int(min(want-sent, 8<<10)))
		if _, err := out.Write(part); err != nil {
			return
		}
		sent += int64(len(part))
	}
	out.Flush()
}

// pattern is an endless sequence of bytes of which each can be told from its place.
type pattern struct{ at uint64 }

func (p *pattern) next(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((p.at * 0x9e3779b97f4a7c15) >> 56)
		p.at++
	}
	return b
}

// check says whether b is what comes next.
func (p *pattern) check(b []byte) error {
	began := p.at
	for i, want := range p.next(len(b)) {
		if b[i] != want {
			return fmt.Errorf("byte %d is not the one that was sent", began+uint64(i))
		}
	}
	return nil
}
