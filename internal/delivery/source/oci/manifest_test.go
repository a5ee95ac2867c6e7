package oci

import (
	"strings"
	"testing"

	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/archive"
)

// FuzzManifest: whatever a registry sends as a manifest, no layer of it makes room for others or is looked for outside of the
// store, and none of what it says of its layers makes more of a blob than the limits allow.
func FuzzManifest(f *testing.F) {
	f.Add(`{"layers":[{"mediaType":"application/vnd.cncf.flux.content.v1.tar+gzip","digest":"sha256:`+strings.Repeat("ab", 32)+`","size":7}]}`, "blob")
	f.Add(`{"layers":[{"mediaType":"application/vnd.oci.empty.v1+json","size":-9000000000000000000},{"digest":"sha256:../../x","size":1}]}`, "")
	f.Add(`{"layers":[{"annotations":{"org.opencontainers.image.title":"../a.yaml"},"size":1}]}`, "a: b")
	f.Add(`{"layers":[{"mediaType":"tar","annotations":{"org.opencontainers.image.title":"a","io.deis.oras.content.unpack":"true"}}]}`, "\x1f\x8b")
	limits := source.Limits{Files: 10, Bytes: 1 << 10, Fetch: 1 << 20}
	f.Fuzz(func(t *testing.T, raw, blob string) {
		manifest, err := read([]byte(raw))
		if err != nil {
			return
		}
		store, err := archive.NewStores(t.TempDir()).Open(source.Ref{Kind: source.OCI, URL: "oci://registry.example.com/a"})
		if err != nil {
			t.Fatal(err)
		}
		files, budget := archive.NewFiles(), archive.NewBudget(limits)
		for _, layer := range manifest.Layers {
			if layer.Size < 0 {
				t.Errorf("a layer of %d bytes", layer.Size)
			}
			if strings.Contains(layer.Digest.String(), "/") && store.Has(layer.Digest.String()) {
				t.Errorf("layer %s was looked for", layer.Digest)
			}
			if !ignored(layer) {
				_ = unpackLayer(files, layer, strings.NewReader(blob), budget)
			}
		}
	})
}
