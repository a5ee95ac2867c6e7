package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Together is several Sources as one, such as the logs of a hub's replicas: by their names, in the order of time. What one of
// them fails with is returned at the end, with its name; what the others have is read all the same.
type Together map[string]Source

// Read implements Source. What is followed comes as it happens: nobody waits for a Source that is silent.
func (t Together) Read(ctx context.Context, query Query, yield func(line []byte) error) (Report, error) {
	if !query.Follow {
		return t.inOrder(ctx, query, yield)
	}
	past, future := query, query
	now := time.Now()
	past.Follow, past.Until = false, now
	if future.Since.Before(now) {
		future.Since = now
	}
	report, err := t.inOrder(ctx, past, yield)
	if err != nil {
		return report, err
	}
	rest, err := t.asTheyCome(ctx, future, yield)
	report.add(rest)
	return report, err
}

// dated is a line on its way, or how its Source ended.
type dated struct {
	at   time.Time
	text []byte
}

// stream is one Source that is being read.
type stream struct {
	lines  chan dated
	head   dated
	report Report
	err    error // once lines is closed
}

// open reads all Sources, each into a channel of its own. The caller cancels ctx and waits for the group in the end.
func (t Together) open(ctx context.Context, query Query, reading *sync.WaitGroup) []*stream {
	var streams []*stream
	for name, source := range t {
		s := &stream{lines: make(chan dated, 64)}
		streams = append(streams, s)
		reading.Go(func() {
			defer close(s.lines)
			report, err := source.Read(ctx, query, func(text []byte) error {
				select {
				case s.lines <- dated{timeOf(text), bytes.Clone(text)}:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			if s.report = report; err != nil {
				s.err = fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	return streams
}

// timeOf returns when the event of a line happened.
func timeOf(text []byte) time.Time {
	var event line
	if err := json.Unmarshal(text, &event); err != nil {
		return time.Time{}
	}
	return event.StageTimestamp
}

func (t Together) inOrder(ctx context.Context, query Query, yield func(line []byte) error) (Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	var report Report
	var failed []error
	next := func(s *stream) bool {
		var more bool
		if s.head, more = <-s.lines; !more {
			report.add(s.report)
			failed = append(failed, s.err)
		}
		return more
	}
	open := slices.DeleteFunc(t.open(ctx, query, &reading), func(s *stream) bool { return !next(s) })
	for len(open) > 0 {
		first := slices.MinFunc(open, func(a, b *stream) int { return a.head.at.Compare(b.head.at) })
		if err := yield(first.head.text); err != nil {
			return report, err
		}
		if !next(first) {
			open = slices.DeleteFunc(open, func(s *stream) bool { return s == first })
		}
	}
	return report, errors.Join(failed...)
}

func (t Together) asTheyCome(ctx context.Context, query Query, yield func(line []byte) error) (Report, error) {
	following, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var reading, passing sync.WaitGroup
	streams := t.open(following, query, &reading)
	var mu sync.Mutex
	for _, s := range streams {
		passing.Go(func() {
			for event := range s.lines {
				mu.Lock()
				err := yield(event.text)
				mu.Unlock()
				if err != nil {
					cancel(err) // the Sources end, and with them their lines
					return
				}
			}
			cancel(s.err) // one that is lost ends it, or nobody would know what is missing
		})
	}
	passing.Wait()
	reading.Wait()
	var report Report
	for _, s := range streams {
		report.add(s.report)
	}
	if ctx.Err() != nil {
		return report, nil
	}
	return report, context.Cause(following)
}
