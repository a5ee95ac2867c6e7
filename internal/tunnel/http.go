package tunnel

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Listener hands streams that somebody accepted to an http.Server. One listener may serve many sessions.
type Listener struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// NewListener returns a listener whose Addr is addr.
func NewListener(addr net.Addr) *Listener {
	return &Listener{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Deliver hands conn to whoever accepts next; it waits for that. After Close, conn is closed and Deliver says false.
func (l *Listener) Deliver(conn net.Conn) bool {
	select {
	case l.conns <- conn:
		return true
	case <-l.closed:
		conn.Close()
		return false
	}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener; it may be called more than once.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.addr }

const (
	// headTimeout is how long the head of a request may take.
	headTimeout = 15 * time.Second
	// idleTimeout is how long a connection stays on which nobody asks for anything.
	idleTimeout = 2 * time.Minute
)

// NewServer returns an HTTP server on the way to a member. What goes there may last for hours, as a watch and an exec do: the
// head of a request has to come in time, and a connection goes that carries none; a request and its answer have no bound.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: handler, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: headTimeout, IdleTimeout: idleTimeout, ConnContext: withStream,
	}
}

// Transport returns an HTTP transport whose connections are streams of the session. Its requests have the scheme http:
// the tunnel is what protects them. The caller ends it with CloseIdleConnections.
func (s *Session) Transport(kind Kind) *http.Transport {
	return NewTransport(func(ctx context.Context) (net.Conn, error) { return s.Open(ctx, kind) })
}

// NewTransport returns an HTTP transport whose connections come from open, whatever host a request names.
func NewTransport(open func(ctx context.Context) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return open(ctx) },
		DisableCompression:     true,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		// Many requests last, as a watch does, and each holds its buffers. Whoever moves much brings a larger one.
		WriteBufferSize: 4 << 10,
		ReadBufferSize:  4 << 10,
	}
}
