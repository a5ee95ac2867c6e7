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

// Onward is given what was kept.
type Onward interface {
	// Wanted says whether anybody wants it now. It is asked before something is written, and costs nothing.
	Wanted() bool
	// Take takes what was kept. It waits for no disk, unless that has not kept up for long, and keeps none of the slice.
	Take([]Sample)
}

// appender returns an appender whose samples go onward, once they are kept.
func (s *Store) appender(ctx context.Context) storage.Appender {
	app := s.db.Appender(ctx)
	if s.Onward == nil || !s.Onward.Wanted() {
		return app
	}
	return &tee{Appender: app, onward: s.Onward.Take}
}

// Appender implements storage.Appendable: it is where rules, and the hub itself, write what they make.
func (s *Store) Appender(ctx context.Context) storage.Appender {
	if s.Leads != nil && !s.Leads() {
		return s.db.Appender(ctx)
	}
	return s.appender(ctx)
}

// tee remembers what is appended until it is kept.
type tee struct {
	storage.Appender
	onward  func([]Sample)
	samples []Sample
}

// GetRef implements storage.GetRef.
func (t *tee) GetRef(set labels.Labels, hash uint64) (storage.SeriesRef, labels.Labels) {
	return t.Appender.(storage.GetRef).GetRef(set, hash) // the database's own, which implements it
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
