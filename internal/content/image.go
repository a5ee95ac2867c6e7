package content

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
)

// binaryAnnotation of an image's manifest is the SHA-256 of its binary: it tells whether a registry has the image.
const binaryAnnotation = "dev.umbel.binary.sha256"

// PushImage pushes a container image that holds static binaries and runs the first of them, as repository:tag. The same
// binaries give the same image; when the registry has it under that tag already, nothing is sent.
func (s *Store) PushImage(ctx context.Context, repository, tag string, binaries ...string) error {
	repo, err := s.repository(repository)
	if err != nil {
		return err
	}
	sum, err := fileSum(binaries...)
	if err != nil {
		return fmt.Errorf("reading the binaries of image %s:%s: %w", repository, tag, err)
	}
	if hasImage(ctx, repo, tag, sum) {
		return nil
	}
	img, err := image(binaries, sum)
	if err != nil {
		return fmt.Errorf("making image %s:%s: %w", repository, tag, err)
	}
	if err := push(ctx, repo, tag, img); err != nil {
		return fmt.Errorf("pushing image %s:%s: %w", repository, tag, err)
	}
	return nil
}

// hasImage says whether the image of the binary is there. Where that cannot be told it is not, and gets pushed.
func hasImage(ctx context.Context, repo *remote.Repository, tag, sum string) bool {
	_, body, err := repo.Manifests().FetchReference(ctx, tag)
	if err != nil {
		return false
	}
	defer body.Close()
	var manifest ocispec.Manifest
	if err := json.NewDecoder(io.LimitReader(body, 1<<20)).Decode(&manifest); err != nil {
		return false
	}
	if manifest.Annotations[binaryAnnotation] != sum {
		return false
	}
	for _, blob := range append(manifest.Layers, manifest.Config) {
		if there, err := repo.Blobs().Resolve(ctx, blob.Digest.String()); err != nil || there.Size != blob.Size {
			return false
		}
	}
	return true
}

func push(ctx context.Context, repo *remote.Repository, tag string, img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		body, err := layer.Compressed()
		if err != nil {
			return err
		}
		blob, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		if err := body.Close(); err != nil {
			return err
		}
		if err := ensureBlob(ctx, repo, describe(ocispec.MediaTypeImageLayerGzip, blob), blob); err != nil {
			return err
		}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	if err := ensureBlob(ctx, repo, describe(ocispec.MediaTypeImageConfig, config), config); err != nil {
		return err
	}
	manifest, err := img.RawManifest()
	if err != nil {
		return err
	}
	return repo.Manifests().PushReference(ctx, describe(ocispec.MediaTypeImageManifest, manifest), bytes.NewReader(manifest), tag)
}

// ImageTarball writes a container image that holds static binaries and runs the first of them to a file that `ctr images
// import` and `docker load` take. ref is the image's full name, such as registry.umbel.dev/agent:v1. The same binaries and
// ref give the same file. The file appears whole or not at all.
func ImageTarball(file, ref string, binaries ...string) error {
	tag, err := name.NewTag(ref, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("naming image %q: %w", ref, err)
	}
	sum, err := fileSum(binaries...)
	if err != nil {
		return fmt.Errorf("reading the binaries of image %s: %w", ref, err)
	}
	img, err := image(binaries, sum)
	if err != nil {
		return fmt.Errorf("making image %s: %w", ref, err)
	}
	out, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return fmt.Errorf("writing image %s: %w", ref, err)
	}
	defer os.Remove(out.Name()) // fails after the rename, as it should
	if err := tarball.Write(tag, img, out); err != nil {
		out.Close()
		return fmt.Errorf("writing image %s to %s: %w", ref, file, err)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("writing image %s to %s: %w", ref, file, err)
	}
	if err := os.Rename(out.Name(), file); err != nil {
		return fmt.Errorf("writing image %s: %w", ref, err)
	}
	return nil
}

// image has one layer for each binary, with one file, /NAME. It runs the first one as a user without rights.
func image(binaries []string, sum string) (v1.Image, error) {
	architecture := ""
	img := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	for _, binary := range binaries {
		made, err := staticArchitecture(binary)
		if err != nil {
			return nil, err
		}
		if architecture != "" && made != architecture {
			return nil, fmt.Errorf("%s is for %s and %s for %s: an image is for one of them", binaries[0], architecture, binary, made)
		}
		architecture = made
		opener := func() (io.ReadCloser, error) { return layerTar(binary, nameInImage(binary)) }
		layer, err := tarball.LayerFromOpener(opener, tarball.WithMediaType(types.OCILayer),
			tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching)
		if err != nil {
			return nil, err
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			return nil, err
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", architecture
	config.Config = v1.Config{
		Entrypoint: []string{"/" + nameInImage(binaries[0])},
		User:       "65532:65532",
		Env:        []string{"PATH=/"},
	}
	img, err = mutate.ConfigFile(img, config)
	if err != nil {
		return nil, err
	}
	annotated, ok := mutate.Annotations(img, map[string]string{binaryAnnotation: sum}).(v1.Image)
	if !ok {
		return nil, fmt.Errorf("annotating the image of %s gave no image", binaries[0])
	}
	return annotated, nil
}

func nameInImage(binary string) string { return path.Base(filepath.ToSlash(binary)) }

// layerTar streams a tar with the one file in it. Only the file's bytes and name make a difference.
func layerTar(binary, target string) (io.ReadCloser, error) {
	f, err := os.Open(binary)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	var head bytes.Buffer
	tw := tar.NewWriter(&head)
	err = tw.WriteHeader(&tar.Header{Name: target, Typeflag: tar.TypeReg, Mode: 0o755, Size: info.Size(), Format: tar.FormatPAX})
	if err != nil {
		f.Close()
		return nil, err
	}
	// A tar ends with the file filled up to 512 bytes and two empty blocks.
	padding := (512-info.Size()%512)%512 + 1024
	whole := io.MultiReader(&head, io.LimitReader(f, info.Size()), bytes.NewReader(make([]byte, padding)))
	return struct {
		io.Reader
		io.Closer
	}{whole, f}, nil
}

// staticArchitecture returns the architecture of a binary in Go's words, and refuses one that an image without any
// other file could not run.
func staticArchitecture(binary string) (string, error) {
	f, err := elf.Open(binary)
	if err != nil {
		return "", fmt.Errorf("%s is not a Linux binary: %w", binary, err)
	}
	defer f.Close()
	for _, program := range f.Progs {
		if program.Type == elf.PT_INTERP {
			return "", fmt.Errorf("%s is linked dynamically and cannot run in an image of its own: build it with CGO_ENABLED=0", binary)
		}
	}
	switch f.Machine {
	case elf.EM_X86_64:
		return "amd64", nil
	case elf.EM_AARCH64:
		return "arm64", nil
	default:
		return "", fmt.Errorf("%s is for %s; images are made for amd64 and arm64", binary, strings.TrimPrefix(f.Machine.String(), "EM_"))
	}
}

// fileSum returns the SHA-256 of files, one after the other, in hex.
func fileSum(files ...string) (string, error) {
	sum := sha256.New()
	for _, file := range files {
		if err := addFile(sum, file); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func addFile(to io.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(to, f)
	return err
}

// PullImage returns the one layer of an image that PushImage pushed, packed as it is, verified.
func (s *Store) PullImage(ctx context.Context, repository, tag string, maxSize int64) ([]byte, error) {
	repo, err := s.repository(repository)
	if err != nil {
		return nil, err
	}
	_, body, err := repo.Manifests().FetchReference(ctx, tag)
	if err != nil {
		return nil, fmt.Errorf("pulling the manifest of %s:%s: %w", repository, tag, err)
	}
	defer body.Close()
	var manifest ocispec.Manifest
	if err := json.NewDecoder(io.LimitReader(body, 1<<20)).Decode(&manifest); err != nil {
		return nil, fmt.Errorf("reading the manifest of %s:%s: %w", repository, tag, err)
	}
	if len(manifest.Layers) != 1 {
		return nil, fmt.Errorf("image %s:%s has %d layers, and one of a single program has one", repository, tag, len(manifest.Layers))
	}
	return s.Pull(ctx, repository, manifest.Layers[0].Digest.String(), maxSize)
}
