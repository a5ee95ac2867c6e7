package scrape

import (
	"context"
	"sync"
	"time"
)

const (
	// atOnce is how many sources are asked at a time, and patient how many more that have not answered for slow.
	atOnce, patient = 8, 16
	slow            = time.Second
)

// places has some sources be asked at a time. One that does not answer soon leaves its place to another, so that it holds up nobody, as long as not too many do.
type places struct{ soon, later chan struct{} }

func newPlaces() places {
	return places{make(chan struct{}, atOnce), make(chan struct{}, patient)}
}

// take waits for a place, and returns what leaves it; nil when ctx ended before.
func (p *places) take(ctx context.Context) (leave func()) {
	select {
	case p.soon <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	var mu sync.Mutex
	var waits, left bool
	move := time.AfterFunc(slow, func() {
		mu.Lock()
		defer mu.Unlock()
		if left {
			return
		}
		select {
		case p.later <- struct{}{}:
			waits = true
			<-p.soon
		default:
		}
	})
	return func() {
		move.Stop()
		mu.Lock()
		defer mu.Unlock()
		if left = true; waits {
			<-p.later
			return
		}
		<-p.soon
	}
}
