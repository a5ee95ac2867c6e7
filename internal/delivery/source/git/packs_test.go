package git_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/memory"

	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/git"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// tidiesEnv has this program tidy a folder of mirrors again and again until it is killed, and do nothing else.
const tidiesEnv = "UMBEL_TEST_TIDIES"

func TestMain(m *testing.M) {
	if dir := os.Getenv(tidiesEnv); dir != "" {
		reader, err := git.New(git.Config{Dir: dir})
		for now := time.Now(); err == nil; now = now.Add(11 * time.Minute) {
			err = reader.Tidy(context.Background(), []source.Ref{packed}, now)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// packed is the repository of a mirror that a test fills itself. Nobody is asked for it: its protocol is not spoken.
var packed = source.Ref{Kind: source.Git, URL: "ftp://git.example.org/many.git", Name: "main"}

// TestAPackForEachFetch is of a repository with a commit all the time: its mirror has few packs, whoever reads meanwhile is not
// disturbed, and everything stays readable, also for git itself.
func TestAPackForEachFetch(t *testing.T) {
	repo := sourcetest.New(t)
	url := repo.Serve(nil)
	dir := t.TempDir()
	reader, err := git.New(git.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ref, now := refOf(url, "main"), time.Now()

	var mu sync.Mutex
	var commits []string
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				i := rand.IntN(max(1, len(commits)))
				known := commits[:len(commits):len(commits)]
				mu.Unlock()
				if len(known) == 0 {
					continue
				}
				if err := holds(reader, ref, known[i], i); err != nil {
					t.Errorf("while packs are joined: %v", err)
					return
				}
			}
		})
	}
	most := 0
	for i := range 60 {
		commit := repo.Change(files(i))
		if i == 30 { // what a force push throws away stays readable as well
			repo.Git("reset", "--quiet", "--hard", "HEAD~3")
			commit = repo.Change(files(i))
		}
		found, err := reader.Resolve(t.Context(), ref, source.Credentials{})
		if err != nil || found.ID != commit {
			t.Fatalf("fetch %d: %v, %v; want %s", i, found, err, commit)
		}
		mu.Lock()
		commits = append(commits, commit)
		mu.Unlock()
		now = now.Add(30 * time.Second)
		if err := reader.Tidy(t.Context(), []source.Ref{ref}, now); err != nil {
			t.Fatal(err)
		}
		most = max(most, len(packsOf(t, dir)))
	}
	close(stop)
	readers.Wait()
	if most > 50 { // 20 that are few, and those that were replaced in the last ten minutes
		t.Errorf("the mirror had %d packs after 60 fetches", most)
	}
	if err := reader.Tidy(t.Context(), []source.Ref{ref}, now.Add(time.Hour/2)); err != nil {
		t.Fatal(err)
	}
	if got := len(packsOf(t, dir)); got > 20 {
		t.Errorf("%d packs are left", got)
	}
	for i, commit := range commits {
		if err := holds(reader, ref, commit, i); err != nil {
			t.Error(err)
		}
	}
	if out, err := exec.Command("git", "-C", mirrorIn(t, dir), "fsck", "--full", "--strict").CombinedOutput(); err != nil {
		t.Errorf("git fsck: %v\n%s", err, out)
	}
}

// TestATreeThatIsReadForLong was opened before the packs were joined that it is in.
func TestATreeThatIsReadForLong(t *testing.T) {
	dir, commits := mirrorOf(t, 60)
	reader, err := git.New(git.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := reader.Tree(packed, commits[7])
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, later := range []time.Duration{0, time.Minute, 9 * time.Minute} {
		if err := reader.Tidy(t.Context(), []source.Ref{packed}, now.Add(later)); err != nil {
			t.Fatal(err)
		}
		if got, err := fs.ReadFile(tree, "a.yaml"); err != nil || string(got) != files(7)["a.yaml"] {
			t.Errorf("after %s it reads %q, %v", later, got, err)
		}
	}
	if got := len(packsOf(t, dir)); got != 61 {
		t.Errorf("%d packs are there, want the one of all and those that it is in place of", got)
	}
	if err := reader.Tidy(t.Context(), []source.Ref{packed}, now.Add(11*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := len(packsOf(t, dir)); got != 1 {
		t.Errorf("%d packs are left, want one", got)
	}
}

// TestKilledWhileJoining: whenever the hub dies, nothing is lost, and the next one gets it done.
func TestKilledWhileJoining(t *testing.T) {
	dir, commits := mirrorOf(t, 50)
	whole := filepath.Base(mirrorIn(t, dir))
	for round := range 8 {
		again := t.TempDir()
		if err := os.CopyFS(filepath.Join(again, whole), os.DirFS(filepath.Join(dir, whole))); err != nil {
			t.Fatal(err)
		}
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), tidiesEnv+"="+again)
		var said bytes.Buffer
		child.Stderr = &said
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(round) * 10 * time.Millisecond)
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // it was killed
		if said.Len() > 0 {
			t.Fatalf("round %d: %s", round, said.String())
		}
		reader, err := git.New(git.Config{Dir: again})
		if err != nil {
			t.Fatal(err)
		}
		check := func(when string) {
			for i, commit := range commits {
				if err := holds(reader, packed, commit, i); err != nil {
					t.Fatalf("round %d, %s: %v", round, when, err)
				}
			}
		}
		check("after the kill")
		far := time.Now().Add(time.Hour * 24 * 365) // past all that the child wrote
		for i := range 4 {
			if err := reader.Tidy(t.Context(), []source.Ref{packed}, far.Add(time.Duration(i)*11*time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
		check("once it is done")
		if got := len(packsOf(t, again)); got > 20 {
			t.Errorf("round %d: %d packs are left", round, got)
		}
	}
}

// TestADamagedPack is left as it is, and the others are joined.
func TestADamagedPack(t *testing.T) {
	dir, commits := mirrorOf(t, 60)
	bad := packsOf(t, dir)[5]
	raw, err := os.ReadFile(bad)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 0xff
	if err := os.Chmod(bad, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bad, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := git.New(git.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := reader.Tidy(t.Context(), []source.Ref{packed}, time.Now().Add(time.Duration(i)*11*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if got := packsOf(t, dir); len(got) != 2 || got[0] != bad && got[1] != bad {
		t.Errorf("%v are left, want two with %s", got, bad)
	}
	lost := 0
	for i, commit := range commits {
		if holds(reader, packed, commit, i) != nil {
			lost++
		}
	}
	if lost > 1 {
		t.Errorf("%d commits cannot be read, want the one that was damaged", lost)
	}
}

// TestWhatAFetchLeftThatWasCutOff goes an hour later, and not while it may be one that is under way.
func TestWhatAFetchLeftThatWasCutOff(t *testing.T) {
	dir, _ := mirrorOf(t, 1)
	reader, err := git.New(git.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(mirrorIn(t, dir), "objects", "pack", "tmp_pack_123")
	if err := os.WriteFile(left, []byte("PACK"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, after := range []time.Duration{0, 59 * time.Minute} {
		if err := reader.Tidy(t.Context(), []source.Ref{packed}, time.Now().Add(after)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(left); err != nil {
			t.Errorf("after %s: %v", after, err)
		}
	}
	if err := reader.Tidy(t.Context(), []source.Ref{packed}, time.Now().Add(61*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("after an hour: %v", err)
	}
}

// TestAFetchWaitsNoLongerThanItMay for another one of its mirror, whose server does not answer.
func TestAFetchWaitsNoLongerThanItMay(t *testing.T) {
	asked := make(chan struct{})
	url := sourcetest.New(t).Serve(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			<-r.Context().Done()
		})
	})
	reader, err := git.New(git.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var first sync.WaitGroup
	first.Go(func() {
		if _, err := reader.Resolve(ctx, refOf(url, "main"), source.Credentials{}); err == nil {
			t.Error("a server that does not answer gave a commit")
		}
	})
	defer first.Wait()
	defer cancel()
	<-asked
	short, over := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer over()
	if _, err := reader.Resolve(short, refOf(url, "side"), source.Credentials{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestMirrorsOfNobody are deleted, and those in use are not.
func TestMirrorsOfNobody(t *testing.T) {
	library, app, other := sourcetest.New(t), sourcetest.New(t), sourcetest.New(t)
	library.Commit(map[string]string{"l.yaml": "l"})
	app.Commit(map[string]string{"a.yaml": "a"})
	app.Git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library.URL(), "lib")
	commit := app.Change(nil)
	other.Commit(map[string]string{"o.yaml": "o"})
	dir := t.TempDir()
	reader, err := git.New(git.Config{Dir: dir, Local: []string{os.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	named, left := refOf(app.URL(), "main"), refOf(other.URL(), "main")
	named.Submodules = true
	for _, ref := range []source.Ref{named, left} {
		if _, err := reader.Resolve(t.Context(), ref, source.Credentials{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		reason string
		used   []source.Ref
		after  time.Duration
		want   int
	}{
		{reason: "what was used lately stays", after: 59 * time.Minute, want: 3},
		{reason: "a repository that is named, and its submodule, stay", used: []source.Ref{named}, after: 2 * time.Hour, want: 2},
		{reason: "and are read", used: []source.Ref{named}, after: 20 * time.Hour, want: 2},
	} {
		if err := reader.Tidy(t.Context(), tc.used, time.Now().Add(tc.after)); err != nil {
			t.Fatal(err)
		}
		if got := mirrorsIn(t, dir); len(got) != tc.want {
			t.Errorf("%s: %v, want %d mirrors", tc.reason, got, tc.want)
		}
	}
	tree, err := reader.Tree(named, commit)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := fs.ReadFile(tree, "lib/l.yaml"); err != nil || string(got) != "l" {
		t.Errorf("the submodule reads %q, %v", got, err)
	}
	if err := reader.Tidy(t.Context(), nil, time.Now().Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := mirrorsIn(t, dir); len(got) != 0 {
		t.Errorf("%v are left of nobody", got)
	}
	if _, err := reader.Resolve(t.Context(), left, source.Credentials{}); err != nil {
		t.Errorf("a repository that is named again: %v", err)
	}
}

// BenchmarkPoll opens a mirror, as each poll does, and reads a file in it.
func BenchmarkPoll(b *testing.B) {
	for _, tidied := range []string{"a pack for each of 1000 fetches", "tidied"} {
		b.Run(tidied, func(b *testing.B) {
			dir, commits := mirrorOf(b, 1000)
			reader, err := git.New(git.Config{Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			if tidied == "tidied" {
				for i := range 2 {
					if err := reader.Tidy(b.Context(), []source.Ref{packed}, time.Now().Add(time.Duration(i)*11*time.Minute)); err != nil {
						b.Fatal(err)
					}
				}
			}
			for b.Loop() {
				if err := holds(reader, packed, commits[999], 999); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// files are those of a commit. Every third commit has bytes that one before had, which a server sends again.
func files(i int) map[string]string {
	return map[string]string{"a.yaml": fmt.Sprintf("number: %d\n", i), "b.yaml": fmt.Sprintf("third: %d\n", i%3)}
}

// holds says what a commit does not hold that it should.
func holds(reader *git.Reader, ref source.Ref, commit string, i int) error {
	tree, err := reader.Tree(ref, commit)
	if err != nil {
		return err
	}
	for name, want := range files(i) {
		if got, err := fs.ReadFile(tree, name); err != nil || string(got) != want {
			return fmt.Errorf("%s of commit %d is %q, %v; want %q", name, i, got, err, want)
		}
	}
	return nil
}

// mirrorOf makes a mirror as so many fetches leave it: each has brought a pack with a commit.
func mirrorOf(t testing.TB, fetches int) (dir string, commits []string) {
	t.Helper()
	dir = t.TempDir()
	reader, err := git.New(git.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Resolve(t.Context(), packed, source.Credentials{}); err == nil {
		t.Fatal("there is something to fetch")
	}
	storage := filesystem.NewStorage(osfs.New(mirrorIn(t, dir)), cache.NewObjectLRUDefault())
	for i := range fetches {
		commits = append(commits, received(t, storage, i, commits))
	}
	return dir, commits
}

// received writes the pack of a fetch.
func received(t testing.TB, storage *filesystem.Storage, i int, before []string) string {
	t.Helper()
	objects := memory.NewStorage()
	var inside []plumbing.Hash
	keep := func(encode func(plumbing.EncodedObject) error) plumbing.Hash {
		o := objects.NewEncodedObject()
		err := encode(o)
		if err == nil {
			_, err = objects.SetEncodedObject(o)
		}
		if err != nil {
			t.Fatal(err)
		}
		inside = append(inside, o.Hash())
		return o.Hash()
	}
	var tree object.Tree
	for _, name := range []string{"a.yaml", "b.yaml"} {
		hash := keep(func(o plumbing.EncodedObject) error {
			o.SetType(plumbing.BlobObject)
			w, err := o.Writer()
			if err == nil {
				_, err = w.Write([]byte(files(i)[name]))
			}
			return err
		})
		tree.Entries = append(tree.Entries, object.TreeEntry{Name: name, Mode: filemode.Regular, Hash: hash})
	}
	commit := object.Commit{TreeHash: keep(tree.Encode), Message: "a change"}
	if i > 0 {
		commit.ParentHashes = []plumbing.Hash{plumbing.NewHash(before[i-1])}
	}
	head := keep(commit.Encode)
	w, err := storage.PackfileWriter()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := packfile.NewEncoder(w, objects, false).Encode(inside, 0); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return head.String()
}

func mirrorsIn(t testing.TB, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.git*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func mirrorIn(t testing.TB, dir string) string {
	t.Helper()
	found := mirrorsIn(t, dir)
	if len(found) != 1 {
		t.Fatalf("%d mirrors in %s", len(found), dir)
	}
	return found[0]
}

func packsOf(t testing.TB, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(mirrorIn(t, dir), "objects", "pack", "*.pack"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}
