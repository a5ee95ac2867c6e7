package session

import (
	"time"

	"golang.org/x/time/rate"

	"umbel.dev/umbel/internal/tunnel"
)

const (
	// stableAfter is how long a session has to last for the next attempt to be made at once.
	stableAfter = 30 * time.Second
	// freshStarts is how many shorter sessions in a row are followed by an attempt at once, and freshEvery how soon there is
	// another one: a hub whose replicas die one after the other has its agents back each time, and two agents with the same
	// key, which the hub lets replace each other, do not do so in a hot loop.
	freshStarts, freshEvery = 10, 10 * time.Second
	// longestRetry is the longest pause between two attempts: a hub that was away, however long, has all of its agents
	// back within 20 s.
	longestRetry = 15 * time.Second
)

// pauses says how long an agent waits before it dials again.
type pauses struct {
	backoff tunnel.Backoff
	fresh   *rate.Limiter
}

// newPauses returns the pauses of a new agent; draw returns numbers in [0, 1), by default math/rand's.
func newPauses(draw func() float64) *pauses {
	return &pauses{
		backoff: tunnel.Backoff{Max: longestRetry, Rand: draw},
		fresh:   rate.NewLimiter(rate.Every(freshEvery), freshStarts),
	}
}

// after returns the pause after a session that lasted for some time and ended now; none at all when it was not accepted.
func (p *pauses) after(lasted time.Duration, now time.Time) time.Duration {
	if lasted >= stableAfter || lasted > 0 && p.fresh.AllowN(now, 1) {
		p.backoff.Reset()
	}
	return p.backoff.Next()
}
