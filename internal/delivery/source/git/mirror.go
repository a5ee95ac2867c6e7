package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"umbel.dev/umbel/internal/delivery/source"
)

// mirror is a bare repository on the disk that holds what was fetched from one URL with one Secret.
type mirror struct {
	dir   string
	limit int64 // bytes of a fetch
	packs packs
	// fetching has room for the one fetch that is under way. Trees are read meanwhile: no object is ever taken away.
	fetching chan struct{}
	// broken is set when something in it could not be read; the next fetch begins anew.
	broken atomic.Bool
}

var fullHash = regexp.MustCompile(`^[0-9a-f]{40}$`)

// IsCommit says whether the name of a Ref is a commit's full hash, and so nothing that somebody can move.
func IsCommit(name string) bool { return fullHash.MatchString(name) }

// errUnreadable says that a mirror lacks an object that it should have, or has it in a form that cannot be read.
var errUnreadable = errors.New("the mirror cannot be read and will be made anew")

// open returns the storage of the mirror. It is opened for each use, so that an idle mirror costs no memory.
func (m *mirror) open() *filesystem.Storage {
	return filesystem.NewStorage(shown{osfs.New(m.dir), &m.packs}, cache.NewObjectLRU(16*cache.MiByte))
}

// update makes sure that the mirror has the commit that the Ref points at, and returns it. The caller has the room in fetching.
func (m *mirror) update(ctx context.Context, ref source.Ref, with source.Credentials) (source.Revision, error) {
	if m.broken.Swap(false) {
		if err := os.RemoveAll(m.dir); err != nil {
			return source.Revision{}, fmt.Errorf("removing a broken mirror: %w", err)
		}
	}
	revision, err := m.fetch(ctx, ref, with)
	if err == nil || ctx.Err() != nil || !errors.Is(err, errUnreadable) {
		return revision, err
	}
	if err := os.RemoveAll(m.dir); err != nil {
		return source.Revision{}, fmt.Errorf("removing a broken mirror: %w", err)
	}
	return m.fetch(ctx, ref, with)
}

func (m *mirror) fetch(ctx context.Context, ref source.Ref, with source.Credentials) (source.Revision, error) {
	if _, err := os.Stat(filepath.Join(m.dir, "HEAD")); err != nil {
		if _, err := git.PlainInit(m.dir, true); err != nil && !errors.Is(err, git.ErrRepositoryAlreadyExists) {
			return source.Revision{}, fmt.Errorf("making a mirror: %w", err)
		}
	}
	storage := m.open()
	defer storage.Close()
	if ref.Range == "" && fullHash.MatchString(ref.Name) && hasCommit(storage, plumbing.NewHash(ref.Name)) {
		return source.Revision{ID: ref.Name}, nil // a commit never changes
	}
	from, err := dial(ctx, ref, with, m.limit)
	if err != nil {
		return source.Revision{}, err
	}
	defer from.close()
	found, err := find(from.heads, ref)
	if err != nil {
		return source.Revision{}, err
	}
	if !hasCommit(storage, found.commit) || lacks(storage, found) {
		if err := from.fetch(ctx, storage, found.wants); err != nil {
			return source.Revision{}, err
		}
	}
	return m.fetched(ref, found)
}

// fetched looks for what was asked for in what came.
func (m *mirror) fetched(ref source.Ref, found target) (source.Revision, error) {
	storage := m.open() // again: the one that was fetched into may not see its own packs
	defer storage.Close()
	commit, err := peel(storage, found.commit)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		if found.name == "" {
			return source.Revision{}, source.RefNotFound(ref, "there is no commit %s", ref.Name)
		}
		return source.Revision{}, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if err != nil {
		return source.Revision{}, err
	}
	revision := source.Revision{ID: commit, Name: found.name}
	for _, hash := range found.wants { // a branch or a tag has one
		if _, err := object.GetTag(storage, hash); err == nil && found.name != "" {
			revision.Tag = hash.String()
		}
	}
	return revision, nil
}

// target is where a Ref was found in a remote.
type target struct {
	// commit is the hash of the commit, or of a tag that leads to it.
	commit plumbing.Hash
	// name of the branch or tag; empty for a commit.
	name string
	// wants are the references whose objects are needed, by the name that the mirror gives them.
	wants map[plumbing.ReferenceName]plumbing.Hash
}

// find finds a Ref among the references of a remote: the newest version, or a branch, a tag, a commit of the name.
func find(heads map[plumbing.ReferenceName]plumbing.Hash, ref source.Ref) (target, error) {
	if ref.Range != "" {
		return findNewest(heads, ref)
	}
	// As git reads them: a whole hash is a commit, and a whole name of a reference is that one, whatever else is called so.
	names := []plumbing.ReferenceName{plumbing.NewBranchReferenceName(ref.Name), plumbing.NewTagReferenceName(ref.Name)}
	switch full := plumbing.ReferenceName(ref.Name); {
	case fullHash.MatchString(ref.Name):
		names = nil
	case full.IsBranch() || full.IsTag():
		names = []plumbing.ReferenceName{full}
	}
	for _, name := range names {
		if _, ok := heads[name]; ok {
			return targetOf(heads, name), nil
		}
	}
	if full := plumbing.ReferenceName(ref.Name); full.IsTag() {
		return target{}, source.RefNotFound(ref, "there is no tag %q", full.Short())
	}
	if fullHash.MatchString(ref.Name) {
		// Not every server gives a commit by its hash, but every commit that is still of use is below a branch or a tag.
		all := map[plumbing.ReferenceName]plumbing.Hash{}
		for name, hash := range heads {
			if (name.IsBranch() || name.IsTag()) && !strings.HasSuffix(name.String(), peeled) {
				all[mirrored(name)] = hash
			}
		}
		return target{commit: plumbing.NewHash(ref.Name), wants: all}, nil
	}
	return target{}, source.RefNotFound(ref, "there is no branch or tag %q", ref.Name)
}

// peeled follows the name of a tag that has an object of its own, where a server says which commit it leads to.
const peeled = "^{}"

func targetOf(heads map[plumbing.ReferenceName]plumbing.Hash, name plumbing.ReferenceName) target {
	commit := heads[name]
	if at, ok := heads[name+peeled]; ok {
		commit = at
	}
	return target{commit: commit, name: name.Short(), wants: map[plumbing.ReferenceName]plumbing.Hash{mirrored(name): heads[name]}}
}

// mirrored is the name under which a mirror keeps a reference. It is flat, so that a branch a/b may follow a branch a.
func mirrored(name plumbing.ReferenceName) plumbing.ReferenceName {
	sum := sha256.Sum256([]byte(name))
	return plumbing.ReferenceName("refs/umbel/" + hex.EncodeToString(sum[:10]))
}

func findNewest(heads map[plumbing.ReferenceName]plumbing.Hash, ref source.Ref) (target, error) {
	var tags []string
	for name := range heads {
		if name.IsTag() && !strings.HasSuffix(name.String(), peeled) {
			tags = append(tags, name.Short())
		}
	}
	tag, err := source.Newest(tags, ref.Range)
	switch {
	case err != nil:
		return target{}, source.RefNotFound(ref, "spec.source.git.semver: %w", err)
	case tag == "":
		return target{}, source.RefNotFound(ref, "none of its %d tags is a version that %q allows (spec.source.git.semver)", len(tags), ref.Range)
	}
	return targetOf(heads, plumbing.NewTagReferenceName(tag)), nil
}

// lacks says whether the mirror has no object of a tag whose commit it has.
func lacks(storage *filesystem.Storage, found target) bool {
	for _, hash := range found.wants {
		if found.name != "" && storage.HasEncodedObject(hash) != nil {
			return true
		}
	}
	return false
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
func (m *mirror) tree(hash string, left *source.Limits) (*Tree, error) {
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
	listed, err := newFolder(root)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", hash, err)
	}
	return &Tree{
		storage: storage, left: left, modified: commit.Committer.When, broken: func() { m.broken.Store(true) },
		folders: map[string]*folder{".": listed},
	}, nil
}
