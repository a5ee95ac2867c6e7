package tunnel

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

// Stream is one stream of a session: a net.Conn that can be half-closed.
type Stream struct {
	*yamux.Stream

	session  *Session
	kind     Kind
	accepted bool
	closed   atomic.Bool
	ended    chan struct{} // closed with the stream

	writing sync.Mutex // has Writes come one after the other

	mu       sync.Mutex
	deadline time.Time // of writes
	trying   bool      // yamux has another one
}

func newStream(stream *yamux.Stream, session *Session, kind Kind) *Stream {
	return &Stream{Stream: stream, session: session, kind: kind, ended: make(chan struct{})}
}

var _ net.Conn = (*Stream)(nil)

// Session returns the session that the stream belongs to.
func (s *Stream) Session() *Session { return s.session }

// Heard returns when the connection brought something last, of whatever stream.
func (s *Stream) Heard() time.Time { return s.session.Heard() }

// Read reads what the peer sent. After the peer's CloseWrite or Close it returns io.EOF; after the session's end it
// returns ErrClosed; after this end's Close, net.ErrClosed.
func (s *Stream) Read(p []byte) (int, error) {
	if s.closed.Load() {
		return 0, net.ErrClosed
	}
	n, err := s.Stream.Read(p)
	switch {
	case err == nil || n > 0:
		return n, nil
	case s.closed.Load():
		return n, net.ErrClosed
	case errors.Is(err, io.EOF) && s.session.mux.IsClosed():
		return n, ErrClosed
	case errors.Is(err, io.EOF):
		return n, io.EOF
	}
	return n, s.session.explain(err)
}

// Write sends p, in frames that leave others their turn. It blocks while the peer does not read.
func (s *Stream) Write(p []byte) (n int, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	for err == nil && n < len(p) {
		var sent int
		if s.kind == Control {
			sent, err = s.Stream.Write(p[n:min(len(p), n+maxBody)])
		} else {
			sent, err = s.writeInTurn(p[n:])
		}
		n += sent
	}
	if err == nil {
		return n, nil
	}
	if s.closed.Load() || errors.Is(err, yamux.ErrStreamClosed) && !s.session.mux.IsClosed() {
		return n, net.ErrClosed
	}
	return n, s.session.explain(err)
}

// writeInTurn sends a frame of p when it is the stream's turn. Whoever waits for a peer that does not read lets the others
// have theirs.
func (s *Stream) writeInTurn(p []byte) (int, error) {
	turns := s.session.turns
	turn := turns.of(len(p))
	if err := s.await(turn); err != nil {
		return 0, err
	}
	began := time.Now()
	n, err := s.try(p[:min(len(p), int(turns.body.Load()))])
	<-turn
	turns.took(time.Since(began))
	if !errors.Is(err, yamux.ErrTimeout) {
		return n, err
	}
	if n > 0 {
		return n, nil
	}
	// Nothing may be sent before the peer reads: one byte waits for that, in nobody's way.
	return s.Stream.Write(p[:1])
}

// await waits for the stream's turn.
func (s *Stream) await(turn chan<- struct{}) error {
	select {
	case turn <- struct{}{}:
		return nil
	default:
	}
	var late <-chan time.Time
	s.mu.Lock()
	deadline := s.deadline
	s.mu.Unlock()
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case turn <- struct{}{}:
		return nil
	case <-s.session.Done():
		return ErrClosed
	case <-s.ended:
		return net.ErrClosed
	case <-late:
		return yamux.ErrTimeout
	}
}

// try sends as much of p as the peer is ready to take in now. ErrTimeout says that this is not all of it.
func (s *Stream) try(p []byte) (int, error) {
	s.mu.Lock()
	if !s.deadline.IsZero() && !time.Now().Before(s.deadline) {
		s.mu.Unlock()
		return s.Stream.Write(p) // which is too late, and says so when it would have to wait
	}
	s.trying = true
	s.Stream.SetWriteDeadline(time.Unix(1, 0)) // yamux looks at it when it would have to wait
	s.mu.Unlock()
	n, err := s.Stream.Write(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trying = false
	s.Stream.SetWriteDeadline(s.deadline)
	return n, err
}

// SetWriteDeadline bounds how long writes wait. For one that waits for its turn it counts from its next frame.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	if s.trying {
		return nil
	}
	return s.Stream.SetWriteDeadline(t)
}

// SetDeadline bounds how long reads and writes wait.
func (s *Stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// CloseWrite tells the peer that nothing more comes. What the peer sends can still be read, for five minutes.
func (s *Stream) CloseWrite() error { return s.Stream.Close() }

// Close ends the stream in both directions and unblocks its readers and writers.
func (s *Stream) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	if s.accepted {
		s.session.taken.Add(-1)
	} else {
		s.session.own.Add(-1)
	}
	close(s.ended)
	err := s.Stream.Close()
	s.SetDeadline(time.Unix(1, 0))
	return err
}
