package git_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/git"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// fetcher is a running Fetcher of Git repositories and what it told.
type fetcher struct {
	*source.Fetcher
	t    *testing.T
	told chan source.Ref
	dir  string
}

// settings are what a test changes of a fetcher.
type settings struct {
	git.Config
	timeout time.Duration
}

func start(t *testing.T, change func(*settings)) *fetcher {
	t.Helper()
	f := &fetcher{t: t, told: make(chan source.Ref, 1000), dir: t.TempDir()}
	s := settings{Config: git.Config{Dir: f.dir, Local: []string{os.TempDir()}}}
	if change != nil {
		change(&s)
	}
	reader, err := git.New(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	f.Fetcher = source.New(source.Needs{
		Readers: map[source.Kind]source.Reader{source.Git: reader}, Timeout: s.timeout,
		Log: slog.New(slog.DiscardHandler), Fetched: func(_ context.Context, r source.Ref) { f.told <- r },
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = f.Start(ctx) }) // it has no error to give
	t.Cleanup(func() { cancel(); running.Wait() })
	return f
}

func refOf(url, name string) source.Ref { return source.Ref{Kind: source.Git, URL: url, Name: name} }

// fetch returns the Head as of now, after the fetch that it takes.
func (f *fetcher) fetch(url, name string) source.Head {
	f.t.Helper()
	ref, now := refOf(url, name), time.Now()
	for {
		if head, fresh := f.Head(ref, now); fresh {
			return head
		}
		<-f.told
	}
}

func (f *fetcher) read(url, commit, name string) string {
	f.t.Helper()
	tree, err := f.Tree(refOf(url, ""), commit, ".")
	if err != nil {
		f.t.Fatal(err)
	}
	content, err := fs.ReadFile(tree, name)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(content)
}

func reason(err error) string {
	if known, ok := errors.AsType[*source.Error](err); ok {
		return known.Reason
	}
	return ""
}

// TestFetch runs the same story over both transports.
func TestFetch(t *testing.T) {
	for _, transport := range []string{"file", "http"} {
		t.Run(transport, func(t *testing.T) {
			repo := sourcetest.New(t)
			first := repo.Commit(map[string]string{"a/x.yaml": "one"})
			url := repo.URL()
			if transport == "http" {
				url = repo.Serve(nil)
			}
			f := start(t, nil)
			if head := f.fetch(url, "main"); head.Err != nil || head.ID != first {
				t.Fatalf("first fetch: %+v, want %s", head, first)
			}
			if got := f.read(url, first, "a/x.yaml"); got != "one" {
				t.Errorf("read %q", got)
			}
			second := repo.Commit(map[string]string{"a/x.yaml": "two"})
			if head := f.fetch(url, "main"); head.Err != nil || head.ID != second {
				t.Errorf("after a commit: %+v, want %s", head, second)
			}
			if one, two := f.read(url, first, "a/x.yaml"), f.read(url, second, "a/x.yaml"); one != "one" || two != "two" {
				t.Errorf("the commits hold %q and %q", one, two)
			}
			repo.Git("tag", "-a", "-m", "a tag", "v1", first)
			repo.Git("tag", "light", first)
			repo.Git("branch", "side/branch", first)
			for _, name := range []string{"v1", "light", "side/branch", first} {
				if head := f.fetch(url, name); head.Err != nil || head.ID != first {
					t.Errorf("ref %q: %+v, want %s", name, head, first)
				}
			}
			repo.Git("reset", "--quiet", "--hard", first)
			forced := repo.Commit(map[string]string{"a/x.yaml": "forced"})
			repo.Git("reflog", "expire", "--expire=now", "--all")
			repo.Git("gc", "--quiet", "--prune=now")
			if head := f.fetch(url, "main"); head.Err != nil || head.ID != forced {
				t.Errorf("after a force push: %+v, want %s", head, forced)
			}
			if got := f.read(url, second, "a/x.yaml"); got != "two" {
				t.Errorf("what the force push threw away reads %q from the mirror, want two", got)
			}
		})
	}
}

// TestTheHubsOwnDisk: who can make a Package may not read every repository of the hub's machine.
func TestTheHubsOwnDisk(t *testing.T) {
	allowed, secret := sourcetest.New(t), sourcetest.New(t)
	for _, repo := range []*sourcetest.Repository{allowed, secret} {
		repo.Commit(map[string]string{"a.yaml": "a"})
	}
	shared := t.TempDir()
	for name, target := range map[string]string{"fleet.git": allowed.Dir, "sneaky.git": secret.Dir} {
		if err := os.Symlink(target, filepath.Join(shared, name)); err != nil {
			t.Fatal(err)
		}
	}
	f := start(t, func(n *settings) { n.Local = []string{shared, allowed.Dir + "/"} })
	for _, tc := range []struct {
		reason, url string
		want        string // the reason of the refusal; empty when it is read
	}{
		{reason: "a folder that was named", url: allowed.URL()},
		{reason: "below one", url: allowed.URL() + "/.git"},
		{reason: "a link that leads to one", url: "file://" + shared + "/fleet.git"},
		{reason: "another folder", url: secret.URL(), want: v1alpha1.ReasonSourceNotAllowed},
		{reason: "a link that leads out", url: "file://" + shared + "/sneaky.git", want: v1alpha1.ReasonSourceNotAllowed},
		{reason: "a way out", url: allowed.URL() + "/../" + filepath.Base(secret.Dir), want: v1alpha1.ReasonSourceNotAllowed},
		{reason: "a folder whose name begins alike", url: allowed.URL() + "x", want: v1alpha1.ReasonSourceNotAllowed},
		{reason: "a plain path", url: secret.Dir, want: v1alpha1.ReasonSourceNotAllowed},
		{reason: "nothing is there", url: "file://" + shared + "/none", want: v1alpha1.ReasonFetchFailed},
		{reason: "nothing is there, where nothing is read", url: "file:///nowhere", want: v1alpha1.ReasonSourceNotAllowed},
		{reason: "over HTTP", url: secret.Serve(nil)},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			head := f.fetch(tc.url, "main")
			var got string
			if known, ok := errors.AsType[*source.Error](head.Err); ok {
				got = known.Reason
			}
			if got != tc.want {
				t.Errorf("got %q (%v), want %q", got, head.Err, tc.want)
			}
			if got == v1alpha1.ReasonSourceNotAllowed && (!strings.Contains(head.Err.Error(), "spec.source.git.url: "+tc.url) ||
				!strings.Contains(head.Err.Error(), "--allow-local-sources")) {
				t.Errorf("%q does not name the field, the address and what to do", head.Err)
			}
		})
	}
}

// TestFailures breaks repositories in every way that people do. The last good commit has to stay.
func TestFailures(t *testing.T) {
	for _, tc := range []struct {
		reason  string
		breakIt func(t *testing.T, repo *sourcetest.Repository)
		name    string
		want    string
		message string
	}{
		{reason: "the repository is gone", breakIt: func(t *testing.T, repo *sourcetest.Repository) {
			if err := os.Rename(repo.Dir, repo.Dir+".away"); err != nil {
				t.Fatal(err)
			}
		}, want: v1alpha1.ReasonFetchFailed, message: "there is no repository at this address"},
		{reason: "its objects are damaged", breakIt: func(t *testing.T, repo *sourcetest.Repository) {
			repo.Commit(map[string]string{"a.yaml": "lost"})
			objects := filepath.Join(repo.Dir, ".git", "objects")
			if err := os.RemoveAll(objects); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(objects, "pack"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, want: v1alpha1.ReasonFetchFailed, message: "fetching file://"},
		{reason: "it has been emptied", breakIt: func(t *testing.T, repo *sourcetest.Repository) {
			if err := os.RemoveAll(filepath.Join(repo.Dir, ".git")); err != nil {
				t.Fatal(err)
			}
			repo.Git("init", "--quiet", "--initial-branch=main")
		}, want: v1alpha1.ReasonRefNotFound, message: `the repository is empty, so it has no "main"`},
		{reason: "the branch is gone", breakIt: func(_ *testing.T, repo *sourcetest.Repository) {
			repo.Git("branch", "-m", "main", "trunk")
		}, want: v1alpha1.ReasonRefNotFound, message: `there is no branch or tag "main"`},
		{reason: "a commit that never was", breakIt: func(*testing.T, *sourcetest.Repository) {},
			name: strings.Repeat("ab", 20), want: v1alpha1.ReasonRefNotFound, message: "there is no commit abab"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			repo := sourcetest.New(t)
			good := repo.Commit(map[string]string{"a.yaml": "good"})
			f := start(t, nil)
			if head := f.fetch(repo.URL(), "main"); head.Err != nil {
				t.Fatal(head.Err)
			}
			tc.breakIt(t, repo)
			name := "main"
			if tc.name != "" {
				name = tc.name
			}
			head := f.fetch(repo.URL(), name)
			if head.Err == nil || reason(head.Err) != tc.want || !strings.Contains(head.Err.Error(), tc.message) {
				t.Errorf("got %q, %v; want %s that says %q", reason(head.Err), head.Err, tc.want, tc.message)
			}
			if name == "main" && head.ID != good {
				t.Errorf("the last good commit is %q, want %s", head.ID, good)
			}
			if got := f.read(repo.URL(), good, "a.yaml"); got != "good" {
				t.Errorf("the last good commit reads %q", got)
			}
		})
	}
}

func TestServersThatRefuse(t *testing.T) {
	answer := func(code int) func(http.Handler) http.Handler {
		return func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
		}
	}
	hang := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	}
	cut := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "git-upload-pack") {
				w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
				_, _ = w.Write([]byte("0008NAK\nPACK"))
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	}
	for _, tc := range []struct {
		reason     string
		middleware func(http.Handler) http.Handler
		message    string
		want       string // FetchFailed where it is empty
	}{
		{reason: "credentials are asked for", middleware: answer(http.StatusUnauthorized), message: "wants credentials", want: v1alpha1.ReasonUnauthorized},
		{reason: "access is refused", middleware: answer(http.StatusForbidden), message: "wants credentials, or refuses", want: v1alpha1.ReasonUnauthorized},
		{reason: "there is nothing", middleware: answer(http.StatusNotFound), message: "there is no repository"},
		{reason: "the server fails", middleware: answer(http.StatusInternalServerError), message: "500"},
		{reason: "the server never answers", middleware: hang, message: "no complete answer in time"},
		{reason: "the answer is cut short", middleware: cut, message: "fetching http://"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			repo := sourcetest.New(t)
			repo.Commit(map[string]string{"a.yaml": "x"})
			url := strings.Replace(repo.Serve(tc.middleware), "http://", "http://somebody:s3cret@", 1)
			f := start(t, func(n *settings) {
				if tc.message == "no complete answer in time" {
					n.timeout = 50 * time.Millisecond
				}
			})
			head := f.fetch(url, "main")
			want := tc.want
			if want == "" {
				want = v1alpha1.ReasonFetchFailed
			}
			if reason(head.Err) != want || !strings.Contains(head.Err.Error(), tc.message) {
				t.Errorf("got %q, %v; want %s that says %q", reason(head.Err), head.Err, want, tc.message)
			}
			if strings.Contains(head.Err.Error(), "s3cret") {
				t.Errorf("the error tells the password: %v", head.Err)
			}
		})
	}
}

// TestOneFetchForMany: what many ask for at the same time is fetched once, or twice when the first had begun.
func TestOneFetchForMany(t *testing.T) {
	repo := sourcetest.New(t)
	commit := repo.Commit(map[string]string{"a.yaml": "x"})
	var lists atomic.Int32
	url := repo.Serve(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/info/refs") {
				lists.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	})
	f := start(t, nil)
	f.fetch(url, "main")
	lists.Store(0)
	now := time.Now()
	var askers sync.WaitGroup
	for range 50 {
		askers.Go(func() { f.Head(refOf(url, "main"), now) })
	}
	askers.Wait()
	for {
		if head, fresh := f.Head(refOf(url, "main"), now); fresh {
			if head.ID != commit {
				t.Errorf("commit %q, want %s", head.ID, commit)
			}
			break
		}
		<-f.told
	}
	if n := lists.Load(); n > 2 {
		t.Errorf("50 askers cost %d requests, want at most 2", n)
	}
}

// TestABrokenMirrorHeals: the mirror is a cache.
func TestABrokenMirrorHeals(t *testing.T) {
	repo := sourcetest.New(t)
	commit := repo.Commit(map[string]string{"a.yaml": strings.Repeat("some text ", 1000)})
	f := start(t, nil)
	f.fetch(repo.URL(), "main")
	packs, err := filepath.Glob(filepath.Join(f.dir, "*.git", "objects", "pack", "*.pack"))
	if err != nil || len(packs) == 0 {
		t.Fatalf("packs: %q, %v", packs, err)
	}
	for _, pack := range packs {
		if err := os.Chmod(pack, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(pack, 40); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := f.Tree(refOf(repo.URL(), ""), commit, ".")
	if err == nil {
		_, err = fs.ReadFile(tree, "a.yaml")
	}
	if err == nil {
		t.Fatal("a truncated mirror reads well")
	}
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a truncated mirror says that the file does not exist: %v", err)
	}
	f.fetch(repo.URL(), "main")
	if got := f.read(repo.URL(), commit, "a.yaml"); len(got) != 10_000 {
		t.Errorf("after the next fetch the file has %d bytes", len(got))
	}
}

func TestTree(t *testing.T) {
	repo := sourcetest.New(t)
	if err := os.Symlink("/etc/passwd", filepath.Join(repo.Dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	commit := repo.Change(map[string]string{"a/b/c.yaml": "c", "a/d.yaml": "d", ".hidden": "h"})
	f := start(t, nil)
	f.fetch(repo.URL(), "main")
	t.Run("is a file system", func(t *testing.T) {
		tree, err := f.Tree(refOf(repo.URL(), ""), commit, "a")
		if err != nil {
			t.Fatal(err)
		}
		sub, err := fs.Sub(tree, "a")
		if err != nil {
			t.Fatal(err)
		}
		if err := fstest.TestFS(sub, "b/c.yaml", "d.yaml"); err != nil {
			t.Error(err)
		}
	})
	t.Run("does not follow links", func(t *testing.T) {
		tree, err := f.Tree(refOf(repo.URL(), ""), commit, ".")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fs.ReadFile(tree, "link.yaml"); err == nil || !strings.Contains(err.Error(), "symbolic links are not followed") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("tells missing folders from files", func(t *testing.T) {
		for folder, want := range map[string]string{
			"nowhere": `path "nowhere" does not exist in commit ` + commit[:12], "a/d.yaml": `path "a/d.yaml" is no folder`,
		} {
			_, err := f.Tree(refOf(repo.URL(), ""), commit, folder)
			if reason(err) != v1alpha1.ReasonPathNotFound || !strings.Contains(err.Error(), want) {
				t.Errorf("folder %q: %v, want PathNotFound that says %q", folder, err, want)
			}
		}
		for _, folder := range []string{"", ".", "./a/", "a//b"} {
			if _, err := f.Tree(refOf(repo.URL(), ""), commit, folder); err != nil {
				t.Errorf("folder %q: %v", folder, err)
			}
		}
	})
	t.Run("of a commit that was never fetched", func(t *testing.T) {
		if _, err := f.Tree(refOf(repo.URL(), ""), strings.Repeat("0", 40), "."); reason(err) != v1alpha1.ReasonFetchFailed {
			t.Errorf("got %v", err)
		}
	})
	t.Run("is bounded", func(t *testing.T) {
		for name, limits := range map[string]source.Limits{"files": {Files: 1, Bytes: 100, Fetch: 1 << 20}, "bytes": {Files: 100, Bytes: 1, Fetch: 1 << 20}} {
			small := start(t, func(n *settings) { n.Limits = limits })
			small.fetch(repo.URL(), "main")
			tree, err := small.Tree(refOf(repo.URL(), ""), commit, ".")
			if err != nil {
				t.Fatal(err)
			}
			var errs []error
			for _, file := range []string{"a/b/c.yaml", "a/d.yaml"} {
				_, err := fs.ReadFile(tree, file)
				errs = append(errs, err)
			}
			if diff := cmp.Diff([]bool{false, true}, []bool{errors.Is(errs[0], source.ErrTooLarge), errors.Is(errs[1], source.ErrTooLarge)}); diff != "" {
				t.Errorf("limit of %s (-want +got):\n%s\n%v", name, diff, errs)
			}
		}
	})
}
