package source

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Ref names a branch, a tag or a commit of a repository.
type Ref struct {
	// URL of the repository: https, http or file.
	URL string
	// Name of a branch or a tag, or the full hash of a commit.
	Name string
}

// Head is what a Ref pointed at.
type Head struct {
	// Commit is its full hash. After a failure it is the last one that was found, or empty.
	Commit string
	// Err says why the last fetch failed, as an *Error; nil when it did not.
	Err error
	// At is when the last fetch began; zero when there was none.
	At time.Time
}

// Needs is what a Fetcher needs.
type Needs struct {
	// Dir is the folder of the mirrors.
	Dir string
	// Local are the folders of this machine's disk in which file:// repositories may be read. The default is none.
	Local []string
	// Timeout is how long one fetch may take. The default is two minutes.
	Timeout time.Duration
	// Parallel is how many fetches run at a time. The default is 8.
	Parallel int
	// Limits bound what is read of one Tree. The default is DefaultLimits.
	Limits Limits
	// Fetched is called after each fetch, from its goroutine. It must not block.
	Fetched func(context.Context, Ref)
	// Log gets what was fetched.
	Log *slog.Logger
	// Now is the clock. The default is time.Now.
	Now func() time.Time
}

// Fetcher fetches repositories in the background, from Start on.
type Fetcher struct {
	needs Needs
	wake  chan struct{}

	mu      sync.Mutex
	refs    map[Ref]*refState
	mirrors map[string]*mirror
}

type refState struct {
	head    Head
	wanted  bool // a fetch has to start
	running bool
	began   time.Time
}

// New returns a Fetcher. Start runs it.
func New(needs Needs) (*Fetcher, error) {
	if needs.Timeout == 0 {
		needs.Timeout = 2 * time.Minute
	}
	if needs.Parallel == 0 {
		needs.Parallel = 8
	}
	if needs.Limits == (Limits{}) {
		needs.Limits = DefaultLimits
	}
	if needs.Fetched == nil {
		needs.Fetched = func(context.Context, Ref) {}
	}
	if needs.Now == nil {
		needs.Now = time.Now
	}
	if err := os.MkdirAll(needs.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the mirrors: %w", err)
	}
	return &Fetcher{
		needs: needs, wake: make(chan struct{}, 1),
		refs: map[Ref]*refState{}, mirrors: map[string]*mirror{},
	}, nil
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
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
	return state.head, false
}

// Start fetches what is asked for until the context ends, then waits for the fetches under way.
func (f *Fetcher) Start(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, f.needs.Parallel)
	for {
		for _, ref := range f.due() {
			running.Go(func() {
				select {
				case slots <- struct{}{}:
					defer func() { <-slots }()
					f.fetch(ctx, ref)
				case <-ctx.Done():
				}
			})
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// due takes the Refs that have to be fetched and are not being fetched.
func (f *Fetcher) due() []Ref {
	f.mu.Lock()
	defer f.mu.Unlock()
	var due []Ref
	for ref, state := range f.refs {
		if state.wanted && !state.running {
			state.wanted, state.running = false, true
			state.began = f.needs.Now()
			due = append(due, ref)
		}
	}
	return due
}

// fetch fetches one Ref and tells of it.
func (f *Fetcher) fetch(ctx context.Context, ref Ref) {
	limited, cancel := context.WithTimeout(ctx, f.needs.Timeout)
	defer cancel()
	m := f.mirror(ref.URL)
	m.mu.Lock()
	f.mu.Lock()
	began := f.needs.Now() // the wait for a slot or for the mirror is not part of it
	f.refs[ref].began = began
	f.mu.Unlock()
	var commit string
	err := permit(ref, f.needs.Local)
	if err == nil {
		commit, err = m.update(limited, ref)
	}
	m.mu.Unlock()

	f.mu.Lock()
	state := f.refs[ref]
	state.running = false
	state.head.At, state.head.Err = began, nil
	if err != nil {
		state.head.Err = explain(ref, err)
	} else {
		state.head.Commit = commit
	}
	head, again := state.head, state.wanted
	f.mu.Unlock()

	f.needs.Log.Debug("fetched", "url", redact(ref.URL), "ref", ref.Name, "commit", head.Commit, "error", head.Err)
	if again {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
	f.needs.Fetched(ctx, ref)
}

func (f *Fetcher) mirror(url string) *mirror {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.mirrors[url]
	if m == nil {
		m = &mirror{dir: mirrorDir(f.needs.Dir, url), url: url}
		f.mirrors[url] = m
	}
	return m
}

// Tree opens a commit that was fetched as a file system whose root is the repository's, after checking that folder is
// a folder in it. It is for one goroutine. Errors are *Error: PathNotFound, or FetchFailed when the mirror does not
// have the commit.
func (f *Fetcher) Tree(url, commit, folder string) (fs.FS, error) {
	m := f.mirror(url)
	tree, err := m.tree(commit, f.needs.Limits)
	if err != nil {
		return nil, explain(Ref{URL: url, Name: commit}, err)
	}
	info, err := fs.Stat(tree, clean(folder))
	switch {
	case notExist(err):
		return nil, pathNotFound("path %q does not exist in commit %.12s of %s", folder, commit, redact(url))
	case err != nil:
		return nil, explain(Ref{URL: url, Name: commit}, fmt.Errorf("reading path %q: %w", folder, err))
	case !info.IsDir():
		return nil, pathNotFound("path %q is no folder in commit %.12s of %s", folder, commit, redact(url))
	}
	return tree, nil
}
