package session

import (
	"sync/atomic"
	"time"
)

// probesPerSecond is how many agents a hub probes in a second at most. A probe costs it some 0.2 ms of a processor, there and
// back.
const probesPerSecond = 1000

// Pace is how often a hub probes each agent: as often as it is told to, and the less often the more agents there are, so that
// many idle ones do not keep it busy. Sessions share one. With 10,000 agents there are 10 s between two probes.
type Pace struct {
	shortest time.Duration
	sessions atomic.Int64
}

// NewPace returns a pace with the interval between probes while there are few agents.
func NewPace(shortest time.Duration) *Pace { return &Pace{shortest: shortest} }

// Interval is the time between two probes of an agent now.
func (p *Pace) Interval() time.Duration {
	return max(p.shortest, time.Duration(p.sessions.Load())*time.Second/probesPerSecond)
}

// join counts a session; leave counts it out.
func (p *Pace) join() (leave func()) {
	p.sessions.Add(1)
	return func() { p.sessions.Add(-1) }
}
