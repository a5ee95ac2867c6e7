package tunnel

import (
	"context"
	"net"
	"sync"
)

// heldBack has room for a frame of what is held back.
var heldBack = sync.Pool{New: func() any {
	room := make([]byte, 0, maxBody)
	return &room
}}

// Hold keeps what is written from now on until there is a frame full of it, or Release. An HTTP server writes a chunk in three
// pieces, and each would be a frame, a record of TLS, and a system call. Nobody else writes while something is held.
func (s *Stream) Hold() {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.held == nil {
		s.held = heldBack.Get().(*[]byte)
	}
}

// Release sends what is held back, and has nothing held any more. What it fails with, later writes fail with too.
func (s *Stream) Release() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.held == nil {
		return nil
	}
	err := s.sendHeld()
	heldBack.Put(s.held)
	s.held = nil
	return err
}

// keep holds p back, and sends what is more than a frame. The caller has the turn to write.
func (s *Stream) keep(p []byte) (n int, err error) {
	for len(p) > 0 && s.broken == nil {
		part := p[:min(len(p), cap(*s.held)-len(*s.held))]
		*s.held = append(*s.held, part...)
		n, p = n+len(part), p[len(part):]
		if len(p) > 0 {
			_ = s.sendHeld()
		}
	}
	return n, s.broken
}

func (s *Stream) sendHeld() error {
	if s.broken == nil && len(*s.held) > 0 {
		_, s.broken = s.send(*s.held)
	}
	*s.held = (*s.held)[:0]
	return s.broken
}

// streamKey is where the context of a request has the stream that it came over.
type streamKey struct{}

// withStream is the http.Server.ConnContext that tells over which stream a request came.
func withStream(ctx context.Context, conn net.Conn) context.Context {
	if stream, ok := conn.(*Stream); ok {
		return context.WithValue(ctx, streamKey{}, stream)
	}
	return ctx
}

// StreamOf returns the stream that the request of a context came over, to a server of NewServer; nil when it came another way.
func StreamOf(ctx context.Context) *Stream {
	stream, _ := ctx.Value(streamKey{}).(*Stream)
	return stream
}
