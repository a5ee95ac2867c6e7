package hub

import (
	"context"
	"sync"
	"time"
)

const (
	// reliefAfter is how long nothing has to be made before memory is given back, and reliefFrom how many bytes have to have been
	// made before. Each giving back collects garbage once, which nobody should notice after a small commit.
	reliefAfter = 5 * time.Second
	reliefFrom  = 1 << 20
)

// relief gives memory back to the system when a large rendering is over. The runtime would keep it: it takes a heap that was
// large for one that will be so again, and looks a second time after minutes when there is nothing to do.
type relief struct {
	mu     sync.Mutex
	bytes  int64 // made since memory was given back
	timer  *time.Timer
	giving func()
}

// newRelief returns a relief that gives memory back by the given function, until the context ends.
func newRelief(ctx context.Context, giving func()) *relief {
	r := &relief{giving: giving}
	r.timer = time.AfterFunc(reliefAfter, r.give)
	context.AfterFunc(ctx, func() { r.timer.Stop() })
	return r
}

// made notes that something so large was made.
func (r *relief) made(bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes += bytes; r.bytes >= reliefFrom {
		r.timer.Reset(reliefAfter)
	}
}

func (r *relief) give() {
	r.mu.Lock()
	due := r.bytes >= reliefFrom
	if due {
		r.bytes = 0
	}
	r.mu.Unlock()
	if due {
		r.giving()
	}
}
