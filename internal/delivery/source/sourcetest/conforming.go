package sourcetest

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source"
)

// conforming is a reader that is held to a law.
type conforming struct {
	t            *testing.T
	reader       source.Reader
	remote       Remote
	right, wrong source.Credentials
	adds         []string
}

// begin sets up a reader and a server.
func begin(t *testing.T, with Setup) *conforming {
	c := on(t, with.Reader(t, source.DefaultLimits), with.Remote(t))
	c.adds = with.Adds
	return c
}

func on(t *testing.T, reader source.Reader, remote Remote) *conforming {
	right, wrong := remote.Credentials()
	return &conforming{t: t, reader: reader, remote: remote, right: right, wrong: wrong}
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
	for _, name := range c.adds {
		delete(got, name)
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
