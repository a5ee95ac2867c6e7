package scrape

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/edge"
)

// turnsAtOnce is how many intervals are measured at a time, beside the round.
const turnsAtOnce = 64

// turns are when what is asked: nearly all in the round, and pods whose monitor says so at an interval of their own. None waits for another: each is measured beside them, and
// is due again when its own time has come.
type turns struct {
	news    chan struct{}  // something has ended, or begins
	running sync.WaitGroup // what is measured now

	mu     sync.Mutex
	round  turn
	others map[time.Duration]*turn
	busy   int // how many of the others are measured now
}

// turn is what is asked at one interval.
type turn struct {
	due     time.Time
	running bool
	anew    bool          // it is due once it has ended
	targets []edge.Target // none of the round's, which finds its own
	before  past          // what the last one said; it belongs to who measures
}

func newTurns() turns { return turns{news: make(chan struct{}, 1), others: map[time.Duration]*turn{}} }

func (t *turns) tell() {
	select {
	case t.news <- struct{}{}:
	default:
	}
}

// now has the round be due.
func (t *turns) now() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.round.due, t.round.anew = time.Time{}, true
}

// take has the pods be asked that there are now, each at its interval, and returns those of the round.
func (t *turns) take(targets []edge.Target, round time.Duration) (now []edge.Target) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, other := range t.others {
		other.targets = nil
	}
	for _, target := range targets {
		if !target.Apart(round) {
			now = append(now, target)
			continue
		}
		if t.others[target.Every] == nil {
			t.others[target.Every] = &turn{}
		}
		t.others[target.Every].targets = append(t.others[target.Every].targets, target)
	}
	t.tell()
	return now
}

// due begins to measure what is due, and returns after which time something is again that is not measured now.
func (s *Scraper) due(ctx context.Context, profile v1alpha1.MetricsProfile) time.Duration {
	t, now := &s.turns, time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	next := now.Add(time.Hour)
	if !t.round.running && now.Before(t.round.due) {
		next = t.round.due
	} else if !t.round.running {
		every := s.every(profile)
		s.begin(ctx, &t.round, func() error { return s.Round(ctx, profile) }, func(began time.Time) time.Time {
			return began.Add(max(every, time.Since(began)+every/4)) // what takes long leaves a pause
		})
	}
	for _, every := range slices.Sorted(maps.Keys(t.others)) {
		switch other := t.others[every]; {
		case other.running:
		case len(other.targets) == 0 && len(other.before.bodies) == 0:
			delete(t.others, every)
		case now.Before(other.due) && len(other.targets) > 0:
			if other.due.Before(next) {
				next = other.due
			}
		case t.busy < turnsAtOnce: // and who does not get in now does when another ends
			t.busy++
			targets := other.targets
			s.begin(ctx, other, func() error { return s.turn(ctx, other, targets, every) }, func(began time.Time) time.Time {
				t.busy--
				return began.Add(max(every, time.Since(began)))
			})
		}
	}
	return max(time.Until(next), 0)
}

// begin measures beside all else; following says when it is due again that began at a time. The caller holds the lock, and so does who calls following.
func (s *Scraper) begin(ctx context.Context, t *turn, measure func() error, following func(began time.Time) time.Time) {
	t.running, t.anew = true, false
	s.turns.running.Go(func() {
		began := time.Now()
		if err := measure(); err != nil && ctx.Err() == nil {
			s.Log.Error("what was measured is lost", "error", err)
		}
		s.turns.mu.Lock()
		defer s.turns.mu.Unlock()
		if t.due = following(began); t.anew {
			t.due = time.Time{}
		}
		t.running = false
		s.turns.tell()
	})
}

// turn asks the pods of one interval, for no longer than that.
func (s *Scraper) turn(ctx context.Context, t *turn, targets []edge.Target, every time.Duration) error {
	b := newBatch(s.Put, t.before)
	defer func() { t.before.failed = b.now.failed }()
	if err := s.askPods(ctx, b, s.ofPods(targets), &s.apart, every); err != nil {
		return err
	}
	return s.close(ctx, b, &t.before, true)
}

// end says that all has ended that was measured before. Nothing is measured meanwhile.
func (s *Scraper) end() error {
	s.turns.running.Wait()
	all := []*past{&s.turns.round.before}
	for _, other := range s.turns.others {
		all = append(all, &other.before)
	}
	for _, before := range all {
		if err := newBatch(s.Put, *before).ends(s.Now(), true); err != nil {
			return err
		}
		*before = past{}
	}
	s.turns.round, s.turns.others = turn{}, map[time.Duration]*turn{}
	return nil
}
