package oci_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/content/registrytest"
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
	t *testing.T
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

func publish(t *testing.T, login registrytest.Login) *published {
	return &published{sourcetest.NewRegistry(t, login), t}
}

func TestConformance(t *testing.T) {
	for name, login := range map[string]registrytest.Login{"with a password": registrytest.Password, "with tokens": registrytest.Token} {
		t.Run(name, func(t *testing.T) {
			sourcetest.Conformance(t, sourcetest.Setup{Reader: newReader, Remote: func(t *testing.T) sourcetest.Remote { return publish(t, login) }})
		})
	}
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
	p := publish(t, registrytest.Password)
	right, _ := p.Credentials()
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
			at, err := reader.Resolve(t.Context(), p.Ref(digest), right)
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

// TestABrokenLayer: of a registry whose disk lost a part of a layer, or has other bytes there, nothing is kept, and what it sends
// when it is mended is read.
func TestABrokenLayer(t *testing.T) {
	p := publish(t, registrytest.Password)
	right, _ := p.Credentials()
	files := map[string]string{"a.yaml": strings.Repeat("a: b\n", 1000)}
	blob := sourcetest.Tarball(t, "", files)
	p.Publish("1.0.0", files)
	layer := p.Blob(digest.FromBytes(blob).String())
	other := slices.Clone(blob)
	other[len(other)/2] ^= 1
	reader := newReader(t, source.Limits{})
	for reason, content := range map[string][]byte{"half of it": blob[:len(blob)/2], "none of it": {}, "another byte": other} {
		if err := os.WriteFile(layer, content, 0o600); err != nil {
			t.Fatal(err)
		}
		at, err := reader.Resolve(t.Context(), p.Ref(""), right)
		if err == nil || !strings.Contains(err.Error(), "layer sha256:") {
			t.Errorf("%s: got %+v, %v; want an error that names the layer", reason, at, err)
		}
	}
	if err := os.WriteFile(layer, blob, 0o600); err != nil {
		t.Fatal(err)
	}
	at, err := reader.Resolve(t.Context(), p.Ref(""), right)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := reader.Tree(p.Ref(""), at.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := fs.ReadFile(tree, "a.yaml"); err != nil || string(got) != files["a.yaml"] {
		t.Errorf("a mended registry gives %d bytes, %v", len(got), err)
	}
}

// TestManyTags: of many tags, most of them no versions, the newest one that is allowed is found; a tag that moves is
// followed, and a digest is not.
func TestManyTags(t *testing.T) {
	p := publish(t, registrytest.Password)
	right, _ := p.Credentials()
	push := func(text, tag string) string {
		return p.Push("fleet/shop", []sourcetest.Layer{{MediaType: fluxLayer, Blob: sourcetest.Tarball(t, "", map[string]string{"a.yaml": text})}}, tag)
	}
	first := push("one", "stable")
	var tags []string
	for i := range 250 {
		tags = append(tags, fmt.Sprintf("main-%d", i), fmt.Sprintf("1.%d.0", i))
	}
	p.Tag("fleet/shop", first, tags...)
	second := push("two", "1.250.0")
	third := push("three", "stable")
	within := p.Ref("")
	within.Name, within.Range = "", ">=1 <2"
	reader := newReader(t, source.Limits{})
	for _, tc := range []struct {
		ref        source.Ref
		name, want string
	}{
		{within, "1.250.0", second}, {p.Ref("1.249.0"), "1.249.0", first}, {p.Ref("stable"), "stable", third}, {p.Ref(first), first, first},
	} {
		at, err := reader.Resolve(t.Context(), tc.ref, right)
		if err != nil || at.Name != tc.name || at.ID != tc.want {
			t.Errorf("%s%s gives %+v, %v; want %s at %s", tc.ref.Name, tc.ref.Range, at, err, tc.name, tc.want)
		}
	}
}

// TestARegistryThatRepeats: what a server answers to wrong credentials is not told.
func TestARegistryThatRepeats(t *testing.T) {
	server := httptest.NewServer(sourcetest.Locked("nobody's")(http.NotFoundHandler()))
	defer server.Close()
	ref := source.Ref{Kind: source.OCI, URL: "oci+" + server.URL + "/fleet/shop", Name: "latest", Secret: "team/registry"}
	with := source.Credentials{Username: "ada", Password: sourcetest.Canary}
	_, err := newReader(t, source.Limits{}).Resolve(t.Context(), ref, with)
	if known, ok := err.(*source.Error); !ok || known.Reason != v1alpha1.ReasonUnauthorized {
		t.Fatalf("got %v, want Unauthorized", err)
	}
	if told := source.Explain(ref, err, with).Error(); strings.Contains(told, sourcetest.Canary) || strings.Contains(told, sourcetest.Basic("ada", sourcetest.Canary)[6:]) {
		t.Errorf("the error tells a secret: %s", told)
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
