package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"
)

// Needs is what a Fetcher needs.
type Needs struct {
	// Readers read the sources, each those of a kind.
	Readers map[Kind]Reader
	// Credentials reads the Secret that a Ref names. Errors are *Error. It is not called for a Ref without one.
	Credentials func(context.Context, Ref) (Credentials, error)
	// Timeout is how long one fetch may take. The default is two minutes.
	Timeout time.Duration
	// Parallel is how many fetches run at a time. The default is 8.
	Parallel int
	// Fetched is called after each fetch, from its goroutine. It must not block.
	Fetched func(context.Context, Ref)
	// Used lists the Refs that are needed. Without it nothing is tidied.
	Used func(context.Context) ([]Ref, error)
	// Log gets what was fetched.
	Log *slog.Logger
	// Now is the clock. The default is time.Now.
	Now func() time.Time
}

// Fetcher fetches repositories in the background, from Start on.
type Fetcher struct {
	needs Needs
	wake  chan struct{}

	mu   sync.Mutex
	refs map[Ref]*refState
}

type refState struct {
	head    Head
	wanted  bool // a fetch has to start
	running bool
	began   time.Time
}

// New returns a Fetcher. Start runs it.
func New(needs Needs) *Fetcher {
	if needs.Timeout == 0 {
		needs.Timeout = 2 * time.Minute
	}
	if needs.Parallel == 0 {
		needs.Parallel = 8
	}
	if needs.Fetched == nil {
		needs.Fetched = func(context.Context, Ref) {}
	}
	if needs.Now == nil {
		needs.Now = time.Now
	}
	return &Fetcher{needs: needs, wake: make(chan struct{}, 1), refs: map[Ref]*refState{}}
}

// Head returns what is known of the Ref at once. fresh says whether a fetch that began at or after notBefore stands
// behind it; when not, one is under way when Head returns, and Fetched will be called when it ends.
func (f *Fetcher) Head(ref Ref, notBefore time.Time) (head Head, fresh bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	state := f.refs[ref]
	if state == nil {
		state = &refState{}
		f.refs[ref] = state
	}
	if !state.head.At.IsZero() && !state.head.At.Before(notBefore) {
		return state.head, true
	}
	if !state.running || state.began.Before(notBefore) {
		state.wanted = true
		f.rouse()
	}
	return state.head, false
}

// Start fetches what is asked for until the context ends, then waits for the fetches under way.
func (f *Fetcher) Start(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	if f.needs.Used != nil {
		running.Go(func() { f.keep(ctx) })
	}
	for {
		for _, ref := range f.due() {
			running.Go(func() { f.fetch(ctx, ref) })
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// due takes the Refs that have to be fetched and are not being fetched, as many as there is room for. Those that failed the last
// time have half of it: servers that do not answer, however many there are, hold up no other one.
func (f *Fetcher) due() []Ref {
	f.mu.Lock()
	defer f.mu.Unlock()
	room, second := f.needs.Parallel, max(1, f.needs.Parallel/2)
	for _, state := range f.refs {
		if state.running {
			room--
			second -= state.failures()
		}
	}
	var due []Ref
	for ref, state := range f.refs {
		if !state.wanted || state.running || room <= 0 || second < state.failures() {
			continue
		}
		room--
		second -= state.failures()
		state.wanted, state.running, state.began = false, true, f.needs.Now()
		due = append(due, ref)
	}
	return due
}

// failures is 1 when the last fetch failed, and 0 when it did not.
func (s *refState) failures() int {
	if s.head.Err != nil {
		return 1
	}
	return 0
}

// fetch fetches one Ref and tells of it.
func (f *Fetcher) fetch(ctx context.Context, ref Ref) {
	limited, cancel := context.WithTimeout(ctx, f.needs.Timeout)
	defer cancel()
	revision, err := f.resolve(limited, ref)

	f.mu.Lock()
	state := f.refs[ref]
	state.running = false
	state.head.At, state.head.Err = state.began, err
	if err == nil {
		state.head.Revision = revision
	}
	head := state.head
	f.mu.Unlock()
	f.rouse()

	f.needs.Log.Debug("fetched", "url", Redact(ref.URL), "version", ref.Version(), "revision", head.ID, "error", head.Err)
	f.needs.Fetched(ctx, ref)
}

// rouse has somebody look at what is due: something is asked for, or there is room.
func (f *Fetcher) rouse() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// resolve asks the Reader of the Ref's kind.
func (f *Fetcher) resolve(ctx context.Context, ref Ref) (Revision, error) {
	reader := f.needs.Readers[ref.Kind]
	if reader == nil {
		return Revision{}, Explain(ref, fmt.Errorf("this hub reads no sources of kind %q", ref.Kind), Credentials{})
	}
	var with Credentials
	if ref.Secret != "" {
		var err error
		if with, err = f.needs.Credentials(ctx, ref); err != nil {
			return Revision{}, Explain(ref, err, with)
		}
	}
	revision, err := reader.Resolve(ctx, ref, with)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // whatever a library makes of it
	}
	if err != nil {
		return Revision{}, Explain(ref, err, with)
	}
	return revision, nil
}

// Tree opens a revision that was fetched as a file system whose root is the source's, after checking that folder is a
// folder in it. It is for one goroutine. Errors are *Error: PathNotFound, or FetchFailed when the cache does not have the
// revision.
func (f *Fetcher) Tree(ref Ref, revision, folder string) (fs.FS, error) {
	reader := f.needs.Readers[ref.Kind]
	if reader == nil {
		return nil, Explain(ref, fmt.Errorf("this hub reads no sources of kind %q", ref.Kind), Credentials{})
	}
	tree, err := reader.Tree(ref, revision)
	if err != nil {
		return nil, Explain(ref, err, Credentials{})
	}
	info, err := fs.Stat(tree, Clean(folder))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, pathNotFound("path %q does not exist in %s of %s", folder, revisionOf(ref.Kind, revision), Redact(ref.URL))
	case err != nil:
		return nil, Explain(ref, fmt.Errorf("reading path %q: %w", folder, err), Credentials{})
	case !info.IsDir():
		return nil, pathNotFound("path %q is no folder in %s of %s", folder, revisionOf(ref.Kind, revision), Redact(ref.URL))
	}
	return tree, nil
}

// Evidence returns what a revision is signed with. Errors are *Error: FetchFailed when the cache does not have it.
func (f *Fetcher) Evidence(ref Ref, of Revision) (Evidence, error) {
	witness, ok := f.needs.Readers[ref.Kind].(Witness)
	if !ok {
		return Evidence{}, Explain(ref, fmt.Errorf("sources of kind %q are not signed", ref.Kind), Credentials{})
	}
	evidence, err := witness.Evidence(ref, of)
	if err != nil {
		return Evidence{}, Explain(ref, err, Credentials{})
	}
	return evidence, nil
}

// Before says whether one revision is an ancestor of another; false where that cannot be told.
func (f *Fetcher) Before(ref Ref, one, other string) bool {
	witness, ok := f.needs.Readers[ref.Kind].(Witness)
	if !ok {
		return false
	}
	before, err := witness.Before(ref, one, other)
	return err == nil && before
}

func revisionOf(kind Kind, revision string) string {
	if kind == Git {
		return "commit " + Short(revision)
	}
	return "version " + Short(revision)
}
