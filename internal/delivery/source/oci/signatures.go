package oci

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"

	"umbel.dev/umbel/internal/delivery/source"
)

const (
	simpleSigning   = "application/vnd.dev.cosign.simplesigning.v1+json"
	simpleSignature = "dev.cosignproject.cosign/signature"
	bundleType      = "application/vnd.dev.sigstore.bundle"

	// maxSignatures of an artifact are looked at, each of maxSignature bytes at most.
	maxSignatures = 50
	maxSignature  = 1 << 20
)

var _ source.Witness = (*Reader)(nil)

// fetchSignatures brings what cosign keeps of an artifact: beside it under a tag made of its digest, and as referrers. They may come
// later than the artifact, so that they are looked for each time.
func (r *Reader) fetchSignatures(ctx context.Context, repository *remote.Repository, ref source.Ref, of ocispec.Descriptor) error {
	var manifests []ocispec.Descriptor
	beside, err := repository.Resolve(ctx, strings.Replace(of.Digest.String(), ":", "-", 1)+".sig")
	switch {
	case err == nil:
		manifests = append(manifests, beside)
	case !errors.Is(err, errdef.ErrNotFound):
		return fmt.Errorf("looking for signatures: %w", err)
	}
	err = repository.Referrers(ctx, of, "", func(page []ocispec.Descriptor) error {
		manifests = append(manifests, page[:min(len(page), max(0, maxSignatures-len(manifests)))]...)
		return nil
	})
	if err != nil && !errors.Is(err, errdef.ErrNotFound) {
		return fmt.Errorf("looking for referrers: %w", err)
	}
	var found []source.Signature
	for _, manifest := range manifests {
		if len(found) < maxSignatures && manifest.Size <= maxManifest {
			more, err := signaturesOf(ctx, repository, manifest)
			if err != nil {
				return fmt.Errorf("reading signature %s: %w", manifest.Digest, err)
			}
			found = append(found, more...)
		}
	}
	raw, err := json.Marshal(found)
	if err != nil {
		return err
	}
	file, err := r.signaturesFile(ref, of.Digest.String())
	if err != nil {
		return err
	}
	return renameio.WriteFile(file, raw, 0o600)
}

// signaturesOf reads the signatures in a manifest; there are none in one of something else.
func signaturesOf(ctx context.Context, repository *remote.Repository, at ocispec.Descriptor) ([]source.Signature, error) {
	raw, err := content.FetchAll(ctx, repository, at)
	if err != nil {
		return nil, err
	}
	manifest, err := read(raw)
	if err != nil {
		return nil, err
	}
	var found []source.Signature
	for _, layer := range manifest.Layers {
		isBundle := strings.HasPrefix(layer.MediaType, bundleType)
		if layer.Size > maxSignature || layer.MediaType != simpleSigning && !isBundle {
			continue
		}
		blob, err := content.FetchAll(ctx, repository.Blobs(), layer)
		if err != nil {
			return nil, err
		}
		if isBundle {
			found = append(found, source.Signature{Bundle: blob})
			continue
		}
		signature, err := base64.StdEncoding.DecodeString(layer.Annotations[simpleSignature])
		if err == nil {
			found = append(found, source.Signature{Payload: blob, Signature: signature})
		}
	}
	return found, nil
}

func (r *Reader) signaturesFile(ref source.Ref, digest string) (string, error) {
	store, err := r.stores.Open(ref)
	if err != nil {
		return "", err
	}
	return filepath.Join(store.Dir(), strings.TrimPrefix(digest, "sha256:")+".signatures"), nil
}

// Evidence implements source.Witness. What is kept is believed by nobody: each signature proves itself.
func (r *Reader) Evidence(ref source.Ref, of source.Revision) (source.Evidence, error) {
	var evidence source.Evidence
	file, err := r.signaturesFile(ref, of.ID)
	if err != nil {
		return evidence, err
	}
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return evidence, fmt.Errorf("the signatures of %s have not been fetched, or not kept", of.ID)
	}
	if err == nil {
		err = json.Unmarshal(raw, &evidence.Signatures)
	}
	return evidence, err
}

// Before implements source.Witness: nothing says which of two artifacts is the older one.
func (r *Reader) Before(source.Ref, string, string) (bool, error) { return false, nil }
