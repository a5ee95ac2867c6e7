package store

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// Sample is one that was kept.
type Sample struct {
	Labels labels.Labels
	Millis int64
	Value  float64
}

// appender returns an appender whose samples go onward, once they are kept.
func (s *Store) appender(ctx context.Context) storage.Appender {
	app := s.db.Appender(ctx)
	if s.Onward == nil {
		return app
	}
	return &tee{Appender: app, onward: s.Onward}
}

// Appender implements storage.Appendable: it is where rules write what they make.
func (s *Store) Appender(ctx context.Context) storage.Appender { return s.appender(ctx) }

// tee remembers what is appended until it is kept.
type tee struct {
	storage.Appender
	onward  func([]Sample)
	samples []Sample
}

// Append implements storage.Appender. Whoever calls it gives the labels each time.
func (t *tee) Append(ref storage.SeriesRef, set labels.Labels, millis int64, value float64) (storage.SeriesRef, error) {
	ref, err := t.Appender.Append(ref, set, millis, value)
	if err == nil {
		t.samples = append(t.samples, Sample{set, millis, value})
	}
	return ref, err
}

// Commit implements storage.Appender.
func (t *tee) Commit() error {
	if err := t.Appender.Commit(); err != nil {
		return err
	}
	t.onward(t.samples)
	t.samples = nil
	return nil
}

// Rollback implements storage.Appender.
func (t *tee) Rollback() error {
	t.samples = nil
	return t.Appender.Rollback()
}
