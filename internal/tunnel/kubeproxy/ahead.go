package kubeproxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
)

// sip is how much is read at once; a stream that is idle holds no more.
const sip = 4 << 10

// ahead reads a connection before it is asked to. WebSockets come in pieces of 4 kB, and TLS gives out one at a time: each sent on
// by itself costs both ends of a tunnel as much as 64 kB do. While one piece is sent on the next ones gather, and go together.
type ahead struct {
	from io.Reader

	mu     sync.Mutex
	moved  sync.Cond // bytes were read, or taken, or there will be no more
	room   []byte    // of large, while it holds bytes
	bytes  []byte    // in room: read, and not taken
	err    error     // what reading ended with
	closed bool
}

// readAhead reads from a connection until it is closed or ends.
func readAhead(from io.Reader) *ahead {
	a := &ahead{from: from}
	a.moved.L = &a.mu
	go a.fill()
	return a
}

func (a *ahead) fill() {
	var piece [sip]byte
	for {
		n, err := a.from.Read(piece[:])
		a.mu.Lock()
		a.hold(piece[:n])
		a.err = err
		a.moved.Broadcast()
		for len(a.bytes) > large.size-sip && err == nil && !a.closed {
			a.moved.Wait()
		}
		done := err != nil || a.closed
		a.mu.Unlock()
		if done {
			return
		}
	}
}

// hold puts a piece to what waits. The caller holds the lock, and there is room.
func (a *ahead) hold(piece []byte) {
	if len(piece) == 0 {
		return
	}
	if a.room == nil {
		a.room = large.Get()
		a.bytes = a.room[:0]
	}
	if len(piece) > cap(a.bytes)-len(a.bytes) {
		a.bytes = a.room[:copy(a.room, a.bytes)]
	}
	a.bytes = append(a.bytes, piece...)
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.bytes) == 0 && a.err == nil && !a.closed {
		a.moved.Wait()
	}
	switch {
	case len(a.bytes) > 0:
	case a.err != nil:
		return 0, a.err
	default:
		return 0, net.ErrClosed
	}
	n := copy(p, a.bytes)
	if a.bytes = a.bytes[n:]; len(a.bytes) == 0 {
		large.Put(a.room)
		a.room, a.bytes = nil, nil
	}
	a.moved.Broadcast()
	return n, nil
}

// stop has nothing read any more, once the read ends that is under way.
func (a *ahead) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.moved.Broadcast()
}

// aheadBody is the body of an answer after which a stream goes on, read ahead.
type aheadBody struct {
	io.ReadWriteCloser
	ahead *ahead
}

// goesAhead has an upgraded stream that an answer begins read ahead.
func goesAhead(answer *http.Response) {
	if stream, ok := answer.Body.(io.ReadWriteCloser); ok && answer.StatusCode == http.StatusSwitchingProtocols {
		answer.Body = &aheadBody{stream, readAhead(stream)}
	}
}

// Read implements io.Reader.
func (b *aheadBody) Read(p []byte) (int, error) { return b.ahead.Read(p) }

// CloseWrite tells the other end that nothing more comes.
func (b *aheadBody) CloseWrite() error { return closeWrite(b.ReadWriteCloser) }

// Close implements io.Closer.
func (b *aheadBody) Close() error {
	b.ahead.stop()
	return b.ReadWriteCloser.Close()
}

func closeWrite(stream any) error {
	if half, ok := stream.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
