package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source"
)

// Config is what a Reader needs.
type Config struct {
	// Dir is the folder of the mirrors.
	Dir string
	// Local are the folders of this machine's disk in which file:// repositories may be read. The default is none.
	Local []string
	// Limits of what is fetched and read. The default is source.DefaultLimits.
	Limits source.Limits
}

// Reader reads Git repositories. It is a source.Reader.
type Reader struct {
	config Config

	mu      sync.Mutex
	mirrors map[string]*mirror // by folder
}

var _ source.Reader = (*Reader)(nil)

// New returns a Reader.
func New(config Config) (*Reader, error) {
	if config.Limits == (source.Limits{}) {
		config.Limits = source.DefaultLimits
	}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the mirrors: %w", err)
	}
	return &Reader{config: config, mirrors: map[string]*mirror{}}, nil
}

// Resolve implements source.Reader.
func (r *Reader) Resolve(ctx context.Context, ref source.Ref, with source.Credentials) (source.Revision, error) {
	revision, err := r.resolve(ctx, ref, with)
	if err == nil && ref.Submodules {
		err = r.fetchSubmodules(ctx, ref, revision.ID, with)
	}
	return revision, err
}

// resolve fetches one repository. Fetches of one mirror come one after the other, and wait for that no longer than they may take.
func (r *Reader) resolve(ctx context.Context, ref source.Ref, with source.Credentials) (source.Revision, error) {
	if err := permit(ref, r.config.Local); err != nil {
		return source.Revision{}, err
	}
	m := r.mirror(ref)
	select {
	case m.fetching <- struct{}{}:
		defer func() { <-m.fetching }()
	case <-ctx.Done():
		return source.Revision{}, ctx.Err()
	}
	revision, err := m.update(ctx, ref, with)
	return revision, explain(ref, err)
}

// Tree implements source.Reader.
func (r *Reader) Tree(ref source.Ref, commit string) (fs.FS, error) {
	return r.tree(ref, commit, nil)
}

// mirror returns the one of a Ref, and notes that it is used.
func (r *Reader) mirror(ref source.Ref) *mirror {
	dir := mirrorDir(r.config.Dir, ref)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	_ = os.Chtimes(dir, now, now) // it may not be there yet, and then it is made now
	return r.at(dir)
}

// at returns the mirror of a folder. The caller holds mu.
func (r *Reader) at(dir string) *mirror {
	m := r.mirrors[dir]
	if m == nil {
		m = &mirror{dir: dir, limit: r.config.Limits.Fetch, packs: packs{dir: dir}, fetching: make(chan struct{}, 1)}
		r.mirrors[dir] = m
	}
	return m
}

// mirrorDir is the folder of a mirror. Who names another Secret, or none, may not read what was fetched with this one.
func mirrorDir(root string, ref source.Ref) string {
	name := ref.URL
	if ref.Secret != "" {
		name += "\x00" + ref.Secret
	}
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(root, hex.EncodeToString(sum[:10])+".git")
}

// explain says in our words what go-git says, where there is a next step.
func explain(ref source.Ref, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return source.RefNotFound(ref, "the repository is empty, so it has no %q", ref.Version())
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return source.Fail(v1alpha1.ReasonFetchFailed, ref, "there is no repository at this address")
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return source.Refused(ref)
	}
	return err
}
