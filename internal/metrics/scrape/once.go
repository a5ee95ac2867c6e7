package scrape

import (
	"context"
	"sync"
	"time"
)

// once does things once for all that want them at the same time. It is safe for concurrent use.
type once[T any] struct {
	mu   sync.Mutex
	done map[string]*done[T]
}

type done[T any] struct {
	ready chan struct{}
	value T
	err   error
	took  time.Duration
	ended bool // by the time of who did it
}

// get returns what do returns, of whoever came first. One whose own time is longer than that of who came first, and failed because it was over, tries again; nobody waits for longer
// than ctx says.
func (o *once[T]) get(ctx context.Context, of string, do func(context.Context) (T, error)) (T, error) {
	for {
		o.mu.Lock()
		it := o.done[of]
		mine := it == nil
		if mine {
			if it = (&done[T]{ready: make(chan struct{})}); o.done == nil {
				o.done = map[string]*done[T]{}
			}
			o.done[of] = it
		}
		o.mu.Unlock()
		if mine {
			began := time.Now()
			it.value, it.err = do(ctx)
			it.took, it.ended = time.Since(began), it.err != nil && ctx.Err() != nil
			close(it.ready)
			return it.value, it.err
		}
		select {
		case <-it.ready:
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
		if end, is := ctx.Deadline(); !it.ended || is && time.Until(end) <= it.took {
			return it.value, it.err
		}
		o.mu.Lock()
		if o.done[of] == it {
			delete(o.done, of)
		}
		o.mu.Unlock()
	}
}
