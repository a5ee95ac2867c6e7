package tunnel

import (
	"io"
	"time"
)

// Much is what comes at plenty in each span, or faster: some 13 MB/s, more than small answers to thousands of questions.
const (
	plenty = 256 << 10
	span   = 20 * time.Millisecond
)

// Gather reads in few large pieces what comes in many small ones. A log comes as a node sends it, in pieces of a few
// kilobytes, and each that is handed on by itself wakes the goroutines and threads of every program on the way, which costs
// several times what encrypting it does. So where much comes, after a piece that did not fill the reader's room the next
// ones have a moment to gather. What is less is read as it comes. The zero value gathers for no time.
type Gather struct {
	// For is how long pieces gather.
	For time.Duration

	since time.Time // when the span began
	came  int       // in it
	much  bool      // came in the span before
	last  time.Time // when the last read returned
	short bool      // the last piece left room
	timer *time.Timer
}

// Read reads from a reader, always the same, into p. It does not wait for pieces once done is closed.
func (g *Gather) Read(done <-chan struct{}, from io.Reader, p []byte) (int, error) {
	if g.short && g.much {
		g.wait(done)
	}
	n, err := from.Read(p)
	g.last, g.short = time.Now(), n < len(p)
	g.came += n
	if took := g.last.Sub(g.since); took >= span {
		g.much = int64(g.came) >= plenty*int64(took/span)
		g.since, g.came = g.last, 0
	}
	return n, err
}

// wait lets pieces come, unless they had their time while the reader was busy.
func (g *Gather) wait(done <-chan struct{}) {
	left := g.For - time.Since(g.last)
	if left <= 0 {
		return
	}
	if g.timer == nil {
		g.timer = time.NewTimer(left)
	} else {
		g.timer.Reset(left)
	}
	select {
	case <-g.timer.C:
	case <-done:
		g.timer.Stop()
	}
}
