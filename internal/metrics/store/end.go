package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/request"
)

// lookback is for how long a series is found after its last sample, unless it is marked as ended: PromQL's default.
const lookback = 5 * time.Minute

// End marks all that a cluster sent as ended: it is not in the fleet any more, so that nobody else will. What the hub says of it ends by itself (Say).
func (s *Store) End(ctx context.Context, at time.Time, cluster v1alpha1.ClusterName) error {
	q, err := s.db.Querier(at.Add(-lookback).UnixMilli(), at.Add(early).UnixMilli())
	if err != nil {
		return fmt.Errorf("reading what cluster %q sent last: %w", cluster, err)
	}
	defer q.Close()
	app := s.Appender(ctx)
	found := q.Select(ctx, false, nil, labels.MustNewMatcher(labels.MatchEqual, clusterLabel, string(cluster)))
	var samples chunkenc.Iterator
	for found.Next() {
		set := found.At().Labels()
		samples = found.At().Iterator(samples)
		last, of := at.UnixMilli()-1, 0.0
		for samples.Next() == chunkenc.ValFloat {
			millis, v := samples.At()
			last, of = max(last, millis), v // the cluster's clock may be ahead
		}
		if value.IsStaleNaN(of) || Reserved(set.Get(nameLabel)) {
			continue
		}
		if _, err := app.Append(0, set, last+1, request.Ended); untimely(err) != nil {
			return errors.Join(fmt.Errorf("writing the end of %s: %w", set, err), app.Rollback())
		}
	}
	if err := found.Err(); err != nil {
		return errors.Join(fmt.Errorf("reading what cluster %q sent last: %w", cluster, err), app.Rollback())
	}
	if err := app.Commit(); err != nil {
		return fmt.Errorf("writing that cluster %q has ended: %w", cluster, err)
	}
	return nil
}
