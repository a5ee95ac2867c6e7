package git

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"umbel.dev/umbel/internal/delivery/source"
)

// Bounds of submodules: how many a commit may have, with those in others, and how deep one may be in others.
const (
	maxSubmodules = 64
	maxDepth      = 4
)

const modulesFile = ".gitmodules"

// submodules are the repositories that a commit has in it, by the path of each, as Refs to the commits that it names. One that
// .gitmodules does not tell the address of is left out, and so stays what cannot be read.
func submodules(ref source.Ref, tree *Tree) (map[string]source.Ref, error) {
	if !ref.Submodules {
		return nil, nil
	}
	text, err := tree.ReadFile(modulesFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	said, err := modulesIn(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", modulesFile, err)
	}
	found := map[string]source.Ref{}
	for _, module := range said {
		at := path.Clean(module.Path)
		hash, err := tree.submoduleAt(at)
		if err != nil {
			return nil, err
		}
		if hash == "" {
			continue // it is named, and not there
		}
		if found[at], err = within(ref, module.URL, hash); err != nil {
			return nil, fmt.Errorf("%s: submodule %q: %w", modulesFile, module.Name, err)
		}
	}
	return found, nil
}

// modulesIn are those that a .gitmodules names, by their names.
func modulesIn(text []byte) ([]*config.Submodule, error) {
	said := config.NewModules()
	if err := said.Unmarshal(text); err != nil {
		return nil, err
	}
	var all []*config.Submodule
	for _, name := range slices.Sorted(maps.Keys(said.Submodules)) {
		module := said.Submodules[name]
		if at := path.Clean(module.Path); !fs.ValidPath(at) || at == "." {
			return nil, fmt.Errorf("submodule %q has the path %q, which is none in the repository", name, module.Path)
		}
		all = append(all, module)
	}
	return all, nil
}

// submoduleAt is the commit that stands at a path; empty when something else does, or nothing.
func (t *Tree) submoduleAt(name string) (string, error) {
	parent, err := t.folder(path.Dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if entry := parent.entry(path.Base(name)); entry != nil && entry.Mode == filemode.Submodule {
		return entry.Hash.String(), nil
	}
	return "", nil
}

// within is the Ref of a submodule. An address may be relative to that of the repository. The Secret goes along to the same
// server alone, and a remote repository does not lead to the hub's own disk.
func within(parent source.Ref, address, commit string) (source.Ref, error) {
	from, err := transport.NewEndpoint(parent.URL)
	if err != nil {
		return source.Ref{}, err
	}
	if strings.HasPrefix(address, "./") || strings.HasPrefix(address, "../") {
		if address, err = relative(parent.URL, address); err != nil {
			return source.Ref{}, err
		}
	}
	to, err := transport.NewEndpoint(address)
	if err != nil {
		return source.Ref{}, fmt.Errorf("its url %q cannot be read: %w", source.Redact(address), err)
	}
	if to.Protocol == "file" && from.Protocol != "file" {
		return source.Ref{}, errors.New("its url is a path of the disk; give an address that begins with https:// or ssh://")
	}
	ref := source.Ref{Kind: source.Git, URL: address, Name: commit, Submodules: true}
	if to.Protocol == from.Protocol && to.Host == from.Host && portOf(to) == portOf(from) {
		ref.Secret = parent.Secret
	}
	return ref, nil
}

// portOf is the port of an address, be it written or not.
func portOf(at *transport.Endpoint) int {
	usual := map[string]int{"ssh": 22, "http": 80, "https": 443}
	return cmp.Or(at.Port, usual[at.Protocol])
}

// relative is an address that is relative to another one, as git takes it: ../other.git stands beside it.
func relative(from, address string) (string, error) {
	if !strings.Contains(from, "://") { // USER@HOST:PATH
		host, at, _ := strings.Cut(from, ":")
		return host + ":" + path.Join(at, address), nil
	}
	base, err := url.Parse(from)
	if err != nil {
		return "", fmt.Errorf("its url is relative to one that cannot be read: %w", err)
	}
	base.Path = path.Join(base.Path, address)
	return base.String(), nil
}

// fetchSubmodules fetches what a commit has in it, and what those have.
func (r *Reader) fetchSubmodules(ctx context.Context, ref source.Ref, commit string, with source.Credentials) error {
	return r.fetchWithin(ctx, ref, commit, with, &nesting{fetched: map[source.Ref]bool{}})
}

// nesting is how far a fetch is in submodules, and what it has fetched of them.
type nesting struct {
	depth   int
	fetched map[source.Ref]bool
}

func (r *Reader) fetchWithin(ctx context.Context, ref source.Ref, commit string, with source.Credentials, n *nesting) error {
	tree, err := r.tree(ref, commit, nil)
	if err != nil {
		return err
	}
	n.depth++
	defer func() { n.depth-- }()
	for _, at := range slices.Sorted(maps.Keys(tree.submodules)) {
		sub, credentials := tree.submodules[at], with
		if n.fetched[sub] {
			continue
		}
		if n.fetched[sub] = true; len(n.fetched) > maxSubmodules {
			return fmt.Errorf("there are more than %d submodules, with those in others", maxSubmodules)
		}
		if n.depth > maxDepth {
			return fmt.Errorf("submodules are more than %d deep in each other at %s", maxDepth, at)
		}
		if sub.Secret == "" {
			credentials = source.Credentials{}
		}
		if _, err = r.resolve(ctx, sub, credentials); err == nil {
			err = r.belongs(sub, ref)
		}
		if err == nil {
			err = r.fetchWithin(ctx, sub, sub.Name, credentials, n)
		}
		if err != nil {
			return fmt.Errorf("submodule %s: %w", at, err)
		}
	}
	return nil
}

// tree opens a commit with its submodules; left is what may be read of it in all, and nil as much as the limits say.
func (r *Reader) tree(ref source.Ref, commit string, left *source.Limits) (*Tree, error) {
	if left == nil {
		limits := r.config.Limits
		left = &limits
	}
	tree, err := r.mirror(ref).tree(commit, left)
	if err != nil {
		return nil, err
	}
	if tree.submodules, err = submodules(ref, tree); err != nil {
		return nil, err
	}
	tree.enter = func(sub source.Ref) (*Tree, error) { return r.tree(sub, sub.Name, left) }
	return tree, nil
}

// inside returns the submodule that a path leads into, and the path in there; nil when it leads into none.
func (t *Tree) inside(name string) (*Tree, string, error) {
	if len(t.submodules) == 0 || !fs.ValidPath(name) {
		return nil, "", nil
	}
	for at := name; at != "."; at = path.Dir(at) {
		ref, is := t.submodules[at]
		if !is {
			continue
		}
		if t.entered[at] == nil {
			sub, err := t.enter(ref)
			if err != nil {
				return nil, "", fmt.Errorf("submodule %s: %w", at, err)
			}
			if t.entered == nil {
				t.entered = map[string]*Tree{}
			}
			t.entered[at] = sub
		}
		rest := strings.TrimPrefix(strings.TrimPrefix(name, at), "/")
		return t.entered[at], path.Clean("./" + rest), nil
	}
	return nil, "", nil
}

// isFolder says whether an entry of a folder can be listed.
func (t *Tree) isFolder(folder string, entry object.TreeEntry) bool {
	if entry.Mode != filemode.Submodule {
		return entry.Mode == filemode.Dir
	}
	_, followed := t.submodules[path.Join(folder, entry.Name)]
	return followed
}
