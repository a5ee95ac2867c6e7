package helm

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strings"
	"sync"
	"time"

	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/archive"
	"umbel.dev/umbel/internal/delivery/source/oci"
)

// Config is what a Reader needs.
type Config struct {
	// Dir is the folder of what was fetched.
	Dir string
	// Limits of what is fetched and read. The default is source.DefaultLimits.
	Limits source.Limits
}

// Reader reads charts. It is a source.Reader.
type Reader struct {
	config     Config
	registries *oci.Reader
	trees      archive.Trees

	mu      sync.Mutex
	indexes map[indexKey]*index
}

var (
	_ source.Reader = (*Reader)(nil)
	_ source.Keeper = (*Reader)(nil)
)

// New returns a Reader.
func New(config Config) *Reader {
	if config.Limits == (source.Limits{}) {
		config.Limits = source.DefaultLimits
	}
	return &Reader{
		config: config, registries: oci.New(oci.Config{Dir: config.Dir, Limits: config.Limits}), indexes: map[indexKey]*index{},
	}
}

func overOCI(ref source.Ref) bool { return strings.HasPrefix(ref.URL, "oci") }

// Resolve implements source.Reader.
func (r *Reader) Resolve(ctx context.Context, ref source.Ref, with source.Credentials) (source.Revision, error) {
	if !overOCI(ref) {
		return r.resolveHTTP(ctx, ref, with)
	}
	at, err := r.registries.Resolve(ctx, ref, with)
	if err != nil {
		return source.Revision{}, err
	}
	return revision(at.Name, at.ID), nil
}

func revision(version, digest string) source.Revision {
	return source.Revision{ID: version + "@" + digest, Name: version}
}

// Evidence implements source.Witness, for charts in OCI registries.
func (r *Reader) Evidence(ref source.Ref, of source.Revision) (source.Evidence, error) {
	_, digest, found := strings.Cut(of.ID, "@")
	if !found || !overOCI(ref) {
		return source.Evidence{}, fmt.Errorf("%q is no chart of an OCI registry", of.ID)
	}
	return r.registries.Evidence(ref, source.Revision{ID: digest})
}

// Before implements source.Witness: a version says by itself which is the older one, and its range which is taken.
func (r *Reader) Before(source.Ref, string, string) (bool, error) { return false, nil }

// Tree implements source.Reader.
func (r *Reader) Tree(ref source.Ref, revision string) (fs.FS, error) {
	_, digest, found := strings.Cut(revision, "@")
	if !found {
		return nil, fmt.Errorf("%q is no revision of a chart", revision)
	}
	store, err := r.registries.Stores().Open(ref)
	if err != nil {
		return nil, err
	}
	return r.trees.Get(store.Dir()+" "+digest, func() (*archive.Files, error) {
		files, err := r.unpack(ref, store, digest)
		if err != nil {
			return nil, err
		}
		return files.Inside()
	})
}

// Tidy implements source.Keeper.
func (r *Reader) Tidy(ctx context.Context, used []source.Ref, now time.Time) error {
	needed := map[indexKey]bool{}
	for _, ref := range used {
		needed[indexKey{ref.URL, ref.Chart, ref.Secret}] = true
	}
	r.mu.Lock()
	maps.DeleteFunc(r.indexes, func(key indexKey, _ *index) bool { return !needed[key] }) // it is asked for again
	r.mu.Unlock()
	return r.registries.Tidy(ctx, used, now)
}

func (r *Reader) unpack(ref source.Ref, store *archive.Store, digest string) (*archive.Files, error) {
	if overOCI(ref) {
		tree, err := r.registries.Tree(ref, digest)
		if err != nil {
			return nil, err
		}
		return tree.(*archive.Files), nil
	}
	files := archive.NewFiles()
	err := store.Read(digest, func(blob io.Reader) error { return files.Unpack(blob, archive.NewBudget(r.config.Limits)) })
	return files, err
}
