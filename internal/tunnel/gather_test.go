package tunnel

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// drip is read in pieces; each comes after the one before it was read, and after a pause.
type drip struct {
	piece int
	pause time.Duration
}

func (d drip) Read(p []byte) (int, error) {
	time.Sleep(d.pause)
	return min(len(p), d.piece), nil
}

func TestGather(t *testing.T) {
	const forIt = 4 * time.Millisecond
	for _, c := range []struct {
		reason        string
		from          drip
		room, reads   int
		over          bool
		least, atMost time.Duration
	}{
		{"what is small is read as it comes", drip{piece: 1000}, 64 << 10, 200, false, 0, 0},
		{"where much comes, pieces gather", drip{piece: 8 << 10}, 64 << 10, 32 + 100, false, 100 * forIt, 100 * forIt},
		{"a reader without room for more has nothing to gather for", drip{piece: 64 << 10}, 64 << 10, 1000, false, 0, 0},
		{"breaks: somebody may wait for each piece", drip{piece: 8 << 10, pause: lull + time.Millisecond}, 64 << 10, 100, false, 100 * (lull + time.Millisecond), 100 * (lull + time.Millisecond)},
		{"who went away does not wait", drip{piece: 8 << 10}, 64 << 10, 1000, true, 0, 0},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, end := context.WithCancel(t.Context())
				defer end()
				if c.over {
					end()
				}
				began, g := time.Now(), &Gather{For: forIt}
				for range c.reads {
					if n, err := g.Read(ctx, c.from, make([]byte, c.room)); n != c.from.piece || err != nil {
						t.Fatalf("read %d bytes, error %v; want %d", n, err, c.from.piece)
					}
				}
				if took := time.Since(began); took < c.least || took > c.atMost {
					t.Errorf("took %s, want %s to %s", took, c.least, c.atMost)
				}
			})
		})
	}
}
