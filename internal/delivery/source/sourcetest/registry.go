package sourcetest

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"umbel.dev/umbel/internal/content/registrytest"
	"umbel.dev/umbel/internal/delivery/source"
)

// Registry is a real OCI registry, with a client that may write there.
type Registry struct {
	*registrytest.Registry

	t testing.TB
}

// NewRegistry starts a registry. It ends with the test.
func NewRegistry(t testing.TB, login registrytest.Login) *Registry {
	t.Helper()
	return &Registry{registrytest.Start(t, login), t}
}

// Credentials are what the registry takes, and what it does not.
func (r *Registry) Credentials() (right, wrong source.Credentials) { return accounts(r.CA) }

// repository is one of the registry, to whoever may write there.
func (r *Registry) repository(name string) *remote.Repository {
	r.t.Helper()
	to, err := remote.NewRepository(r.Host + "/" + name)
	if err != nil {
		r.t.Fatal(err)
	}
	client := &auth.Client{Client: r.Client(), Cache: auth.NewCache()}
	if r.Login != registrytest.Open {
		client.Credential = auth.StaticCredential(r.Host, auth.Credential{Username: account, Password: Canary})
	}
	to.Client = client
	return to
}

// Layer is one of an artifact.
type Layer struct {
	MediaType   string
	Blob        []byte
	Annotations map[string]string
}

// Push makes an artifact of layers and gives it tags. It returns its digest.
func (r *Registry) Push(repository string, layers []Layer, tags ...string) string {
	r.t.Helper()
	to := r.repository(repository)
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: "application/vnd.example.test", Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{},
	}
	r.pushBlob(to, ocispec.DescriptorEmptyJSON, ocispec.DescriptorEmptyJSON.Data)
	for _, layer := range layers {
		d := described(layer.MediaType, layer.Blob)
		d.Annotations = layer.Annotations
		r.pushBlob(to, d, layer.Blob)
		manifest.Layers = append(manifest.Layers, d)
	}
	raw, err := json.Marshal(manifest)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, tag := range tags {
		r.pushManifest(to, raw, tag)
	}
	return digest.FromBytes(raw).String()
}

// PushRaw gives a tag to a manifest as it is, and keeps blobs for it.
func (r *Registry) PushRaw(repository, tag string, manifest []byte, blobs ...[]byte) {
	r.t.Helper()
	to := r.repository(repository)
	for _, blob := range blobs {
		r.pushBlob(to, described("application/octet-stream", blob), blob)
	}
	r.pushManifest(to, manifest, tag)
}

// Blob is the file of a blob on the registry's disk.
func (r *Registry) Blob(digest string) string {
	hash := strings.TrimPrefix(digest, "sha256:")
	return filepath.Join(r.Store(), "docker/registry/v2/blobs/sha256", hash[:2], hash, "data")
}

// Tag gives an artifact many tags, on the registry's disk: one by one they would take their time.
func (r *Registry) Tag(repository, digest string, tags ...string) {
	r.t.Helper()
	links := map[string]string{}
	for _, tag := range tags {
		links[tag+"/current/link"] = digest
	}
	writeFiles(r.t, filepath.Join(r.Store(), "docker/registry/v2/repositories", repository, "_manifests/tags"), links)
}

func described(mediaType string, blob []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(blob), Size: int64(len(blob))}
}

func (r *Registry) pushBlob(to *remote.Repository, d ocispec.Descriptor, blob []byte) {
	r.t.Helper()
	ctx := context.WithoutCancel(r.t.Context())
	if there, err := to.Blobs().Exists(ctx, d); err == nil && there {
		return
	}
	if err := to.Blobs().Push(ctx, d, bytes.NewReader(blob)); err != nil {
		r.t.Fatal(err)
	}
}

// pushManifest gives a manifest a tag, or none if that is empty.
func (r *Registry) pushManifest(to *remote.Repository, raw []byte, tag string) {
	r.t.Helper()
	ctx := context.WithoutCancel(r.t.Context())
	d, err := described(ocispec.MediaTypeImageManifest, raw), error(nil)
	if tag == "" {
		err = to.Manifests().Push(ctx, d, bytes.NewReader(raw))
	} else {
		err = to.Manifests().PushReference(ctx, d, bytes.NewReader(raw), tag)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}
