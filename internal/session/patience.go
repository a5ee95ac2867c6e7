package session

import (
	"net"
	"time"
)

const (
	// patience is how many times longer than usual a peer has to answer while bytes of it arrive.
	patience = 4
	// longestHello is how long an agent's Hello may take in all, while bytes of it arrive.
	longestHello = 2 * time.Minute
	// piece is how much of a message has to move within a deadline.
	piece = 32 << 10
	// goal is how large a message is to be at most where it can be split: what is said next must not wait for long.
	goal = 64 << 10
)

// hearing is a stream whose connection knows when it brought something last, as a tunnel's does.
type hearing interface{ Heard() time.Time }

// lost says whether a peer that has been silent for so long on this stream counts as gone: after bound, and later while
// bytes arrive in other streams of the connection. A slow line is then full, and what the peer says stands in it behind
// what people read.
func lost(stream net.Conn, silent, bound time.Duration) bool {
	line, hears := stream.(hearing)
	if silent < bound || !hears || silent >= patience*bound {
		return silent >= bound
	}
	return time.Since(line.Heard()) >= bound
}

// pieces is a stream whose deadlines are for a piece each: a large message on a slow line takes longer than a dead peer has.
type pieces struct {
	net.Conn
	each time.Duration
}

// Write implements io.Writer.
func (p pieces) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var sent int
		p.SetWriteDeadline(time.Now().Add(p.each))
		sent, err = p.Conn.Write(b[n:min(len(b), n+piece)])
		n += sent
	}
	return n, err
}

// greeting reads a stream that begins with a Hello. Until that was there, each piece of it has its deadline.
type greeting struct {
	net.Conn
	until time.Time // when it has to be there; zero when it is
}

// Read implements io.Reader.
func (g *greeting) Read(b []byte) (int, error) {
	if !g.until.IsZero() {
		deadline := time.Now().Add(helloTimeout)
		if deadline.After(g.until) {
			deadline = g.until
		}
		g.SetReadDeadline(deadline)
	}
	return g.Conn.Read(b)
}
