package sourcetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

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
	return r.path("store/docker/registry/v2/blobs/sha256/" + hash[:2] + "/" + hash + "/data")
}

// Tag gives an artifact many tags, on the registry's disk: one by one they would take their time.
func (r *Registry) Tag(repository, digest string, tags ...string) {
	r.t.Helper()
	links := map[string]string{}
	for _, tag := range tags {
		links[tag+"/current/link"] = digest
	}
	writeFiles(r.t, r.path("store/docker/registry/v2/repositories/"+repository+"/_manifests/tags"), links)
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
