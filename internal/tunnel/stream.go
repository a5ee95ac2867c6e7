package tunnel

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

// Stream is one stream of a session: a net.Conn that can be half-closed.
type Stream struct {
	*yamux.Stream

	session  *Session
	accepted bool
	closed   atomic.Bool
}

var _ net.Conn = (*Stream)(nil)

// Session returns the session that the stream belongs to.
func (s *Stream) Session() *Session { return s.session }

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
	for err == nil && n < len(p) {
		var sent int
		sent, err = s.Stream.Write(p[n:min(len(p), n+maxBody)])
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

// CloseWrite tells the peer that nothing more comes. What the peer sends can still be read, for five minutes.
func (s *Stream) CloseWrite() error { return s.Stream.Close() }

// Close ends the stream in both directions and unblocks its readers and writers.
func (s *Stream) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	if s.accepted {
		s.session.taken.Add(-1)
	}
	err := s.Stream.Close()
	s.Stream.SetDeadline(time.Unix(1, 0))
	return err
}
