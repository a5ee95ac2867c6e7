package scrape

import (
	"context"
	"maps"
	"slices"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/edge"
)

// turns are when what is asked: nearly all in the round, and pods whose monitor says so at an interval of their own.
type turns struct {
	round  time.Time // when the next one is due
	before past      // what the last one said
	others map[time.Duration]*turn
}

// turn is the pods that are asked at one interval.
type turn struct {
	due     time.Time
	targets []edge.Target
	before  past
}

// take has the pods be asked that there are now, each at its interval, and returns those of the round.
func (t *turns) take(targets []edge.Target, round time.Duration) (now []edge.Target) {
	if t.others == nil {
		t.others = map[time.Duration]*turn{}
	}
	for _, other := range t.others {
		other.targets = nil
	}
	for _, target := range targets {
		if target.Every == 0 || target.Every == round {
			now = append(now, target)
			continue
		}
		if t.others[target.Every] == nil {
			t.others[target.Every] = &turn{}
		}
		t.others[target.Every].targets = append(t.others[target.Every].targets, target)
	}
	return now
}

// due measures what is due, and returns after which time something is again.
func (s *Scraper) due(ctx context.Context, profile v1alpha1.MetricsProfile) time.Duration {
	if began := time.Now(); !began.Before(s.turns.round) {
		if err := s.Round(ctx, profile); err != nil && ctx.Err() == nil {
			s.Log.Error("what was measured is lost", "error", err)
		}
		s.turns.round = following(began, s.every(profile))
	}
	next := s.turns.round
	for _, every := range slices.Sorted(maps.Keys(s.turns.others)) {
		other := s.turns.others[every]
		if began := time.Now(); !began.Before(other.due) || len(other.targets) == 0 {
			if err := s.turn(ctx, other); err != nil && ctx.Err() == nil {
				s.Log.Error("what was measured is lost", "interval", every, "error", err)
			}
			other.due = following(began, every)
		}
		if len(other.targets) == 0 && len(other.before.bodies) == 0 {
			delete(s.turns.others, every)
		} else if other.due.Before(next) {
			next = other.due
		}
	}
	return max(time.Until(next), 0)
}

// following is when something is due again that is measured every so often, and began at a time: what takes long leaves a pause.
func following(began time.Time, every time.Duration) time.Time {
	return began.Add(max(every, time.Since(began)+every/4))
}

// turn asks the pods of one interval.
func (s *Scraper) turn(ctx context.Context, t *turn) error {
	b := newBatch(s.Put, t.before)
	defer func() { t.before.failed = b.now.failed }()
	if err := s.askAll(ctx, b, nil, s.ofPods(t.targets)); err != nil {
		return err
	}
	return s.close(ctx, b, &t.before, true)
}

// end says that all has ended that was measured before.
func (s *Scraper) end() error {
	all := []*past{&s.turns.before}
	for _, other := range s.turns.others {
		all = append(all, &other.before)
	}
	for _, before := range all {
		if err := newBatch(s.Put, *before).ends(s.Now(), true); err != nil {
			return err
		}
		*before = past{}
	}
	s.turns = turns{}
	return nil
}
