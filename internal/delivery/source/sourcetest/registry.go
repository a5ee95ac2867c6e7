package sourcetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"umbel.dev/umbel/internal/content"
)

// Registry is an OCI registry behind HTTPS, which asks for a header.
type Registry struct {
	// Host of the registry, as HOST:PORT, and CA of its certificate, as PEM.
	Host string
	CA   []byte

	t      testing.TB
	server *httptest.Server
	inside http.Handler
}

// NewRegistry starts a registry. It asks for the header Authorization; "" lets everybody in.
func NewRegistry(t testing.TB, authorization string) *Registry {
	t.Helper()
	own, err := content.NewRegistry(content.RegistryConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r := &Registry{t: t, inside: own}
	handler := http.Handler(own)
	if authorization != "" {
		handler = Locked(authorization)(handler)
	}
	r.server = httptest.NewUnstartedServer(handler)
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.server.StartTLS()
	r.Host, r.CA = r.server.Listener.Addr().String(), CA(r.server)
	t.Cleanup(func() {
		r.server.Close()
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// Stop ends the server.
func (r *Registry) Stop() { r.server.Close() }

// Layer is one of an artifact.
type Layer struct {
	MediaType   string
	Blob        []byte
	Annotations map[string]string
}

// Push makes an artifact of layers and gives it tags. It returns its digest.
func (r *Registry) Push(repository string, layers []Layer, tags ...string) string {
	r.t.Helper()
	ctx := context.WithoutCancel(r.t.Context())
	to, err := remote.NewRepository(r.Host + "/" + repository)
	if err != nil {
		r.t.Fatal(err)
	}
	to.Client, to.PlainHTTP = &http.Client{Transport: content.InProcess(r.inside)}, true
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: "application/vnd.example.test", Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{},
	}
	push := func(d ocispec.Descriptor, blob []byte) {
		r.t.Helper()
		if there, err := to.Blobs().Exists(ctx, d); err == nil && there {
			return
		}
		if err := to.Blobs().Push(ctx, d, bytes.NewReader(blob)); err != nil {
			r.t.Fatal(err)
		}
	}
	push(ocispec.DescriptorEmptyJSON, ocispec.DescriptorEmptyJSON.Data)
	for _, layer := range layers {
		d := ocispec.Descriptor{MediaType: layer.MediaType, Digest: digest.FromBytes(layer.Blob), Size: int64(len(layer.Blob)), Annotations: layer.Annotations}
		push(d, layer.Blob)
		manifest.Layers = append(manifest.Layers, d)
	}
	raw, err := json.Marshal(manifest)
	if err != nil {
		r.t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: manifest.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	for _, tag := range tags {
		if err := to.Manifests().PushReference(ctx, d, bytes.NewReader(raw), tag); err != nil {
			r.t.Fatal(err)
		}
	}
	return d.Digest.String()
}

// PushRaw gives a tag to a manifest as it is, and keeps blobs for it.
func (r *Registry) PushRaw(repository, tag string, manifest []byte, blobs ...[]byte) {
	r.t.Helper()
	ctx := context.WithoutCancel(r.t.Context())
	to, err := remote.NewRepository(r.Host + "/" + repository)
	if err != nil {
		r.t.Fatal(err)
	}
	to.Client, to.PlainHTTP = &http.Client{Transport: content.InProcess(r.inside)}, true
	for _, blob := range blobs {
		d := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromBytes(blob), Size: int64(len(blob))}
		if err := to.Blobs().Push(ctx, d, bytes.NewReader(blob)); err != nil {
			r.t.Fatal(err)
		}
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}
	if err := to.Manifests().PushReference(ctx, d, bytes.NewReader(manifest), tag); err != nil {
		r.t.Fatal(err)
	}
}

// Tarball packs files into a tar archive below a folder, with gzip; an empty folder is none.
func Tarball(t testing.TB, folder string, files map[string]string) []byte {
	t.Helper()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if err := WriteTar(zip, folder, files); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// WriteTar writes a tar archive of files below a folder.
func WriteTar(to io.Writer, folder string, files map[string]string) error {
	archive := tar.NewWriter(to)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{Name: strings.TrimPrefix(folder+"/"+name, "/"), Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write([]byte(files[name])); err != nil {
			return err
		}
	}
	return archive.Close()
}
