package signature

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"umbel.dev/umbel/internal/delivery/source"
)

// What cosign writes: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md for the payload of its simple signing,
// https://github.com/sigstore/protobuf-specs (bundle v0.3) with an envelope of https://github.com/secure-systems-lab/dsse around a
// statement of in-toto for what cosign 3 writes.
const (
	simpleType    = "cosign container image signature"
	inTotoPayload = "application/vnd.in-toto+json"
	signPredicate = "https://sigstore.dev/cosign/sign/v1"
	bundlePrefix  = "application/vnd.dev.sigstore.bundle"
)

// publicKey is one of cosign's.
type publicKey struct {
	crypto.PublicKey
	name string
}

// addPEM reads public keys in PEM.
func (k *Keys) addPEM(text string) error {
	const kind = "PUBLIC KEY"
	rest := []byte(text)
	for len(bytes.TrimSpace(rest)) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != kind {
			return errors.New("it is neither a file of allowed signers nor a GPG public key in armour nor a public key in PEM (cosign.pub)")
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return errors.New("it is no public key in PEM that can be read")
		}
		sum := sha256.Sum256(block.Bytes)
		k.pem = append(k.pem, publicKey{key, "cosign SHA256:" + hex.EncodeToString(sum[:8])})
	}
	return nil
}

// verifies says whether a signature of a message is one of the key.
func (k publicKey) verifies(message, signature []byte) bool {
	sum := sha256.Sum256(message)
	switch key := k.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, sum[:], signature)
	case ed25519.PublicKey:
		return ed25519.Verify(key, message, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
	}
	return false
}

// signed returns whose signature of a message this is.
func (k *Keys) signed(message, signature []byte) (Signer, bool) {
	for _, key := range k.pem {
		if key.verifies(message, signature) {
			return Signer{Key: key.name}, true
		}
	}
	return Signer{}, false
}

// Artifact says who signed an artifact, by its digest, as sha256:…. One signature that holds is enough.
func (k *Keys) Artifact(digest string, signatures []source.Signature) (Signer, error) {
	because := ErrUnsigned
	for _, s := range signatures {
		signer, err := k.artifact(digest, s)
		if err == nil {
			return signer, nil
		}
		because = err
	}
	return Signer{}, because
}

func (k *Keys) artifact(digest string, s source.Signature) (Signer, error) {
	if s.Bundle != nil {
		return k.bundle(digest, s.Bundle)
	}
	signer, ok := k.signed(s.Payload, s.Signature)
	if !ok {
		return Signer{}, errNoKey
	}
	var payload struct {
		Critical struct {
			Type  string `json:"type"`
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	switch err := json.Unmarshal(s.Payload, &payload); {
	case err != nil || payload.Critical.Type != simpleType:
		return Signer{}, fmt.Errorf("what %s signed is no signature of an artifact", signer)
	case payload.Critical.Image.Digest != digest:
		return Signer{}, fmt.Errorf("%s signed another artifact, %s", signer, source.Short(payload.Critical.Image.Digest))
	}
	return signer, nil
}

var errNoKey = errors.New("it is signed, and by none of the keys")

// bundle verifies a bundle of sigstore with a key.
func (k *Keys) bundle(digest string, raw []byte) (Signer, error) {
	var bundle struct {
		MediaType string `json:"mediaType"`
		Material  struct {
			PublicKey json.RawMessage `json:"publicKey"`
		} `json:"verificationMaterial"`
		Envelope *struct {
			Payload     []byte `json:"payload"`
			PayloadType string `json:"payloadType"`
			Signatures  []struct {
				Sig []byte `json:"sig"`
			} `json:"signatures"`
		} `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(raw, &bundle); err != nil || !strings.HasPrefix(bundle.MediaType, bundlePrefix) {
		return Signer{}, errors.New("its bundle of sigstore cannot be read")
	}
	if bundle.Envelope == nil {
		return Signer{}, errors.New("its bundle of sigstore has no envelope, and so does not say what it signs")
	}
	if len(bundle.Material.PublicKey) == 0 {
		return Signer{}, errors.New("it is signed without a key (by a certificate of Fulcio), which is not verified here")
	}
	message := envelope(bundle.Envelope.PayloadType, bundle.Envelope.Payload)
	for _, signature := range bundle.Envelope.Signatures {
		if signer, ok := k.signed(message, signature.Sig); ok {
			return signer, statement(signer, digest, bundle.Envelope.PayloadType, bundle.Envelope.Payload)
		}
	}
	return Signer{}, errNoKey
}

// envelope is what a signature of DSSE is about.
func envelope(kind string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload)
}

// statement says why a statement of in-toto is no signature of an artifact; nil when it is one. The same key may have said
// something else of the artifact, such as what it is made of, or that nobody should run it.
func statement(signer Signer, digest, kind string, payload []byte) error {
	var says struct {
		Predicate string `json:"predicateType"`
		Subject   []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if err := json.Unmarshal(payload, &says); err != nil || kind != inTotoPayload {
		return fmt.Errorf("what %s signed is no statement about an artifact", signer)
	}
	if says.Predicate != signPredicate {
		return fmt.Errorf("%s said something else of an artifact (%.100s), which is no signature", signer, says.Predicate)
	}
	for _, subject := range says.Subject {
		if "sha256:"+subject.Digest["sha256"] == digest {
			return nil
		}
	}
	return fmt.Errorf("%s signed another artifact", signer)
}
