package source_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/delivery/source"
)

// tidied is a Reader that notes what it was asked to keep, and how often it was asked for a revision.
type tidied struct {
	servers
	kept []source.Ref
}

func (r *tidied) Tidy(_ context.Context, used []source.Ref, _ time.Time) error {
	r.kept = used
	return nil
}

// TestTidy: what no Package names any more is forgotten after an hour, and nothing is while that is not known.
func TestTidy(t *testing.T) {
	reader, fetched := &tidied{servers: servers{failed: map[string]bool{}}}, make(chan source.Ref, 10)
	one, other := source.Ref{Kind: source.Git, URL: "one"}, source.Ref{Kind: source.Git, URL: "other"}
	var mu sync.Mutex
	now, used, unknown := time.Now(), []source.Ref{one, {Kind: source.OCI, URL: "of another reader"}}, errors.New("the API is away")
	f := source.New(source.Needs{
		Readers: map[source.Kind]source.Reader{source.Git: reader}, Log: slog.New(slog.DiscardHandler),
		Fetched: func(_ context.Context, ref source.Ref) { fetched <- ref },
		Used:    func(context.Context) ([]source.Ref, error) { return used, unknown },
		Now: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := f.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	defer running.Wait()
	defer cancel()
	for _, ref := range []source.Ref{one, other} {
		f.Head(ref, now)
		<-fetched
	}
	known := func(ref source.Ref) bool {
		head, _ := f.Head(ref, time.Time{})
		return head.ID != ""
	}
	later := func(after time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(after)
	}
	later(2 * time.Hour)
	if err := f.Tidy(ctx); !errors.Is(err, unknown) || reader.kept != nil || !known(other) {
		t.Errorf("while it is not known what is used: %v, %v", err, reader.kept)
	}
	unknown = nil
	later(-2 * time.Hour)
	if err := f.Tidy(ctx); err != nil || !known(other) {
		t.Errorf("what was asked for lately is forgotten: %v", err)
	}
	later(2 * time.Hour)
	if err := f.Tidy(ctx); err != nil || known(other) || !known(one) {
		t.Errorf("after two hours: %v; known are one: %v, other: %v", err, known(one), known(other))
	}
	if diff := cmp.Diff([]source.Ref{one}, reader.kept); diff != "" {
		t.Errorf("the reader was asked to keep (-want +got):\n%s", diff)
	}
}
