package git_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/git"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// has makes a repository a submodule of another one, at a path, and returns the commit that says so.
func has(repo, sub *sourcetest.Repository, at, url string) string {
	repo.Git("-c", "protocol.file.allow=always", "submodule", "add", "-q", "--force", "--name", at, sub.URL(), at)
	repo.Git("config", "-f", ".gitmodules", "submodule."+at+".url", url)
	return repo.Change(nil)
}

// reader returns one that may read what the test made.
func reader(t *testing.T, local string) *git.Reader {
	t.Helper()
	r, err := git.New(git.Config{Dir: t.TempDir(), Local: []string{local}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSubmodules: who asks for them reads them as folders, those in others too, at the commits that the repository names; for
// others they are what they are.
func TestSubmodules(t *testing.T) {
	top, middle, inner := sourcetest.New(t), sourcetest.New(t), sourcetest.New(t)
	inner.Commit(map[string]string{"c.yaml": "inner"})
	middle.Commit(map[string]string{"b/b.yaml": "middle"})
	has(middle, inner, "deep", inner.URL())
	top.Commit(map[string]string{"apps/a.yaml": "top"})
	commit := has(top, middle, "apps/lib", "../"+strings.TrimPrefix(middle.Dir[strings.LastIndex(middle.Dir, "/"):], "/"))
	r := reader(t, "/")
	ref := source.Ref{Kind: source.Git, URL: top.URL(), Name: "main", Submodules: true}
	head, err := r.Resolve(t.Context(), ref, source.Credentials{})
	if err != nil || head.ID != commit {
		t.Fatalf("got %+v and %v, want %s", head, err, commit)
	}
	tree, err := r.Tree(ref, commit)
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(tree, "apps/a.yaml", "apps/lib/b/b.yaml", "apps/lib/deep/c.yaml"); err != nil {
		t.Error(err)
	}
	prints, is := tree.(interface{ Fingerprint(string) (string, error) })
	if !is {
		t.Fatal("a tree has no fingerprints")
	}
	before, err := prints.Fingerprint("apps/lib/deep/c.yaml")
	if err != nil || before == "" {
		t.Errorf("the fingerprint of what is inside is %q, and %v", before, err)
	}

	// What the submodule has since is not what the repository names.
	middle.Change(map[string]string{"b/b.yaml": "newer"})
	if head, err := r.Resolve(t.Context(), ref, source.Credentials{}); err != nil || head.ID != commit {
		t.Errorf("got %+v and %v", head, err)
	}
	if tree, err = r.Tree(ref, commit); err != nil {
		t.Fatal(err)
	}
	if content, err := fs.ReadFile(tree, "apps/lib/b/b.yaml"); err != nil || string(content) != "middle" {
		t.Errorf("got %q and %v", content, err)
	}

	plain := ref
	plain.Submodules = false
	if _, err := r.Resolve(t.Context(), plain, source.Credentials{}); err != nil {
		t.Fatal(err)
	}
	if tree, err = r.Tree(plain, commit); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.ReadFile(tree, "apps/lib/b/b.yaml"); err == nil {
		t.Error("a submodule was read that nobody asked for")
	}
	if _, err := fs.ReadFile(tree, "apps/lib"); err == nil || !strings.Contains(err.Error(), "recurseSubmodules") {
		t.Errorf("got %v", err)
	}
}

// TestSubmodulesStayWithinBounds: a Secret is shown to no other server, the hub's disk is no submodule of what comes from
// elsewhere, a repository that has itself in it comes to an end, and what is missing is named.
func TestSubmodulesStayWithinBounds(t *testing.T) {
	secret := source.Credentials{Username: "ada", Password: "secret"}
	top, other, same := sourcetest.New(t), sourcetest.New(t), sourcetest.New(t)
	same.Commit(map[string]string{"s.yaml": "same"})
	other.Commit(map[string]string{"o.yaml": "other"})
	address := top.Serve(sourcetest.Locked(sourcetest.Basic("ada", "secret")))
	elsewhere := other.Serve(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" {
				t.Error("another server was shown the Secret")
			}
			next.ServeHTTP(w, r)
		})
	})
	here := address[:strings.LastIndex(address, "/.git")]
	beside := here[:strings.LastIndex(here, "/")] + same.Dir[strings.LastIndex(same.Dir, "/"):] + "/.git"
	top.Commit(map[string]string{"a.yaml": "a"})
	has(top, same, "same", beside)
	good := has(top, other, "other", elsewhere)
	r := reader(t, "/")
	ref := source.Ref{Kind: source.Git, URL: address, Name: "main", Secret: "team/git", Submodules: true}
	fails := func(want string) {
		t.Helper()
		_, err := r.Resolve(t.Context(), ref, secret)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells the Secret: %v", err)
		}
		if _, err := r.Tree(ref, good); err != nil {
			t.Errorf("what was there before is gone: %v", err)
		}
	}
	if head, err := r.Resolve(t.Context(), ref, secret); err != nil || head.ID != good {
		t.Fatalf("got %+v and %v", head, err)
	}
	tree, err := r.Tree(ref, good)
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(tree, "a.yaml", "same/s.yaml", "other/o.yaml"); err != nil {
		t.Error(err)
	}

	has(top, other, "other", other.URL())
	fails(`submodule "other": its url is a path of the disk`)
	has(top, other, "other", elsewhere+"/nowhere")
	fails("submodule other: ")
	has(top, other, "other", elsewhere)
	top.Git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",other")
	top.Git("commit", "-q", "-m", "a commit that is nowhere")
	fails("submodule other: ")

	// A path that leads out of the repository is none.
	has(top, other, "other", elsewhere)
	top.Git("config", "-f", ".gitmodules", "submodule.same.path", "../../etc")
	out := top.Change(nil)
	if head, err := r.Resolve(t.Context(), ref, secret); err != nil || head.ID != out {
		t.Fatalf("got %+v and %v", head, err)
	}
	if tree, err = r.Tree(ref, out); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.ReadFile(tree, "same/s.yaml"); err == nil {
		t.Error("a submodule is read that has no path")
	}

	// One that has too many.
	many := sourcetest.New(t)
	many.Commit(map[string]string{"x.yaml": "x"})
	modules := ""
	for i := range 70 {
		modules += fmt.Sprintf("[submodule \"m%d\"]\n\tpath = m%d\n\turl = %s\n", i, i, many.URL())
	}
	many.Change(map[string]string{".gitmodules": modules})
	for i := range 70 {
		hash := many.Git("commit-tree", "HEAD^{tree}", "-m", fmt.Sprint(i))
		many.Git("branch", fmt.Sprintf("b%d", i), hash)
		many.Git("update-index", "--add", "--cacheinfo", "160000,"+hash+fmt.Sprintf(",m%d", i))
	}
	many.Git("commit", "-q", "-m", "many")
	all := source.Ref{Kind: source.Git, URL: many.URL(), Name: "main", Submodules: true}
	if _, err := r.Resolve(t.Context(), all, source.Credentials{}); err == nil || !strings.Contains(err.Error(), "more than 64 submodules") {
		t.Errorf("got %v", err)
	}

	// A repository that is its own submodule.
	own := sourcetest.New(t)
	own.Commit(map[string]string{"x.yaml": "x"})
	has(own, own, "me", own.URL())
	for range 6 {
		own.Git("update-index", "--cacheinfo", "160000,"+own.Git("rev-parse", "HEAD")+",me")
		own.Git("commit", "-q", "-m", "one deeper")
	}
	self := source.Ref{Kind: source.Git, URL: own.URL(), Name: "main", Submodules: true}
	if _, err := r.Resolve(t.Context(), self, source.Credentials{}); err == nil || !strings.Contains(err.Error(), "more than 4 deep") {
		t.Errorf("got %v", err)
	}
}
