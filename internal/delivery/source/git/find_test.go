package git

import (
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"umbel.dev/umbel/internal/delivery/source"
)

// TestFind: nothing stands in for what a Ref names: no branch for a tag by its whole name, and neither for a commit.
func TestFind(t *testing.T) {
	hash := func(digit string) plumbing.Hash { return plumbing.NewHash(strings.Repeat(digit, 40)) }
	heads := map[plumbing.ReferenceName]plumbing.Hash{
		"refs/heads/main":         hash("1"),
		"refs/heads/v1":           hash("2"),
		"refs/tags/v1":            hash("3"),
		"refs/heads/refs/tags/v1": hash("4"),
		"refs/heads/refs/tags/v2": hash("4"),
		plumbing.NewBranchReferenceName("refs/heads/main"):  hash("5"),
		plumbing.NewBranchReferenceName(hash("6").String()): hash("7"),
		plumbing.NewTagReferenceName(hash("6").String()):    hash("7"),
	}
	for _, tc := range []struct{ ref, want string }{
		{"main", "1"}, {"v1", "2"}, {"refs/heads/v1", "2"}, {"refs/tags/v1", "3"}, {"refs/heads/main", "1"}, {hash("6").String(), "6"}, {"refs/tags/v2", ""},
	} {
		found, err := find(heads, source.Ref{Kind: source.Git, Name: tc.ref})
		if tc.want == "" {
			if err == nil {
				t.Errorf("%s is found: %s", tc.ref, found.commit)
			}
			continue
		}
		if err != nil || found.commit != hash(tc.want) {
			t.Errorf("%s is %s (%v), want %s", tc.ref, found.commit, err, hash(tc.want))
		}
	}
}

// TestNamesOfFiles: git takes names that are no UTF-8, and so does who reads it.
func TestNamesOfFiles(t *testing.T) {
	for name, fine := range map[string]bool{"a.yaml": true, "caf\xe9.txt": true, `back\slash`: true, "": false, ".": false, "..": false, "a/b": false, "../up": false} {
		if _, err := newFolder(&object.Tree{Entries: []object.TreeEntry{{Name: name}}}); (err == nil) != fine {
			t.Errorf("%q: %v", name, err)
		}
	}
}
