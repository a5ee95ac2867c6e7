package oci

import (
	"fmt"
	"io"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/archive"
)

// unpackAnnotation is how `oras push` marks a layer that is a folder.
const unpackAnnotation = "io.deis.oras.content.unpack"

// unpack lays the layers of an artifact one over the other.
func unpack(store *archive.Store, revision string, limits source.Limits) (*archive.Files, error) {
	var manifest *ocispec.Manifest
	err := store.Read(revision, func(blob io.Reader) error {
		raw, err := io.ReadAll(io.LimitReader(blob, maxManifest))
		if err == nil {
			manifest, err = read(raw)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	files, budget := archive.NewFiles(), archive.NewBudget(limits)
	for _, layer := range manifest.Layers {
		if ignored(layer) {
			continue
		}
		err := store.Read(layer.Digest.String(), func(blob io.Reader) error { return unpackLayer(files, layer, blob, budget) })
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", layer.Digest, err)
		}
	}
	return files, nil
}

func unpackLayer(files *archive.Files, layer ocispec.Descriptor, blob io.Reader, budget *archive.Budget) error {
	title := layer.Annotations[ocispec.AnnotationTitle]
	switch {
	case title != "" && layer.Annotations[unpackAnnotation] != "true":
		return files.Add(title, blob, budget)
	case title != "" || strings.Contains(layer.MediaType, "tar"):
		return files.Unpack(blob, budget)
	}
	return fmt.Errorf("it is of type %q: neither a tar archive nor a file with a title", layer.MediaType)
}

// ignored are layers that hold no files: the empty one of artifacts without, and the signature beside a chart.
func ignored(layer ocispec.Descriptor) bool {
	return layer.MediaType == ocispec.MediaTypeEmptyJSON || layer.MediaType == "application/vnd.cncf.helm.chart.provenance.v1.prov"
}
