package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/archive"
)

const (
	// maxManifest bounds a manifest, as registries do.
	maxManifest = 4 << 20
	// maxTags is how many tags are looked at for the newest one of a range.
	maxTags = 20_000
)

// Config is what a Reader needs.
type Config struct {
	// Dir is the folder of what was fetched.
	Dir string
	// Limits of what is fetched and read. The default is source.DefaultLimits.
	Limits source.Limits
}

// Reader reads OCI artifacts. It is a source.Reader.
type Reader struct {
	config Config
	stores *archive.Stores
	trees  archive.Trees
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
	return &Reader{config: config, stores: archive.NewStores(config.Dir)}
}

// Resolve implements source.Reader.
func (r *Reader) Resolve(ctx context.Context, ref source.Ref, with source.Credentials) (source.Revision, error) {
	repository, done, err := dial(ref, with, r.config.Limits.Fetch)
	if err != nil {
		return source.Revision{}, err
	}
	defer done()
	tag, err := tagOf(ctx, repository, ref)
	if err != nil {
		return source.Revision{}, explain(ref, tag, err)
	}
	found, err := repository.Resolve(ctx, tag)
	if err == nil {
		err = r.fetch(ctx, repository, ref, found)
	}
	if err == nil && ref.Signed {
		err = r.fetchSignatures(ctx, repository, ref, found)
	}
	if err != nil {
		return source.Revision{}, explain(ref, tag, err)
	}
	return source.Revision{ID: found.Digest.String(), Name: tag}, nil
}

// tagOf returns what a registry is asked for.
func tagOf(ctx context.Context, repository *remote.Repository, ref source.Ref) (string, error) {
	if ref.Range == "" {
		return ref.Name, nil
	}
	var tags []string
	err := repository.Tags(ctx, "", func(page []string) error {
		if tags = append(tags, page...); len(tags) > maxTags {
			return fmt.Errorf("it has more than %d tags: name one", maxTags)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if ref.Kind == source.Helm { // a tag cannot have the + of a version, so that Helm writes _
		for i := range tags {
			tags[i] = strings.ReplaceAll(tags[i], "_", "+")
		}
	}
	tag, err := source.Newest(tags, ref.Range)
	if ref.Kind == source.Helm {
		tag = strings.ReplaceAll(tag, "+", "_")
	}
	switch {
	case err != nil:
		return "", source.RefNotFound(ref, "spec.source.%s: %w", ref.Kind, err)
	case tag == "":
		return "", source.RefNotFound(ref, "none of its %d tags is a version that %q allows", len(tags), ref.Range)
	}
	return tag, nil
}

// fetch brings the manifest and the layers of an artifact.
func (r *Reader) fetch(ctx context.Context, repository *remote.Repository, ref source.Ref, found ocispec.Descriptor) error {
	store, err := r.stores.Open(ref)
	if err != nil {
		return err
	}
	switch found.MediaType {
	case ocispec.MediaTypeImageManifest, "application/vnd.docker.distribution.manifest.v2+json":
	default:
		return source.RefNotFound(ref, "%s is of type %q and no artifact: name one by its digest", found.Digest, found.MediaType)
	}
	if found.Size > maxManifest {
		return fmt.Errorf("the manifest: %w", source.ErrTooLarge)
	}
	raw, err := content.FetchAll(ctx, repository, found)
	if err != nil {
		return err
	}
	manifest, err := read(raw)
	if err != nil {
		return err
	}
	left := r.config.Limits.Fetch
	for _, layer := range manifest.Layers {
		if left -= layer.Size; left < 0 {
			return source.ErrTooLarge
		}
		if store.Has(layer.Digest.String()) || ignored(layer) {
			continue
		}
		if err := copyLayer(ctx, repository, store, layer); err != nil {
			return fmt.Errorf("layer %s: %w", layer.Digest, err)
		}
	}
	return store.Put(found.Digest.String(), bytes.NewReader(raw), maxManifest)
}

func copyLayer(ctx context.Context, repository *remote.Repository, store *archive.Store, layer ocispec.Descriptor) error {
	blob, err := repository.Blobs().Fetch(ctx, layer)
	if err != nil {
		return err
	}
	defer blob.Close()
	return store.Put(layer.Digest.String(), blob, layer.Size)
}

func read(raw []byte) (*ocispec.Manifest, error) {
	var manifest ocispec.Manifest
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return nil, errors.New("the manifest is no JSON that can be read")
	}
	for _, layer := range manifest.Layers {
		if layer.Size < 0 { // it would make room for the others
			return nil, fmt.Errorf("the manifest says of layer %s that it has %d bytes", layer.Digest, layer.Size)
		}
	}
	return &manifest, nil
}

// Tree implements source.Reader.
func (r *Reader) Tree(ref source.Ref, revision string) (fs.FS, error) {
	store, err := r.stores.Open(ref)
	if err != nil {
		return nil, err
	}
	return r.trees.Get(store.Dir()+" "+revision, func() (*archive.Files, error) { return unpack(store, revision, r.config.Limits) })
}

// Tidy implements source.Keeper.
func (r *Reader) Tidy(_ context.Context, used []source.Ref, now time.Time) error {
	return r.stores.Sweep(used, now)
}

// Stores are where artifacts are kept.
func (r *Reader) Stores() *archive.Stores { return r.stores }

// dial prepares for speaking with a registry, and returns what ends that.
func dial(ref source.Ref, with source.Credentials, limit int64) (*remote.Repository, func(), error) {
	scheme, address, _ := strings.Cut(ref.URL, "://")
	address = strings.TrimRight(address, "/")
	if ref.Chart != "" {
		address += "/" + ref.Chart
	}
	repository, err := remote.NewRepository(address)
	if err != nil || repository.Reference.Reference != "" {
		return nil, nil, source.RefNotFound(ref, "the address has to be oci://HOST/PATH, with the version in a field of its own")
	}
	line := source.Encrypted
	if repository.PlainHTTP = scheme == "oci+http"; repository.PlainHTTP {
		line = source.PlainHTTP
	}
	if err := with.CheckLine(ref, repository.Reference.Host(), line); err != nil {
		return nil, nil, err
	}
	speaking, err := source.NewTransport(ref, with, source.NewAllowance(limit+maxManifest))
	if err != nil {
		return nil, nil, err
	}
	account := auth.Credential{Username: with.Username, Password: with.Password, AccessToken: with.Token}
	repository.Client = &auth.Client{
		Client: &http.Client{Transport: speaking}, Cache: auth.NewCache(),
		Credential: auth.StaticCredential(repository.Reference.Host(), account),
	}
	repository.SkipReferrersGC = true
	return repository, speaking.CloseIdleConnections, nil
}

// explain says in our words what a registry answers.
func explain(ref source.Ref, tag string, err error) error {
	if answer, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		switch answer.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			return source.Refused(ref)
		case http.StatusNotFound:
			err = errdef.ErrNotFound
		}
	}
	if errors.Is(err, errdef.ErrNotFound) {
		return source.RefNotFound(ref, "the registry has no %q there", tag)
	}
	if errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return source.Refused(ref)
	}
	return err
}
