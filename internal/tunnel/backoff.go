package tunnel

import (
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait before the next attempt: exponential with full jitter, that is a random time between
// nothing and a bound that doubles from Min to Max
// (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter). The zero value counts from 0.2 s to 30 s.
// It is for one goroutine.
type Backoff struct {
	Min, Max time.Duration
	// Rand returns a number in [0, 1); the default is math/rand's.
	Rand func() float64

	attempts int
}

// Next returns the time to wait now, and counts the attempt.
func (b *Backoff) Next() time.Duration {
	least, most, draw := b.Min, b.Max, b.Rand
	if least == 0 {
		least = 200 * time.Millisecond
	}
	if most == 0 {
		most = 30 * time.Second
	}
	if draw == nil {
		draw = rand.Float64
	}
	bound := least << min(b.attempts, 30)
	if bound > most || bound <= 0 {
		bound = most
	}
	b.attempts++
	return time.Duration(draw() * float64(bound))
}

// Reset forgets the attempts, after a success.
func (b *Backoff) Reset() { b.attempts = 0 }
