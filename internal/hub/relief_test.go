package hub

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestRelief: memory is given back once, when a large rendering is over, not while it goes on, not for a small one, and not by a
// hub that has ended.
func TestRelief(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var given atomic.Int64 // to wait for a bubble is not to have seen what its ended goroutines wrote
		r := newRelief(ctx, func() { given.Add(1) })
		after := func(reason string, pause time.Duration, want int64) {
			t.Helper()
			time.Sleep(pause)
			synctest.Wait()
			if given := given.Load(); given != want {
				t.Errorf("%s: memory was given back %d times, want %d", reason, given, want)
			}
		}
		after("nothing was made", time.Hour, 0)
		r.made(reliefFrom / 2)
		after("a small commit", time.Hour, 0)
		r.made(reliefFrom / 2)
		after("right after many small ones", reliefAfter-1, 0)
		r.made(1)
		after("one more of many", reliefAfter-1, 0)
		after("when it is over", 1, 1)
		after("long after it", time.Hour, 1)
		r.made(reliefFrom)
		after("after another one", reliefAfter, 2)
		r.made(reliefFrom)
		cancel()
		after("the hub has ended", time.Hour, 2)
	})
}
