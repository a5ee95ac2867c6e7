package oci_test

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/oci"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// What Flux's artifacts are made of.
const fluxLayer = "application/vnd.cncf.flux.content.v1.tar+gzip"

func newReader(t *testing.T, limits source.Limits) source.Reader {
	return oci.New(oci.Config{Dir: t.TempDir(), Limits: limits})
}

type published struct {
	*sourcetest.Registry
	t            *testing.T
	right, wrong source.Credentials
}

func (p *published) Publish(version string, files map[string]string) {
	p.Push("fleet/shop", []sourcetest.Layer{{MediaType: fluxLayer, Blob: sourcetest.Tarball(p.t, "", files)}}, version, "latest")
}

func (p *published) Ref(version string) source.Ref {
	if version == "" {
		version = "latest"
	}
	return source.Ref{Kind: source.OCI, URL: "oci://" + p.Host + "/fleet/shop", Name: version, Secret: "team/registry"}
}

func (p *published) Credentials() (right, wrong source.Credentials) { return p.right, p.wrong }

func publish(t *testing.T) *published {
	p := &published{Registry: sourcetest.NewRegistry(t, sourcetest.Basic("ada", sourcetest.Canary)), t: t}
	p.right = source.Credentials{Username: "ada", Password: sourcetest.Canary, CA: p.CA}
	p.wrong = source.Credentials{Username: "ada", Password: sourcetest.Canary + "x", CA: p.CA}
	return p
}

func TestConformance(t *testing.T) {
	sourcetest.Conformance(t, newReader, func(t *testing.T) sourcetest.Remote { return publish(t) })
}

func titled(title string, unpack string) map[string]string {
	annotations := map[string]string{ocispec.AnnotationTitle: title}
	if unpack != "" {
		annotations["io.deis.oras.content.unpack"] = unpack
	}
	return annotations
}

// TestLayers: what several programs make is read as they mean it, and what nobody knows is an error.
func TestLayers(t *testing.T) {
	p := publish(t)
	link := func() []byte {
		var packed bytes.Buffer
		w := tar.NewWriter(&packed)
		for _, h := range []*tar.Header{
			{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
			{Name: "./to.yaml", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		} {
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return packed.Bytes()
	}
	for _, tc := range []struct {
		reason string
		layers []sourcetest.Layer
		want   map[string]string
		err    string
	}{
		{reason: "oras push with files", layers: []sourcetest.Layer{
			{MediaType: "application/vnd.oci.image.layer.v1.tar", Blob: []byte("a"), Annotations: titled("a.yaml", "")},
			{MediaType: "application/yaml", Blob: []byte("b"), Annotations: titled("deep/b.yaml", "")},
		}, want: map[string]string{"a.yaml": "a", "deep/b.yaml": "b"}},
		{reason: "oras push with a folder", layers: []sourcetest.Layer{
			{MediaType: "application/vnd.oci.image.layer.v1.tar+gzip", Blob: sourcetest.Tarball(t, "shop", map[string]string{"a.yaml": "a"}), Annotations: titled("shop", "true")},
		}, want: map[string]string{"shop/a.yaml": "a"}},
		{reason: "one layer over the other", layers: []sourcetest.Layer{
			{MediaType: fluxLayer, Blob: sourcetest.Tarball(t, "", map[string]string{"a.yaml": "old", "b.yaml": "b"})},
			{MediaType: fluxLayer, Blob: sourcetest.Tarball(t, "", map[string]string{"a.yaml": "new"})},
		}, want: map[string]string{"a.yaml": "new", "b.yaml": "b"}},
		{reason: "a link", layers: []sourcetest.Layer{{MediaType: "application/vnd.oci.image.layer.v1.tar", Blob: link()}}, err: "links are not followed"},
		{reason: "a way out", layers: []sourcetest.Layer{{MediaType: fluxLayer, Blob: sourcetest.Tarball(t, "..", map[string]string{"a.yaml": "a"})}}, err: "leads out of the archive"},
		{reason: "a title that leads out", layers: []sourcetest.Layer{{MediaType: "text/plain", Blob: []byte("a"), Annotations: titled("../a.yaml", "")}}, err: "leads out of the archive"},
		{reason: "no archive", layers: []sourcetest.Layer{{MediaType: fluxLayer, Blob: []byte("hello, hello, hello")}}, err: "unpacking the archive"},
		{reason: "half of one", layers: []sourcetest.Layer{{MediaType: fluxLayer, Blob: sourcetest.Tarball(t, "", map[string]string{"a.yaml": "a"})[:30]}}, err: "EOF"},
		{reason: "nobody knows what", layers: []sourcetest.Layer{{MediaType: "application/wasm", Blob: []byte("wasm")}}, err: `it is of type "application/wasm"`},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			p.t = t
			digest := p.Push("fleet/shop", tc.layers, "it")
			reader := newReader(t, source.Limits{})
			at, err := reader.Resolve(t.Context(), p.Ref(digest), p.right)
			if err != nil || at.ID != digest {
				t.Fatalf("got %+v, %v; want %s", at, err, digest)
			}
			got := map[string]string{}
			tree, err := reader.Tree(p.Ref("it"), digest)
			if err == nil {
				err = fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
					if err != nil || entry.IsDir() {
						return err
					}
					content, err := fs.ReadFile(tree, name)
					got[name] = string(content)
					return err
				})
			}
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAddresses: what is no address of an artifact is told with what it has to be.
func TestAddresses(t *testing.T) {
	for _, url := range []string{"oci://registry.example.com", "oci://registry.example.com/a:1.0", "oci://registry.example.com/UPPER", "oci://"} {
		_, err := newReader(t, source.Limits{}).Resolve(t.Context(), source.Ref{Kind: source.OCI, URL: url, Name: "latest"}, source.Credentials{})
		if err == nil || !strings.Contains(err.Error(), "oci://HOST/PATH") {
			t.Errorf("%s: got %v", url, err)
		}
	}
	_, err := newReader(t, source.Limits{}).Resolve(t.Context(), source.Ref{Kind: source.OCI, URL: "oci+http://registry.example.com/a", Name: "latest", Secret: "team/registry"},
		source.Credentials{Username: "ada", Password: sourcetest.Canary})
	if known, ok := err.(*source.Error); !ok || known.Reason != v1alpha1.ReasonSecretInvalid || !strings.Contains(err.Error(), "not sent over plain HTTP") {
		t.Errorf("plain HTTP: got %v", err)
	}
}
