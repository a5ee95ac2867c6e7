package sourcetest

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/content/registrytest"
	"umbel.dev/umbel/internal/delivery/source"
)

// Canary stands in what must never be told.
const Canary = registrytest.Secret

// account is who may sign in, with the Canary for a password.
const account = registrytest.Username

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

// Setup is what a kind of source is held to it with: readers with limits and an empty folder, and servers.
type Setup struct {
	Reader func(*testing.T, source.Limits) source.Reader
	Remote func(*testing.T) Remote
	// Adds are the files that the kind itself adds to every version.
	Adds []string
}

// Conformance holds a Reader against what every kind of source has to do.
func Conformance(t *testing.T, with Setup) {
	for _, law := range []struct {
		says  string
		holds func(*testing.T, Setup)
	}{
		{"a version is what was published, and stays it", versionsStay},
		{"a range gives the newest version that it allows", rangesGiveTheNewest},
		{"what is not there is told as such", missingIsTold},
		{"credentials are needed, and told to nobody", secretsStay},
		{"what comes and what is read is bounded", readingIsBounded},
		{"a trace tells what concerns it from what does not", tracesTell},
	} {
		t.Run(law.says, func(t *testing.T) { law.holds(t, with) })
	}
}

// versionsStay: when others come after them, and when the server is gone.
func versionsStay(t *testing.T, with Setup) {
	c := begin(t, with)
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
}

func rangesGiveTheNewest(t *testing.T, with Setup) {
	c := begin(t, with)
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
}

func missingIsTold(t *testing.T, with Setup) {
	c := begin(t, with)
	c.remote.Publish("1.0.0", map[string]string{"a.yaml": "a"})
	c.fails("7.7.7", c.right, v1alpha1.ReasonRefNotFound)
	if _, err := c.reader.Tree(c.remote.Ref(""), strings.Repeat("0", 40)); err == nil {
		t.Error("a revision that was never resolved has a tree")
	}
}

// secretsStay: with who has them, of whom others cannot borrow what he fetched.
func secretsStay(t *testing.T, with Setup) {
	c := begin(t, with)
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
}

func readingIsBounded(t *testing.T, with Setup) {
	remote := with.Remote(t)
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
		c := on(t, with.Reader(t, limits), remote)
		at, err := c.reader.Resolve(t.Context(), remote.Ref(""), c.right)
		if err == nil {
			_, err = c.readAll("", at.ID)
		}
		if err == nil || !strings.Contains(err.Error(), source.ErrTooLarge.Error()) {
			t.Errorf("limit %s: got %v, want %q", name, err, source.ErrTooLarge)
		}
	}
}

func tracesTell(t *testing.T, with Setup) {
	c := begin(t, with)
	base := map[string]string{"app/a.yaml": "a", "lib/b.yaml": "b", "other/c.yaml": "c"}
	c.remote.Publish("1.0.0", base)
	record := traced(t, c.tree("", c.resolve("").ID))
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
}

// traced is the record of who lists one folder, reads two files and looks for a third.
func traced(t *testing.T, tree fs.FS) *source.Record {
	t.Helper()
	trace := source.NewTrace(tree)
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
	return record
}
