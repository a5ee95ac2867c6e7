package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// mirror is a bare repository on the disk that holds what was fetched from one URL.
type mirror struct {
	dir, url string
	// mu is held by the fetch under way. Trees are read without it: objects are only ever added.
	mu sync.Mutex
	// broken is set when something in it could not be read; the next fetch begins anew.
	broken atomic.Bool
}

var fullHash = regexp.MustCompile(`^[0-9a-f]{40}$`)

func mirrorDir(root, url string) string {
	sum := sha256.Sum256([]byte(url))
	return filepath.Join(root, hex.EncodeToString(sum[:10])+".git")
}

// open returns the storage of the mirror. It is opened for each use, so that an idle mirror costs no memory.
func (m *mirror) open() *filesystem.Storage {
	return filesystem.NewStorage(osfs.New(m.dir), cache.NewObjectLRU(16*cache.MiByte))
}

// update makes sure that the mirror has the commit that the Ref points at, and returns its hash. The caller holds mu.
func (m *mirror) update(ctx context.Context, ref Ref) (string, error) {
	if m.broken.Swap(false) {
		if err := os.RemoveAll(m.dir); err != nil {
			return "", fmt.Errorf("removing a broken mirror: %w", err)
		}
	}
	commit, err := m.fetch(ctx, ref)
	if err == nil || ctx.Err() != nil {
		return commit, err
	}
	if !errors.Is(err, errUnreadable) {
		return "", err
	}
	if err := os.RemoveAll(m.dir); err != nil {
		return "", fmt.Errorf("removing a broken mirror: %w", err)
	}
	return m.fetch(ctx, ref)
}

func (m *mirror) fetch(ctx context.Context, ref Ref) (string, error) {
	if _, err := os.Stat(filepath.Join(m.dir, "HEAD")); err != nil {
		if _, err := git.PlainInit(m.dir, true); err != nil && !errors.Is(err, git.ErrRepositoryAlreadyExists) {
			return "", fmt.Errorf("making a mirror: %w", err)
		}
	}
	storage := m.open()
	defer storage.Close()
	if fullHash.MatchString(ref.Name) && hasCommit(storage, plumbing.NewHash(ref.Name)) {
		return ref.Name, nil // a commit never changes
	}
	remote := git.NewRemote(storage, &config.RemoteConfig{Name: "origin", URLs: []string{m.url}})
	found, err := m.find(ctx, remote, ref)
	if err != nil {
		return "", err
	}
	if hasCommit(storage, found.hash) {
		return found.hash.String(), nil
	}
	err = remote.FetchContext(ctx, &git.FetchOptions{
		RemoteName: "origin", RefSpecs: found.refspecs, Tags: git.NoTags, Force: true,
	})
	if err != nil && !errors.Is(err, git.NoErrAlreadyUpToDate) {
		return "", err
	}
	return m.fetched(ref, found)
}

// fetched looks for what was asked for in what came.
func (m *mirror) fetched(ref Ref, found target) (string, error) {
	storage := m.open() // again: the one that was fetched into may not see its own packs
	defer storage.Close()
	hash := found.hash
	if found.local != "" {
		// The branch may have moved on between the list and the fetch.
		at, err := storage.Reference(found.local)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errUnreadable, err)
		}
		hash = at.Hash()
	}
	commit, err := peel(storage, hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) && found.local == "" {
		return "", refNotFound(ref, "there is no commit %s", ref.Name)
	}
	return commit, err
}

// target is where a Ref was found in a remote.
type target struct {
	hash     plumbing.Hash
	refspecs []config.RefSpec
	// local is the name under which the mirror keeps it; empty for a commit.
	local plumbing.ReferenceName
}

// find asks the remote for its references and finds the Ref among them: a full name, then a branch, a tag, a commit.
func (m *mirror) find(ctx context.Context, remote *git.Remote, ref Ref) (target, error) {
	refs, err := remote.ListContext(ctx, &git.ListOptions{PeelingOption: git.AppendPeeled})
	if err != nil {
		return target{}, err
	}
	hashes := make(map[plumbing.ReferenceName]plumbing.Hash, len(refs))
	for _, r := range refs {
		if r.Type() == plumbing.HashReference {
			hashes[r.Name()] = r.Hash()
		}
	}
	names := []plumbing.ReferenceName{
		plumbing.NewBranchReferenceName(ref.Name), plumbing.NewTagReferenceName(ref.Name),
	}
	for _, name := range names {
		hash, ok := hashes[name]
		if !ok {
			continue
		}
		if peeled, ok := hashes[name+"^{}"]; ok {
			hash = peeled
		}
		local := plumbing.ReferenceName("refs/umbel/" + name.String()[len("refs/"):])
		spec := config.RefSpec(fmt.Sprintf("+%s:%s", name, local))
		return target{hash: hash, local: local, refspecs: []config.RefSpec{spec}}, nil
	}
	if fullHash.MatchString(ref.Name) {
		// Not every server gives a commit by its hash, but every commit that is still of use is below a branch or a tag.
		return target{hash: plumbing.NewHash(ref.Name), refspecs: []config.RefSpec{
			"+refs/heads/*:refs/umbel/heads/*", "+refs/tags/*:refs/umbel/tags/*",
		}}, nil
	}
	return target{}, refNotFound(ref, "there is no branch or tag %q", ref.Name)
}

func hasCommit(storage *filesystem.Storage, hash plumbing.Hash) bool {
	_, err := object.GetCommit(storage, hash)
	return err == nil
}

// peel follows annotated tags to their commit.
func peel(storage *filesystem.Storage, hash plumbing.Hash) (string, error) {
	for range 10 {
		tag, err := object.GetTag(storage, hash)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("%w: %w", errUnreadable, err)
		}
		hash = tag.Target
	}
	commit, err := object.GetCommit(storage, hash)
	if err != nil {
		return "", err
	}
	return commit.Hash.String(), nil
}

// tree opens a commit.
func (m *mirror) tree(hash string, limits Limits) (*Tree, error) {
	storage := m.open()
	commit, err := object.GetCommit(storage, plumbing.NewHash(hash))
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, fmt.Errorf("commit %s has not been fetched", hash)
	}
	if err != nil {
		m.broken.Store(true)
		return nil, fmt.Errorf("%w: commit %s: %w", errUnreadable, hash, err)
	}
	root, err := commit.Tree()
	if err != nil {
		m.broken.Store(true)
		return nil, fmt.Errorf("%w: the files of commit %s: %w", errUnreadable, hash, err)
	}
	return &Tree{
		storage: storage, left: limits, modified: commit.Committer.When, broken: func() { m.broken.Store(true) },
		trees: map[string]*object.Tree{".": root},
	}, nil
}
