package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"umbel.dev/umbel/internal/metrics/request"
)

// Fact is a sample of a series that the hub says itself.
type Fact struct {
	Labels labels.Labels
	Value  float64
}

// Say writes what the hub knows at a time. What it said before and does not any more is marked as ended: it is not
// found from then on, and not for five minutes more.
func (s *Store) Say(ctx context.Context, at time.Time, facts []Fact) error {
	s.own.Lock()
	defer s.own.Unlock()
	app := s.Appender(ctx)
	now := make(map[string]labels.Labels, len(facts))
	for _, f := range facts {
		now[string(f.Labels.Bytes(nil))] = f.Labels
		s.names.say("", f.Labels.Get(nameLabel), request.Gauge)
		if _, err := app.Append(0, f.Labels, at.UnixMilli(), f.Value); untimely(err) != nil {
			return errors.Join(fmt.Errorf("writing %s: %w", f.Labels, err), app.Rollback())
		}
	}
	for key, set := range s.said {
		if _, still := now[key]; still {
			continue
		}
		if _, err := app.Append(0, set, at.UnixMilli(), request.Ended); untimely(err) != nil {
			return errors.Join(fmt.Errorf("writing the end of %s: %w", set, err), app.Rollback())
		}
	}
	if err := app.Commit(); err != nil {
		return fmt.Errorf("writing what the hub knows: %w", err)
	}
	s.said = now
	return nil
}

// untimely leaves out that a sample is not later than the one before: the clock was set back.
func untimely(err error) error {
	if errors.Is(err, storage.ErrOutOfOrderSample) || errors.Is(err, storage.ErrDuplicateSampleForTimestamp) || errors.Is(err, storage.ErrOutOfBounds) || errors.Is(err, storage.ErrTooOldSample) {
		return nil
	}
	return err
}
