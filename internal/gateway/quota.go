package gateway

import (
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// quota bounds how often somebody does something: some at once, then so many in a second. It is safe for concurrent use.
type quota struct {
	now   func() time.Time
	limit rate.Limit
	burst int

	mu sync.Mutex
	of map[string]*rate.Limiter
}

// maxNames is how many of those are remembered who have not got all of their quota.
const maxNames = 10_000

func newQuota(now func() time.Time, limit rate.Limit, burst int) *quota {
	return &quota{now: now, limit: limit, burst: burst, of: map[string]*rate.Limiter{}}
}

// left says whether somebody has any of their quota left.
func (q *quota) left(name string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	limiter := q.of[name]
	return limiter == nil || limiter.TokensAt(q.now()) >= 1
}

// take takes one from somebody's quota, and says whether there was one.
func (q *quota) take(name string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	limiter := q.of[name]
	if limiter == nil {
		q.forget()
		limiter = rate.NewLimiter(q.limit, q.burst)
		q.of[name] = limiter
	}
	return limiter.AllowN(q.now(), 1)
}

// give gives back one that was taken.
func (q *quota) give(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if limiter := q.of[name]; limiter != nil {
		limiter.AllowN(q.now(), -1)
	}
}

// full says whether somebody has all of their quota.
func (q *quota) full(name string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	limiter := q.of[name]
	return limiter == nil || limiter.TokensAt(q.now()) >= float64(q.burst)
}

// forget drops those who have all of their quota, and everybody when that is not enough.
func (q *quota) forget() {
	if len(q.of) < maxNames {
		return
	}
	for name, limiter := range q.of {
		if limiter.TokensAt(q.now()) >= float64(q.burst) {
			delete(q.of, name)
		}
	}
	if len(q.of) >= maxNames {
		clear(q.of)
	}
}

// newAttempts bounds what fails, by address.
func newAttempts(now func() time.Time) *quota { return newQuota(now, 1, 20) }

// host is by which address somebody is counted.
func host(peer string) string {
	h, _, err := net.SplitHostPort(peer)
	if err != nil {
		return peer
	}
	// One customer has a whole /64 of IPv6.
	if ip := net.ParseIP(strings.Split(h, "%")[0]); ip != nil && ip.To4() == nil {
		return ip.Mask(net.CIDRMask(64, 128)).String()
	}
	return h
}
