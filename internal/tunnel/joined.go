package tunnel

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// muxHeader is the length of a header of yamux, and muxData the type of a frame that a body follows.
	muxHeader = 12
	muxData   = 0
	// maxBody is the most that one frame carries: whoever sends much lets others through between frames.
	maxBody = 64 << 10
)

// stall is how long the connection may take nothing of a frame until it counts as dead.
const stall = 20 * time.Second

// joined writes the header and the body of a frame in one go. yamux writes them one after the other, which over TLS is two
// records and two system calls; a frame is mostly small, and mostly all that is sent for a while. What comes is looked at on
// its way to yamux (incoming).
type joined struct {
	net.Conn
	header   []byte // of a frame whose body comes next
	began    time.Time
	heard    atomic.Int64 // how long after that something came last, which no change of the clock makes wrong
	incoming incoming

	writing sync.Mutex // has one frame be written at a time, with its deadline
	socket  holder     // under TLS; nil when it is not one of ours

	forgetting sync.Mutex
	forgotten  []byte // frames that the peer did not send
}

// Read implements net.Conn for yamux.
func (j *joined) Read(p []byte) (int, error) {
	if n := j.forgetNow(p); n > 0 {
		return n, nil
	}
	n, err := j.Conn.Read(p)
	for n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		if err := j.woken(); err != nil {
			return 0, err
		}
		if n := j.forgetNow(p); n > 0 {
			return n, nil
		}
		n, err = j.Conn.Read(p)
	}
	if n > 0 {
		j.heard.Store(int64(time.Since(j.began)))
		if refused := j.incoming.pass(p[:n]); refused != nil {
			return 0, refused
		}
	}
	return n, err
}

// forget has yamux let go of a stream, and of what it holds of it, although its peer has not. It does so for a reset from the
// peer alone, so it reads one: at once, since a peer to which everything was said may say nothing any more.
func (j *joined) forget(stream uint32) {
	j.forgetting.Lock()
	defer j.forgetting.Unlock()
	j.forgotten = append(j.forgotten, reset(stream)...)
	_ = j.Conn.SetReadDeadline(time.Unix(1, 0)) // a connection that has none is closed, and forgets everything
}

// woken goes on after forget has interrupted a read.
func (j *joined) woken() error {
	j.forgetting.Lock()
	defer j.forgetting.Unlock()
	return j.Conn.SetReadDeadline(time.Time{})
}

// forgetNow returns what is to be read of forget between two frames.
func (j *joined) forgetNow(p []byte) int {
	j.forgetting.Lock()
	defer j.forgetting.Unlock()
	if len(j.forgotten) == 0 || !j.incoming.between() {
		return 0
	}
	n := copy(p[:len(p)/muxHeader*muxHeader], j.forgotten)
	if j.forgotten = j.forgotten[n:]; len(j.forgotten) == 0 {
		j.forgotten = nil
	}
	return n
}

// Close implements net.Conn for yamux.
func (j *joined) Close() error {
	j.incoming.release()
	return j.Conn.Close()
}

// send writes a frame. A connection that does not take it ends: yamux would let one stream after the other fail by itself,
// or lose the word that a stream's window is open again, and the session would go on without them.
func (j *joined) send(frame []byte) (int, error) {
	j.writing.Lock()
	defer j.writing.Unlock()
	if err := j.Conn.SetWriteDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	n, err := j.write(frame)
	if err != nil {
		return n, err
	}
	return n, j.Conn.SetWriteDeadline(time.Time{})
}

// write hands a frame to TLS, and has its records sent together.
func (j *joined) write(frame []byte) (int, error) {
	if j.socket == nil || len(frame) <= record {
		return j.Conn.Write(frame)
	}
	j.socket.hold()
	n, err := j.Conn.Write(frame)
	return n, errors.Join(err, j.socket.release())
}

// frames has room for a whole frame; what is idle holds none.
var frames = sync.Pool{New: func() any {
	room := make([]byte, 0, muxHeader+maxBody)
	return &room
}}

// Write implements net.Conn for yamux, which has one goroutine that writes.
func (j *joined) Write(p []byte) (int, error) {
	if len(j.header) == 0 && opensFrame(p) {
		j.header = append(j.header, p...)
		return len(p), nil
	}
	if len(j.header) == 0 {
		return j.send(p)
	}
	frame := frames.Get().(*[]byte)
	defer frames.Put(frame)
	whole := append(append((*frame)[:0], j.header...), p...)
	j.header = j.header[:0]
	n, err := j.send(whole)
	return max(0, n-muxHeader), err
}

// opensFrame says whether p is a header, and a body follows it (https://github.com/hashicorp/yamux/blob/v0.1.2/spec.md).
func opensFrame(p []byte) bool {
	return len(p) == muxHeader && p[1] == muxData && binary.BigEndian.Uint32(p[8:]) > 0
}

// reset is the frame that ends a stream without a FIN, which yamux sends but for streams that nobody closes.
func reset(stream uint32) []byte {
	const windowUpdate, flagRST = 1, 8
	frame := make([]byte, muxHeader)
	frame[1], frame[3] = windowUpdate, flagRST
	binary.BigEndian.PutUint32(frame[4:], stream)
	return frame
}
