package source_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"umbel.dev/umbel/internal/delivery/source"
)

// servers answer at once, but for dead ones: they fail the first time, and then do not answer at all.
type servers struct {
	silent chan string // those that do not answer

	mu     sync.Mutex
	failed map[string]bool
}

func (s *servers) Resolve(ctx context.Context, ref source.Ref, _ source.Credentials) (source.Revision, error) {
	if !strings.HasPrefix(ref.URL, "dead") {
		return source.Revision{ID: ref.URL}, nil
	}
	s.mu.Lock()
	first := !s.failed[ref.URL]
	s.failed[ref.URL] = true
	s.mu.Unlock()
	if first {
		return source.Revision{}, errors.New("the connection was refused")
	}
	s.silent <- ref.URL
	<-ctx.Done()
	return source.Revision{}, ctx.Err()
}

func (*servers) Tree(source.Ref, string) (fs.FS, error) { return nil, errors.New("nobody asks") }

// TestServersThatDoNotAnswer: however many there are, they hold up no other one.
func TestServersThatDoNotAnswer(t *testing.T) {
	const dead = 6
	by, fetched := &servers{silent: make(chan string, dead), failed: map[string]bool{}}, make(chan source.Ref, 2*dead)
	f := source.New(source.Needs{
		Readers: map[source.Kind]source.Reader{source.Git: by}, Parallel: 2, Timeout: time.Hour, Log: slog.New(slog.DiscardHandler),
		Fetched: func(_ context.Context, ref source.Ref) { fetched <- ref },
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
	ask := func(name string) { f.Head(source.Ref{Kind: source.Git, URL: name, Name: "main"}, time.Now()) }
	for i := range dead {
		ask(fmt.Sprint("dead", i))
	}
	for range dead {
		<-fetched
	}
	for i := range dead {
		ask(fmt.Sprint("dead", i))
	}
	<-by.silent
	ask("good")
	select {
	case ref := <-fetched:
		if ref.URL != "good" {
			t.Errorf("%s was fetched", ref.URL)
		}
	case <-time.After(30 * time.Second):
		t.Error("a server that answers is not asked while others do not")
	}
	if n := len(by.silent); n != 0 {
		t.Errorf("%d more that do not answer are asked at once than there is room for", n)
	}
}
