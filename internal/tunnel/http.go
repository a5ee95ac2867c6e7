package tunnel

import (
	"context"
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
