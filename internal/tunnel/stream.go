package tunnel

import (
	"errors"
	"fmt"
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
	kind     atomic.Uint32 // a Kind
	only     Kind          // that it may be; unsaid is any
	accepted bool
	closed   atomic.Bool
	drained  atomic.Bool   // the peer's end of the data was read
	ended    chan struct{} // closed with the stream

	hearing sync.Mutex // has one reader hear the kind
	writing sync.Mutex // has Writes come one after the other
	held    *[]byte    // what was written and waits for Release; nil when nothing is held back
	broken  error      // what sending that ended with

	mu       sync.Mutex
	deadline time.Time // of writes
	trying   bool      // yamux has another one
}

func newStream(stream *yamux.Stream, session *Session, kind Kind) *Stream {
	s := &Stream{Stream: stream, session: session, ended: make(chan struct{})}
	s.kind.Store(uint32(kind))
	return s
}

var _ net.Conn = (*Stream)(nil)

// Heard returns when the connection brought something last, of whatever stream.
func (s *Stream) Heard() time.Time { return s.session.Heard() }

// Kind returns what the stream carries. When the peer has opened it, Kind waits for the peer to say so, for ten seconds.
func (s *Stream) Kind() (Kind, error) {
	s.SetReadDeadline(time.Now().Add(kindTimeout))
	if err := s.hear(); err != nil {
		return unsaid, err
	}
	return Kind(s.kind.Load()), s.SetReadDeadline(time.Time{})
}

// Only has the stream be of one kind: to read one of another kind is an error. So somebody who serves many streams need not
// wait for each to say its kind; the readers do, within the deadlines that they have.
func (s *Stream) Only(kind Kind) *Stream {
	s.only = kind
	return s
}

// hear reads the kind, if that has not been done.
func (s *Stream) hear() error {
	if Kind(s.kind.Load()) != unsaid {
		return nil
	}
	s.hearing.Lock()
	defer s.hearing.Unlock()
	if Kind(s.kind.Load()) != unsaid {
		return nil
	}
	var said [1]byte
	if _, err := s.read(said[:]); err != nil {
		return err
	}
	kind := Kind(said[0])
	if kind == unsaid || s.only != unsaid && kind != s.only {
		return fmt.Errorf("a stream of %s is not taken here", kind)
	}
	s.kind.Store(uint32(kind))
	return nil
}

// Read reads what the peer sent. After the peer's CloseWrite or Close it returns io.EOF; after the session's end it
// returns ErrClosed; after this end's Close, net.ErrClosed.
func (s *Stream) Read(p []byte) (int, error) {
	if err := s.hear(); err != nil {
		return 0, err
	}
	return s.read(p)
}

func (s *Stream) read(p []byte) (int, error) {
	if s.closed.Load() {
		return 0, net.ErrClosed
	}
	n, err := s.Stream.Read(p)
	if err == nil || n > 0 {
		return n, nil
	}
	return n, s.over(err)
}

// over returns what a read ends with that yamux ended with err.
func (s *Stream) over(err error) error {
	switch {
	case s.closed.Load():
		return net.ErrClosed
	case errors.Is(err, io.EOF) && s.session.mux.IsClosed():
		return ErrClosed
	case errors.Is(err, io.EOF):
		s.drained.Store(true)
		return io.EOF
	}
	return s.session.explain(err)
}

// Write sends p, in frames that leave others their turn. It blocks while the peer does not read.
func (s *Stream) Write(p []byte) (n int, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.held != nil {
		return s.keep(p)
	}
	return s.send(p)
}

// send is Write for who has the turn to write.
func (s *Stream) send(p []byte) (n int, err error) {
	for err == nil && n < len(p) {
		var sent int
		if Kind(s.kind.Load()) == Control {
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

// CloseWrite tells the peer that nothing more comes. What the peer sends can still be read.
func (s *Stream) CloseWrite() error { return s.Stream.Close() }

// Reset ends the stream in both directions, so that the peer reads an error, and not the end of the data as after Close.
func (s *Stream) Reset() error {
	if s.closed.Load() {
		return nil
	}
	_, err := s.session.frames.send(reset(s.StreamID()))
	err = errors.Join(err, s.end())
	s.session.frames.forget(s.StreamID())
	return err
}

// Close ends the stream in both directions and unblocks its readers and writers. Whoever asked and closes before the end of the
// answer resets the stream: the other end would write it until somebody reads, which nobody does.
func (s *Stream) Close() error {
	if kind := Kind(s.kind.Load()); (kind == Kube || kind == Content) && !s.accepted && !s.drained.Load() {
		return s.Reset()
	}
	return s.shut()
}

// shut closes the stream as one that has come to its end.
func (s *Stream) shut() error {
	if s.closed.Load() {
		return nil
	}
	err := s.end()
	s.session.closing.add(s.StreamID(), s.session.frames.forget)
	return err
}

func (s *Stream) end() error {
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
