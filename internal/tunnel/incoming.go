package tunnel

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	muxPing = 2
	// smallFrame is a body that costs more to handle than to send. smallPerSecond and smallBurst are how many frames with no
	// more than that are read: an honest peer sends a few for each stream, and one for each half of a window.
	smallFrame                 = 64
	smallPerSecond, smallBurst = 10_000, 50_000
)

// errPing is why a session with a peer that pings ends.
var errPing = errors.New("the peer sends pings, which nobody asked for")

// incoming looks at the frames of a peer before yamux does, which handles as many as come, as fast as they come, and has a
// goroutine for each ping.
type incoming struct {
	head [muxHeader]byte
	have int // of the head
	body int // that is to come

	once   sync.Once
	paced  *rate.Limiter
	closed chan struct{}
}

func newIncoming() incoming {
	return incoming{paced: rate.NewLimiter(smallPerSecond, smallBurst), closed: make(chan struct{})}
}

// pass looks at what comes next, and takes its time when there are very many small frames in it.
func (c *incoming) pass(p []byte) error {
	small := 0
	for len(p) > 0 {
		if c.body > 0 {
			n := min(len(p), c.body)
			p, c.body = p[n:], c.body-n
			continue
		}
		n := copy(c.head[c.have:], p)
		p, c.have = p[n:], c.have+n
		if c.have < muxHeader {
			break
		}
		c.have = 0
		if c.head[1] == muxPing {
			return errPing
		}
		if c.head[1] == muxData {
			c.body = int(binary.BigEndian.Uint32(c.head[8:]))
		}
		if c.body <= smallFrame {
			small++
		}
	}
	return c.pace(small)
}

// between says whether a frame has ended and the next has not begun.
func (c *incoming) between() bool { return c.have == 0 && c.body == 0 }

func (c *incoming) pace(small int) error {
	if small == 0 {
		return nil
	}
	wait := c.paced.ReserveN(time.Now(), small).Delay()
	if wait == 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.closed:
		return net.ErrClosed
	}
}

// release lets go of who waits, for good.
func (c *incoming) release() { c.once.Do(func() { close(c.closed) }) }
