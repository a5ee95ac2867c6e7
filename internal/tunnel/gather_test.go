package tunnel

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// drip is read as a connection is: a piece of what it has comes at a time, and what nobody has read yet waits.
type drip struct {
	piece int
	every time.Duration
	began time.Time
	taken int
}

func (d *drip) Read(p []byte) (int, error) {
	if d.here() == 0 {
		time.Sleep(d.every - time.Since(d.began)%d.every)
	}
	n := min(len(p), d.here())
	d.taken += n
	return n, nil
}

func (d *drip) here() int { return int(time.Since(d.began)/d.every)*d.piece - d.taken }

func TestGather(t *testing.T) {
	const piece, room = 8 << 10, 64 << 10
	for _, c := range []struct {
		reason string
		piece  int
		every  time.Duration
		over   bool
		least  int // bytes in a read, in the mean
		most   int
	}{
		{"what is small is read as it comes", 1000, 100 * time.Microsecond, false, 1000, 1000},
		{"as what is slow, however large its pieces are", 2 * piece, 2 * time.Millisecond, false, 2 * piece, 2 * piece},
		{"where much comes, pieces gather", piece, 400 * time.Microsecond, false, 4 * piece, room},
		{"a reader without room for more does not wait for it", 4 * piece, 50 * time.Microsecond, false, 6 * piece, room},
		{"who went away does not wait", piece, 400 * time.Microsecond, true, piece, piece},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, end := context.WithCancel(t.Context())
				defer end()
				if c.over {
					end()
				}
				g := &Gather{For: 4 * time.Millisecond}
				from := &drip{piece: c.piece, every: c.every, began: time.Now()}
				const much = 64 << 20
				reads, got := 0, 0
				for ; got < much; reads++ {
					n, err := g.Read(ctx.Done(), from, make([]byte, room))
					if n == 0 || err != nil {
						t.Fatalf("read %d bytes, error %v", n, err)
					}
					got += n
				}
				if mean := got / reads; mean < c.least || mean > c.most {
					t.Errorf("%d bytes in a read, want %d to %d", mean, c.least, c.most)
				}
				// Nothing is left behind: what came is read as fast as it comes.
				if late := time.Since(from.began) - time.Duration(got/c.piece)*c.every; late > 10*time.Millisecond && c.piece*int(time.Second/c.every) < 100<<20 {
					t.Errorf("the reader is %s late", late)
				}
			})
		})
	}
}
