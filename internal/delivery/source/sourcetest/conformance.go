package sourcetest

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source"
)

// Canary stands in what must never be told.
const Canary = "c4n4ry-s3cr3t"

// Remote is a source of one kind, on a real server, that asks for credentials.
type Remote interface {
	// Publish makes files what a version holds, and what the moving version holds.
	Publish(version string, files map[string]string)
	// Ref names a version; "" the one that moves.
	Ref(version string) source.Ref
	// Credentials are what the server takes, and what it does not. Both have the Canary in them.
	Credentials() (right, wrong source.Credentials)
	// Stop ends the server.
	Stop()
}

// Conformance holds a Reader against what every kind of source has to do. newReader makes one with limits and an empty folder.
func Conformance(t *testing.T, newReader func(*testing.T, source.Limits) source.Reader, newRemote func(*testing.T) Remote) {
	t.Run("a version is what was published, and stays it", func(t *testing.T) {
		c := begin(t, newReader(t, source.DefaultLimits), newRemote(t))
		first := map[string]string{"app/a.yaml": "one", "app/deep/er/b.txt": "b", "c.json": "{}", "empty.yaml": ""}
		c.remote.Publish("1.0.0", first)
		one := c.resolve("")
		if again := c.resolve(""); again != one {
			t.Errorf("the same files are %v, then %v", one, again)
		}
		c.holds("", one.ID, first)
		second := map[string]string{"app/a.yaml": "two", "c.json": "{}"}
		c.remote.Publish("1.1.0", second)
		two := c.resolve("")
		if two.ID == one.ID {
			t.Errorf("other files are the same revision %v", two)
		}
		c.holds("", two.ID, second)
		c.holds("", one.ID, first)
		if pinned := c.resolve("1.0.0"); pinned.ID != one.ID {
			t.Errorf("version 1.0.0 is at %s, want %s", pinned.ID, one.ID)
		}
		c.remote.Stop()
		c.fails("", c.right, v1alpha1.ReasonFetchFailed)
		c.holds("", two.ID, second)
	})
	t.Run("a range gives the newest version that it allows", func(t *testing.T) {
		c := begin(t, newReader(t, source.DefaultLimits), newRemote(t))
		for _, version := range []string{"0.9.0", "1.2.0", "1.10.0", "2.0.0-rc.1", "2.0.0"} {
			c.remote.Publish(version, map[string]string{"v.yaml": version})
		}
		for within, want := range map[string]string{">=1.2 <2": "1.10.0", "1.2.x": "1.2.0", "^0.9": "0.9.0", ">=2.0.0-0": "2.0.0", "=2.0.0-rc.1": "2.0.0-rc.1"} {
			ref := c.remote.Ref("")
			ref.Name, ref.Range = "", within
			at, err := c.reader.Resolve(t.Context(), ref, c.right)
			if err != nil || at.Name != want {
				t.Errorf("%q gives %+v, %v; want %s", within, at, err, want)
				continue
			}
			c.holds("", at.ID, map[string]string{"v.yaml": want})
		}
		for _, within := range []string{">=3", "not a range"} {
			ref := c.remote.Ref("")
			ref.Name, ref.Range = "", within
			_, err := c.reader.Resolve(t.Context(), ref, c.right)
			if reason(err) != v1alpha1.ReasonRefNotFound || !strings.Contains(err.Error(), within) {
				t.Errorf("%q: got %v, want RefNotFound that names it", within, err)
			}
		}
	})
	t.Run("what is not there is told as such", func(t *testing.T) {
		c := begin(t, newReader(t, source.DefaultLimits), newRemote(t))
		c.remote.Publish("1.0.0", map[string]string{"a.yaml": "a"})
		c.fails("7.7.7", c.right, v1alpha1.ReasonRefNotFound)
		if _, err := c.reader.Tree(c.remote.Ref(""), strings.Repeat("0", 40)); err == nil {
			t.Error("a revision that was never resolved has a tree")
		}
	})
	t.Run("credentials are needed, and told to nobody", func(t *testing.T) {
		c := begin(t, newReader(t, source.DefaultLimits), newRemote(t))
		c.remote.Publish("1.0.0", map[string]string{"a.yaml": "a"})
		c.fails("", c.wrong, v1alpha1.ReasonUnauthorized)
		at := c.resolve("")
		other := c.remote.Ref("")
		other.Secret = "elsewhere/other"
		if _, err := c.reader.Tree(other, at.ID); err == nil {
			t.Error("who names another Secret reads what was fetched with this one")
		}
		other.Secret = ""
		if _, err := c.reader.Tree(other, at.ID); err == nil {
			t.Error("who names no Secret reads what was fetched with one")
		}
	})
	t.Run("what comes and what is read is bounded", func(t *testing.T) {
		remote := newRemote(t)
		files := map[string]string{"big.yaml": incompressible(200_000)}
		for i := range 30 {
			files[fmt.Sprintf("small/%d.yaml", i)] = fmt.Sprint(i)
		}
		remote.Publish("1.0.0", files)
		for name, limits := range map[string]source.Limits{
			"of a fetch": {Files: 1000, Bytes: 1 << 20, Fetch: 50_000},
			"of bytes":   {Files: 1000, Bytes: 100_000, Fetch: 1 << 20},
			"of files":   {Files: 10, Bytes: 1 << 20, Fetch: 1 << 20},
		} {
			c := begin(t, newReader(t, limits), remote)
			at, err := c.reader.Resolve(t.Context(), remote.Ref(""), c.right)
			if err == nil {
				_, err = c.readAll("", at.ID)
			}
			if err == nil || !strings.Contains(err.Error(), source.ErrTooLarge.Error()) {
				t.Errorf("limit %s: got %v, want %q", name, err, source.ErrTooLarge)
			}
		}
	})
	t.Run("a trace tells what concerns it from what does not", func(t *testing.T) {
		c := begin(t, newReader(t, source.DefaultLimits), newRemote(t))
		base := map[string]string{"app/a.yaml": "a", "lib/b.yaml": "b", "other/c.yaml": "c"}
		c.remote.Publish("1.0.0", base)
		trace := source.NewTrace(c.tree("", c.resolve("").ID))
		for _, ask := range []func() error{
			func() error { _, err := fs.ReadDir(trace, "app"); return err },
			func() error { _, err := fs.ReadFile(trace, "app/a.yaml"); return err },
			func() error { _, err := fs.ReadFile(trace, "lib/b.yaml"); return err },
		} {
			if err := ask(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := fs.Stat(trace, "app/later.yaml"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		record, known := trace.Record()
		if !known {
			t.Fatal("an answer is not known")
		}
		for i, tc := range []struct {
			reason string
			change map[string]string // "" takes a file away
			same   bool
		}{
			{"nothing", nil, true},
			{"another folder", map[string]string{"other/c.yaml": "changed", "other/d.yaml": "new"}, true},
			{"a file beside the one that was read, in a folder that was not listed", map[string]string{"lib/new.yaml": "new"}, true},
			{"a file that was read", map[string]string{"app/a.yaml": "changed"}, false},
			{"a file of the same length in another folder", map[string]string{"lib/b.yaml": "B"}, false},
			{"a file that is new in a folder that was listed", map[string]string{"app/new.yaml": "new"}, false},
			{"a file that was looked for and is there now", map[string]string{"app/later.yaml": "here"}, false},
			{"a file that is gone", map[string]string{"lib/b.yaml": ""}, false},
		} {
			files := map[string]string{}
			for name, text := range base {
				files[name] = text
			}
			for name, text := range tc.change {
				if files[name] = text; text == "" {
					delete(files, name)
				}
			}
			c.remote.Publish(fmt.Sprintf("1.0.%d", i+1), files)
			if got := record.Same(c.tree("", c.resolve("").ID)); got != tc.same {
				t.Errorf("%s: same is %v, want %v", tc.reason, got, tc.same)
			}
		}
	})
}

type conforming struct {
	t            *testing.T
	reader       source.Reader
	remote       Remote
	right, wrong source.Credentials
}

func begin(t *testing.T, reader source.Reader, remote Remote) *conforming {
	right, wrong := remote.Credentials()
	return &conforming{t, reader, remote, right, wrong}
}

func reason(err error) string {
	if known, ok := errors.AsType[*source.Error](err); ok {
		return known.Reason
	}
	return ""
}

func (c *conforming) resolve(version string) source.Revision {
	c.t.Helper()
	at, err := c.reader.Resolve(c.t.Context(), c.remote.Ref(version), c.right)
	if err != nil {
		c.t.Fatal(err)
	}
	return at
}

// fails resolves in vain. FetchFailed is what everything becomes that has no reason of its own. The error is looked at as a
// Fetcher tells it.
func (c *conforming) fails(version string, with source.Credentials, want string) {
	c.t.Helper()
	_, err := c.reader.Resolve(c.t.Context(), c.remote.Ref(version), with)
	if err == nil {
		c.t.Fatalf("version %q: it is read, want %s", version, want)
	}
	if got := reason(err); got != want && (got != "" || want != v1alpha1.ReasonFetchFailed) {
		c.t.Errorf("version %q: got %q, %v; want %s", version, got, err, want)
	}
	if told := source.Explain(c.remote.Ref(version), err, with); strings.Contains(told.Error(), Canary) {
		c.t.Errorf("the error tells a secret: %v", told)
	}
}

func (c *conforming) tree(version, revision string) fs.FS {
	c.t.Helper()
	tree, err := c.reader.Tree(c.remote.Ref(version), revision)
	if err != nil {
		c.t.Fatal(err)
	}
	return tree
}

func (c *conforming) readAll(version, revision string) (map[string]string, error) {
	c.t.Helper()
	tree, err := c.reader.Tree(c.remote.Ref(version), revision)
	if err != nil {
		return nil, err
	}
	got := map[string]string{}
	err = fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(tree, name)
		got[name] = string(content)
		return err
	})
	return got, err
}

// holds compares a tree with files, and has the standard library look at it.
func (c *conforming) holds(version, revision string, want map[string]string) {
	c.t.Helper()
	got, err := c.readAll(version, revision)
	if err != nil {
		c.t.Fatal(err)
	}
	var names []string
	for name, text := range want {
		names = append(names, name)
		if got[name] != text {
			c.t.Errorf("revision %s: %s holds %q, want %q", revision, name, got[name], text)
		}
	}
	if len(got) != len(want) {
		c.t.Errorf("revision %s holds %d files, want %d", revision, len(got), len(want))
	}
	slices.Sort(names)
	if err := fstest.TestFS(c.tree(version, revision), names...); err != nil {
		c.t.Error(err)
	}
}

// incompressible is a text of a length that does not become much shorter.
func incompressible(n int) string {
	text, state := make([]byte, n), uint32(1)
	for i := range text {
		state = state*1664525 + 1013904223
		text[i] = ' ' + byte(state>>24)%90
	}
	return string(text)
}
