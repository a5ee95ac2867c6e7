package sourcetest

import (
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
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

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
	to := r.repository(repository)
	of, err := to.Resolve(context.WithoutCancel(r.t.Context()), artifact)
	if err != nil {
		r.t.Fatal(err)
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: ocispec.DescriptorEmptyJSON}
	blob, tag := s.Payload, strings.Replace(artifact, ":", "-", 1)+".sig"
	layer := described("application/vnd.dev.cosign.simplesigning.v1+json", blob)
	layer.Annotations = map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(s.Signature)}
	if s.Bundle != nil {
		blob, tag = s.Bundle, ""
		layer = described("application/vnd.dev.sigstore.bundle.v0.3+json", blob)
		manifest.ArtifactType, manifest.Subject = layer.MediaType, &of
	}
	manifest.Layers = []ocispec.Descriptor{layer}
	r.pushBlob(to, ocispec.DescriptorEmptyJSON, ocispec.DescriptorEmptyJSON.Data) // of a chart it is not there
	r.pushBlob(to, layer, blob)
	raw, err := json.Marshal(manifest)
	if err != nil {
		r.t.Fatal(err)
	}
	r.pushManifest(to, raw, tag)
}
