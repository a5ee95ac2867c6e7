package tunnel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

// Protocol is the ALPN name of an agent's connection.
const Protocol = "umbel/1"

// Kind says what a stream carries. It is the stream's first byte.
type Kind byte

const (
	// Control carries the session's messages; the agent opens exactly one.
	Control Kind = 1
	// Kube carries HTTP from the hub to the member's API server.
	Kube Kind = 2
	// Content carries HTTP from the agent to the hub: to its registry, and what the agent measured.
	Content Kind = 3
	// unsaid is the kind of an accepted stream before its first byte has come.
	unsaid Kind = 0
	// Rehearsal carries a session's first messages and no more: the agent opens it instead of Control, to find out whether
	// it could be in session, and disturbs no session by it.
	Rehearsal Kind = 4
)

func (k Kind) String() string {
	switch k {
	case Control:
		return "control"
	case Kube:
		return "kube"
	case Content:
		return "content"
	case Rehearsal:
		return "rehearsal"
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// ErrClosed is what streams and calls of a closed session end with.
var ErrClosed = fmt.Errorf("the tunnel is closed: %w", net.ErrClosed)

const (
	// window is how many bytes of one stream may be on their way: enough for 25 MB/s at a round trip of 40 ms. A
	// slow reader costs its peer that much memory and no more.
	window = 1 << 20
	// writeTimeout is how long one write may wait for its turn at the connection: longer than any connection stands that takes
	// nothing (stall), so that it is the session that ends and no single stream.
	writeTimeout = time.Hour
	// kindTimeout is how long Kind waits for a stream to say it, which it does in the packet after the one that opens it.
	kindTimeout = 10 * time.Second
	// backlog is how many streams may wait to be accepted.
	backlog = 128
)

// Config tunes one end of a session.
type Config struct {
	// MaxStreams is how many streams of the peer may be open at once; further ones are closed as they come.
	// The default is 256.
	MaxStreams int
}

// Session is one connection between a hub and an agent. All methods may be called at any time and concurrently.
type Session struct {
	conn    net.Conn
	frames  *joined
	mux     *yamux.Session
	turns   *turns
	max     int64
	taken   atomic.Int64 // streams of the peer that were accepted and are not closed
	own     atomic.Int64 // streams that this end opened and did not close
	closing closing

	mu      sync.Mutex // guards closed, and that nothing begins to be waited for once it is
	closed  bool
	opening sync.WaitGroup
}

// Client returns the session over conn, which this end dialed.
func Client(conn net.Conn, config Config) (*Session, error) {
	return newSession(conn, config, yamux.Client)
}

// Server returns the session over conn, which the other end dialed. A TLS handshake has to be done before.
func Server(conn net.Conn, config Config) (*Session, error) {
	return newSession(conn, config, yamux.Server)
}

func newSession(conn net.Conn, config Config, start func(io.ReadWriteCloser, *yamux.Config) (*yamux.Session, error)) (*Session, error) {
	frames := &joined{Conn: conn, began: time.Now(), incoming: newIncoming()}
	frames.socket, _ = under(conn).(holder)
	mux, err := start(frames, &yamux.Config{
		AcceptBacklog:          backlog,
		EnableKeepAlive:        false,
		KeepAliveInterval:      time.Hour, // not used, and has to be positive
		ConnectionWriteTimeout: writeTimeout,
		MaxStreamWindowSize:    window,
		StreamOpenTimeout:      30 * time.Second,
		StreamCloseTimeout:     0, // which would count from CloseWrite, and outlive the session; see closing
		Logger:                 silent{},
	})
	if err != nil {
		return nil, fmt.Errorf("starting the multiplexer: %w", err)
	}
	if config.MaxStreams == 0 {
		config.MaxStreams = 256
	}
	leaveUnsent(conn)
	return &Session{conn: conn, frames: frames, mux: mux, turns: newTurns(), max: int64(config.MaxStreams)}, nil
}

// Open opens a stream of the given kind. It waits while very many streams are being opened and while the connection takes
// nothing, and does not wait for the peer to accept this one. When ctx ends first nothing is left of it.
func (s *Session) Open(ctx context.Context, kind Kind) (*Stream, error) {
	type opened struct {
		stream *yamux.Stream
		err    error
	}
	done := make(chan opened)
	started := s.start(func() {
		stream, err := s.begin(kind)
		select {
		case done <- opened{stream, err}:
		case <-ctx.Done():
			if err == nil {
				s.own.Add(1)
				newStream(stream, s, kind).shut()
			}
		}
	})
	if !started {
		return nil, fmt.Errorf("opening a %s stream: %w", kind, ErrClosed)
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("opening a %s stream: %w", kind, ctx.Err())
	case result := <-done:
		if result.err != nil {
			return nil, fmt.Errorf("opening a %s stream: %w", kind, s.explain(result.err))
		}
		s.own.Add(1)
		return newStream(result.stream, s, kind), nil
	}
}

// start has something done that Close waits for, unless the session was closed at this end.
func (s *Session) start(do func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.opening.Go(do)
	return true
}

// begin opens a stream and says its kind.
func (s *Session) begin(kind Kind) (*yamux.Stream, error) {
	stream, err := s.mux.OpenStream()
	if err != nil {
		return nil, err
	}
	if _, err := stream.Write([]byte{byte(kind)}); err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	return stream, nil
}

// Accept waits for the next stream that the peer opens, and does not wait for it to say its kind. Streams beyond the limit
// are closed and passed over. A peer that does not let go of streams that were closed here has no more accepted, and no
// session after a while. The error is ctx's, or ErrClosed once the session has ended.
func (s *Session) Accept(ctx context.Context) (*Stream, error) {
	for {
		if err := s.awaitRoom(ctx); err != nil {
			return nil, err
		}
		stream, err := s.mux.AcceptStreamWithContext(ctx)
		if err != nil && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil { // the session is over, or is about to be: the peer could not be told that its stream was accepted
			s.mux.Close()
			return nil, ErrClosed
		}
		if s.taken.Load() >= s.max {
			stream.Close()
			continue
		}
		s.taken.Add(1)
		accepted := newStream(stream, s, unsaid)
		accepted.accepted = true
		return accepted, nil
	}
}

// awaitRoom waits as long as there are very many streams that were closed at this end alone: each may hold a window full of
// bytes that nobody reads. An honest peer lets go of them within a round trip.
func (s *Session) awaitRoom(ctx context.Context) error {
	crowded := func() bool { return int64(s.mux.NumStreams())-s.own.Load() > 2*s.max }
	if !crowded() {
		return nil
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(kindTimeout)
	defer late.Stop()
	for crowded() {
		select {
		case <-tick.C:
		case <-late.C:
			s.mux.Close()
			return ErrClosed
		case <-s.Done():
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Close ends the session and every stream in it, and waits for what the session has started.
func (s *Session) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	err := s.mux.Close()
	s.opening.Wait()
	return err
}

// Done is closed when the session has ended, from either side.
func (s *Session) Done() <-chan struct{} { return s.mux.CloseChan() }

// Heard returns when the connection brought something last, of whatever stream; the session's begin before that.
func (s *Session) Heard() time.Time {
	return s.frames.began.Add(time.Duration(s.frames.heard.Load()))
}

// RemoteAddr returns the address of the peer.
func (s *Session) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// PeerCertificates returns what the peer presented, leaf first. The TLS handshake has proved that the peer has the
// leaf's key; nobody has verified the certificate itself on the hub's side.
func (s *Session) PeerCertificates() []*x509.Certificate {
	conn, ok := s.conn.(*tls.Conn)
	if !ok {
		return nil
	}
	return conn.ConnectionState().PeerCertificates
}

// explain turns the many ways in which yamux says that the session is over into ErrClosed.
func (s *Session) explain(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if s.mux.IsClosed() || errors.Is(err, yamux.ErrSessionShutdown) {
		return ErrClosed
	}
	return err
}

// closeTimeout is how long a peer may leave open what was closed here.
const closeTimeout = 5 * time.Minute

// closing are streams that were closed here, and perhaps not by the peer: what it sent and nobody read is kept until it does.
type closing struct {
	mu      sync.Mutex
	streams []closed // in the order of their times
}

type closed struct {
	stream uint32
	at     time.Time
}

// add notes that a stream was closed, and has those forgotten that were closed long ago.
func (c *closing) add(stream uint32, forget func(uint32)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for len(c.streams) > 0 && now.Sub(c.streams[0].at) > closeTimeout {
		forget(c.streams[0].stream)
		c.streams = c.streams[1:]
	}
	c.streams = append(c.streams, closed{stream, now})
}

// silent drops yamux's logs: whatever matters reaches the caller as an error.
type silent struct{}

func (silent) Print(...any)          {}
func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}
