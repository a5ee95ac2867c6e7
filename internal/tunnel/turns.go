package tunnel

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// atOnce is how many frames of streams that move much may wait for the connection at once, and shortAtOnce how many of
	// writes of at most short bytes: a keystroke need not wait for every log that somebody reads.
	atOnce, shortAtOnce = 2, 16
	short               = 512
	// minBody is the least that a frame carries while there is more to send.
	minBody = 4 << 10
	// slow and fast are how long a frame may take until the next ones are smaller, and how short until they are larger.
	slow, fast = 200 * time.Millisecond, 50 * time.Millisecond
	// unsent is how many bytes the kernel takes that it cannot send yet. What is in there can be overtaken by nothing, and
	// left to itself it takes megabytes: minutes on a bad line. What is under way does not count, so that a long fat line
	// is filled all the same.
	unsent = 32 << 10
)

// turns has the streams of a session share its connection. yamux sends in the order of asking, however much each asks for:
// behind a thousand streams that move much, a probe would wait until it is too late. So such streams take turns, few of
// them wait within yamux, and control streams, which move little, wait for nobody else. On a slow line frames are smaller.
type turns struct {
	long, short chan struct{}
	body        atomic.Int64 // how much a frame carries now
}

func newTurns() *turns {
	t := &turns{long: make(chan struct{}, atOnce), short: make(chan struct{}, shortAtOnce)}
	t.body.Store(maxBody)
	return t
}

// of returns who has its turn among whom, for a write of so many bytes.
func (t *turns) of(n int) chan struct{} {
	if n <= short {
		return t.short
	}
	return t.long
}

// took learns from how long a frame took.
func (t *turns) took(d time.Duration) {
	switch body := t.body.Load(); {
	case d > slow:
		t.body.Store(max(minBody, body/2))
	case d < fast && body < maxBody:
		t.body.Store(min(maxBody, body*2))
	}
}

// leaveUnsent has the kernel take little that it cannot send yet.
func leaveUnsent(conn net.Conn) {
	socket, ok := under(conn).(syscall.Conn)
	if !ok {
		return
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return // it is closed, which its user finds out
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent) // where there is none it is slower
	})
}

// under returns the connection under TLS, which is in TLS of its own behind a proxy.
func under(conn net.Conn) net.Conn {
	for {
		secure, ok := conn.(*tls.Conn)
		if !ok {
			return conn
		}
		conn = secure.NetConn()
	}
}
