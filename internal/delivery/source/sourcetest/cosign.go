package sourcetest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/delivery/source"
)

// Cosign signs artifacts in the forms of cosign, with a key of the kinds that cosign takes. It stands in for the program, which
// takes longer to build than all else here.
type Cosign struct {
	key crypto.Signer
	t   testing.TB
}

// NewCosign makes a key: ecdsa, ed25519 or rsa.
func NewCosign(t testing.TB, kind string) *Cosign {
	t.Helper()
	c := &Cosign{t: t}
	var err error
	switch kind {
	case "ed25519":
		_, c.key, err = ed25519.GenerateKey(rand.Reader)
	case "rsa":
		c.key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		c.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Public is cosign.pub.
func (c *Cosign) Public() string {
	c.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(c.key.Public())
	if err != nil {
		c.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func (c *Cosign) sign(message []byte) []byte {
	c.t.Helper()
	var how crypto.SignerOpts = crypto.SHA256
	sum := sha256.Sum256(message)
	signed := sum[:]
	if _, whole := c.key.(ed25519.PrivateKey); whole {
		how, signed = crypto.Hash(0), message
	}
	signature, err := c.key.Sign(rand.Reader, signed, how)
	if err != nil {
		c.t.Fatal(err)
	}
	return signature
}

// Signed is a signature of any text.
func (c *Cosign) Signed(text []byte) source.Signature {
	return source.Signature{Payload: text, Signature: c.sign(text)}
}

// Simple is a signature of an artifact as cosign 1 and 2 make it.
func (c *Cosign) Simple(digest string) source.Signature {
	return c.Signed(fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"registry.example.com/a"},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, digest))
}

// Bundle is a signature of an artifact as cosign 3 makes it.
func (c *Cosign) Bundle(digest string) source.Signature {
	return c.Attestation(digest, "https://sigstore.dev/cosign/sign/v1")
}

// Attestation is a statement about an artifact.
func (c *Cosign) Attestation(digest, predicate string) source.Signature {
	const kind = "application/vnd.in-toto+json"
	payload := fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":{}}`, strings.TrimPrefix(digest, "sha256:"), predicate)
	signature := c.sign(fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload))
	return source.Signature{Bundle: fmt.Appendf(nil,
		`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"test"},"tlogEntries":[]},"dsseEnvelope":{"payload":%q,"payloadType":%q,"signatures":[{"sig":%q}]}}`,
		base64.StdEncoding.EncodeToString(payload), kind, base64.StdEncoding.EncodeToString(signature))}
}

// Attach keeps a signature beside an artifact of a repository, where cosign keeps it: under a tag, or, of a bundle, as a referrer.
func (r *Registry) Attach(repository, artifact string, s source.Signature) {
	r.t.Helper()
	ctx := context.WithoutCancel(r.t.Context())
	to, err := remote.NewRepository(r.Host + "/" + repository)
	if err != nil {
		r.t.Fatal(err)
	}
	to.Client, to.PlainHTTP = &http.Client{Transport: content.InProcess(r.inside)}, true
	of, err := to.Resolve(ctx, artifact)
	if err != nil {
		r.t.Fatal(err)
	}
	blob, layer := s.Payload, ocispec.Descriptor{
		MediaType:   "application/vnd.dev.cosign.simplesigning.v1+json",
		Annotations: map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(s.Signature)},
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: ocispec.DescriptorEmptyJSON}
	if s.Bundle != nil {
		blob, layer = s.Bundle, ocispec.Descriptor{MediaType: "application/vnd.dev.sigstore.bundle.v0.3+json"}
		manifest.ArtifactType, manifest.Subject = layer.MediaType, &of
	}
	layer.Digest, layer.Size = digest.FromBytes(blob), int64(len(blob))
	manifest.Layers = []ocispec.Descriptor{layer}
	if err := to.Blobs().Push(ctx, layer, bytes.NewReader(blob)); err != nil {
		r.t.Fatal(err)
	}
	raw, err := json.Marshal(manifest)
	if err != nil {
		r.t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: manifest.MediaType, ArtifactType: manifest.ArtifactType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	if s.Bundle != nil {
		err = to.Manifests().Push(ctx, d, bytes.NewReader(raw))
	} else {
		err = to.Manifests().PushReference(ctx, d, bytes.NewReader(raw), strings.Replace(artifact, ":", "-", 1)+".sig")
	}
	if err != nil {
		r.t.Fatal(err)
	}
}
