package content

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// ArtifactType is the type of the manifests that refer to content.
const ArtifactType = "application/vnd.umbel.release.v1"

var (
	// ErrNotFound says that the registry does not have the content.
	ErrNotFound = errors.New("content not found")
	// ErrCorrupt says that what the registry sent is not what the digest stands for.
	ErrCorrupt = errors.New("content does not match its digest")
	// ErrTooLarge says that the content is larger than the caller takes.
	ErrTooLarge = errors.New("content too large")
)

// Store is the client of one registry. It may be used from many goroutines.
type Store struct {
	host      string
	plainHTTP bool
	prefix    string // of every repository; empty, or without slashes at its ends
	client    remote.Client
}

// NewStore returns the client of the registry at base, such as https://registry.example:5000, that talks through the
// given transport. Over a tunnel or in-process (see InProcess) only the path of base's requests matters.
func NewStore(base string, transport http.RoundTripper) (*Store, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("reading the registry's address: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("reading the registry's address %q: it has to be http://HOST or https://HOST", base)
	}
	return &Store{host: u.Host, plainHTTP: u.Scheme == "http", client: &http.Client{Transport: transport}}, nil
}

// Name returns how nodes and people call a repository of the registry, such as registry.example/fleet/umbel/agent.
func (s *Store) Name(repository string) string { return s.host + "/" + s.path(repository) }

// path of a repository in the registry.
func (s *Store) path(repository string) string {
	if s.prefix == "" {
		return repository
	}
	return s.prefix + "/" + repository
}

// base is the registry's address.
func (s *Store) base() string {
	if s.plainHTTP {
		return "http://" + s.host
	}
	return "https://" + s.host
}

func (s *Store) repository(name string) (*remote.Repository, error) {
	ref := registry.Reference{Registry: s.host, Repository: s.path(name)}
	if err := ref.ValidateRepository(); err != nil {
		return nil, fmt.Errorf("repository %q: %w", name, err)
	}
	repo := &remote.Repository{Reference: ref, PlainHTTP: s.plainHTTP, Client: s.client}
	return repo, nil
}

// Digest of bytes, as sha256:….
func Digest(blob []byte) string {
	return digest.FromBytes(blob).String()
}

// Push stores a blob and returns its digest. It may be repeated, and does nothing when the content is there.
func (s *Store) Push(ctx context.Context, repository, mediaType string, blob []byte) (string, error) {
	repo, err := s.repository(repository)
	if err != nil {
		return "", err
	}
	layer := describe(mediaType, blob)
	if err := ensureBlob(ctx, repo, layer, blob); err != nil {
		return "", fmt.Errorf("pushing content %s to %s: %w", layer.Digest, repository, err)
	}
	if err := ensureBlob(ctx, repo, ocispec.DescriptorEmptyJSON, ocispec.DescriptorEmptyJSON.Data); err != nil {
		return "", fmt.Errorf("pushing the empty configuration to %s: %w", repository, err)
	}
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: ArtifactType,
		Config:       ocispec.DescriptorEmptyJSON,
		Layers:       []ocispec.Descriptor{layer},
	})
	if err != nil {
		return "", fmt.Errorf("writing the manifest of %s: %w", layer.Digest, err)
	}
	descriptor := describe(ocispec.MediaTypeImageManifest, manifest)
	tag := tagOf(layer.Digest)
	if there, err := repo.Manifests().Resolve(ctx, tag); err == nil && there.Digest == descriptor.Digest {
		return layer.Digest.String(), nil
	}
	if err := repo.Manifests().PushReference(ctx, descriptor, bytes.NewReader(manifest), tag); err != nil {
		return "", fmt.Errorf("pushing the manifest of %s to %s: %w", layer.Digest, repository, err)
	}
	return layer.Digest.String(), nil
}

func describe(mediaType string, blob []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(blob), Size: int64(len(blob))}
}

// ensureBlob pushes a blob that is missing, or that a crash of the machine left there in part.
func ensureBlob(ctx context.Context, repo *remote.Repository, desc ocispec.Descriptor, blob []byte) error {
	there, err := repo.Blobs().Resolve(ctx, desc.Digest.String())
	if err == nil && there.Size == desc.Size {
		return nil
	}
	if err != nil && !errors.Is(err, errdef.ErrNotFound) {
		return err
	}
	return repo.Blobs().Push(ctx, desc, bytes.NewReader(blob))
}

// Has says whether the registry has the blob, in the given size and with a manifest that refers to it.
func (s *Store) Has(ctx context.Context, repository, blobDigest string, size int64) (bool, error) {
	repo, err := s.repository(repository)
	if err != nil {
		return false, err
	}
	blob, err := repo.Blobs().Resolve(ctx, blobDigest)
	if err == nil {
		_, err = repo.Manifests().Resolve(ctx, tagOf(digest.Digest(blobDigest)))
	}
	if errors.Is(err, errdef.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for content %s in %s: %w", blobDigest, repository, err)
	}
	return blob.Size == size, nil
}

// Pull returns a blob of at most maxSize bytes, verified. Errors: ErrNotFound, ErrTooLarge, ErrCorrupt, or what the
// transport gave.
func (s *Store) Pull(ctx context.Context, repository, blobDigest string, maxSize int64) ([]byte, error) {
	blob, err := s.pull(ctx, repository, blobDigest, maxSize)
	if err != nil {
		return nil, fmt.Errorf("pulling content %s from %s: %w", blobDigest, repository, err)
	}
	return blob, nil
}

func (s *Store) pull(ctx context.Context, repository, blobDigest string, maxSize int64) ([]byte, error) {
	want := digest.Digest(blobDigest)
	if err := want.Validate(); err != nil || want.Algorithm() != digest.SHA256 {
		return nil, fmt.Errorf("%w: a digest is sha256: and 64 hex digits", ErrCorrupt)
	}
	ref := registry.Reference{Registry: s.host, Repository: s.path(repository)}
	if err := ref.ValidateRepository(); err != nil {
		return nil, fmt.Errorf("repository %q: %w", repository, err)
	}
	address := fmt.Sprintf("%s/v2/%s/blobs/%s", s.base(), ref.Repository, blobDigest)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, ErrNotFound
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the registry answered %s", resp.Status)
	}
	return readVerified(resp, want, maxSize)
}

// readVerified reads the body of an answer. What the answer says of its size is only used to refuse it early.
func readVerified(resp *http.Response, want digest.Digest, maxSize int64) ([]byte, error) {
	if resp.ContentLength > maxSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are taken", ErrTooLarge, resp.ContentLength, maxSize)
	}
	var blob bytes.Buffer
	if resp.ContentLength > 0 {
		blob.Grow(int(resp.ContentLength) + bytes.MinRead)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(&blob, sum), io.LimitReader(resp.Body, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("after %d bytes: %w", n, err)
	}
	if n > maxSize {
		return nil, fmt.Errorf("%w: at most %d bytes are taken", ErrTooLarge, maxSize)
	}
	if got := digest.NewDigest(digest.SHA256, sum); got != want {
		return nil, fmt.Errorf("%w: got %d bytes with digest %s", ErrCorrupt, n, got)
	}
	return blob.Bytes(), nil
}

// Delete lets go of a blob: the registry drops it when it collects garbage. It may be repeated; content that is not
// there is no error.
func (s *Store) Delete(ctx context.Context, repository, blobDigest string) error {
	repo, err := s.repository(repository)
	if err != nil {
		return err
	}
	manifest, err := repo.Manifests().Resolve(ctx, tagOf(digest.Digest(blobDigest)))
	if err == nil {
		err = repo.Manifests().Delete(ctx, manifest)
	}
	var answer *errcode.ErrorResponse
	if errors.As(err, &answer) && answer.StatusCode == http.StatusMethodNotAllowed {
		return nil // a registry that collects by rules of its own
	}
	if err != nil && !errors.Is(err, errdef.ErrNotFound) {
		return fmt.Errorf("deleting content %s from %s: %w", blobDigest, repository, err)
	}
	return nil
}

// tagOf names the manifest of a blob. (sha256-… alone would be taken for a list of referrers.)
func tagOf(d digest.Digest) string {
	_, encoded, _ := strings.Cut(string(d), ":")
	return "content-" + encoded
}
