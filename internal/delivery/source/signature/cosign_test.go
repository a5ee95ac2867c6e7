package signature_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/signature"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// recordedKey made recorded with a real cosign: a statement of in-toto in an envelope of DSSE, from cosign's own tests
// (v2.4.1, cmd/cosign/cli/verify/verify_blob_attestation_test.go).
const recordedKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAESF79b1ToAtoakhBOHEU5UjnEiihV
gZPFIp557+TOoDxf14FODWc+sIPETk0OgCplAk60doVXbCv33IU4rXZHrg==
-----END PUBLIC KEY-----
`

const recorded = "eyJwYXlsb2FkVHlwZSI6ImFwcGxpY2F0aW9uL3ZuZC5pbi10b3RvK2pzb24iLCJwYXlsb2FkIjoiZXlKZmRIbHdaU0k2SW1oMGRIQnpPaTh2YVc0dGRHOTBieTVwYnk5VGRHRjBaVzFsYm5RdmRqQXVNU0lzSW5CeVpXUnBZMkYwWlZSNWNHVWlPaUpvZEhSd2N6b3ZMM05zYzJFdVpHVjJMM0J5YjNabGJtRnVZMlV2ZGpBdU1pSXNJbk4xWW1wbFkzUWlPbHQ3SW01aGJXVWlPaUppYkc5aUlpd2laR2xuWlhOMElqcDdJbk5vWVRJMU5pSTZJalkxT0RjNE1XTmtOR1ZrT1dKallUWXdaR0ZqWkRBNVpqZGlZamt4TkdKaU5URTFNREpsT0dJMVpEWXhPV1kxTjJZek9XRXhaRFkxTWpVNU5tTmpNalFpZlgxZExDSndjbVZrYVdOaGRHVWlPbnNpWW5WcGJHUmxjaUk2ZXlKcFpDSTZJaklpZlN3aVluVnBiR1JVZVhCbElqb2llQ0lzSW1sdWRtOWpZWFJwYjI0aU9uc2lZMjl1Wm1sblUyOTFjbU5sSWpwN2ZYMTlmUT09Iiwic2lnbmF0dXJlcyI6W3sia2V5aWQiOiIiLCJzaWciOiJNRVVDSUE4S2pacWtydDkwZnpCb2pTd3d0ajNCcWI0MUU2cnV4UWs5N1RMbnB6ZFlBaUVBek9Bak9Uenl2VEhxYnBGREFuNnpocmc2RVp2N2t4SzVmYVJvVkdZTWgyYz0ifV19"

const digest, other = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", "sha256:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"

// TestArtifactsThatCosignSigned: both forms, with each kind of key, and nothing that is about something else.
func TestArtifactsThatCosignSigned(t *testing.T) {
	for _, kind := range []string{"ecdsa", "ed25519", "rsa"} {
		ada, eve := sourcetest.NewCosign(t, kind), sourcetest.NewCosign(t, kind)
		keys := keysOf(t, map[string]string{"cosign.pub": ada.Public()})
		with := func(change func(*source.Signature), s source.Signature) source.Signature {
			change(&s)
			return s
		}
		for _, tc := range []struct {
			reason string
			s      []source.Signature
			want   string
		}{
			{"simple signing", []source.Signature{ada.Simple(digest)}, ""},
			{"a bundle", []source.Signature{ada.Bundle(digest)}, ""},
			{"one of several", []source.Signature{eve.Simple(digest), ada.Bundle(other), ada.Bundle(digest)}, ""},
			{"nobody", nil, "it is not signed"},
			{"a stranger", []source.Signature{eve.Simple(digest)}, "by none of the keys"},
			{"a stranger's bundle", []source.Signature{eve.Bundle(digest)}, "by none of the keys"},
			{"another artifact", []source.Signature{ada.Simple(other)}, "signed another artifact, sha256:fcde2b2edba5"},
			{"a bundle of another artifact", []source.Signature{ada.Bundle(other)}, "signed another artifact"},
			{"another payload", []source.Signature{with(func(s *source.Signature) { s.Payload = ada.Simple(other).Payload }, ada.Simple(digest))}, "by none of the keys"},
			{"an attestation by the same key", []source.Signature{ada.Attestation(digest, "https://spdx.dev/Document")}, "said something else of an artifact (https://spdx.dev/Document)"},
			{"any text by the same key", []source.Signature{ada.Signed([]byte(`{"critical":{}}`))}, "is no signature of an artifact"},
			{"a bundle by a certificate", []source.Signature{{Bundle: []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"certificate":{}},"dsseEnvelope":{}}`)}}, "signed without a key"},
			{"a bundle without an envelope", []source.Signature{{Bundle: []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`)}}, "has no envelope"},
			{"no bundle at all", []source.Signature{{Bundle: []byte("x")}}, "cannot be read"},
		} {
			by, err := keys.Artifact(digest, tc.s)
			if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s, %s: got %v, want %q", kind, tc.reason, err, tc.want)
			}
			if err == nil && !strings.HasPrefix(by.String(), "cosign SHA256:") {
				t.Errorf("%s, %s: it is signed by %q", kind, tc.reason, by)
			}
		}
		if _, err := keys.Commit([]byte("tree 0123456789012345678901234567890123456789\ncommitter A <a> 1 +0000\n\nx\n")); !errors.Is(err, signature.ErrUnsigned) {
			t.Errorf("a commit without a signature gives %v", err)
		}
	}
}

// TestWhatARealCosignSigned: its envelope holds with its key, and with no other; what it says is an attestation, and no signature.
func TestWhatARealCosignSigned(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString(recorded)
	if err != nil {
		t.Fatal(err)
	}
	var envelope json.RawMessage = raw
	bundle := fmt.Appendf(nil, `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":""}},"dsseEnvelope":%s}`, envelope)
	for _, tc := range []struct{ key, want string }{
		{recordedKey, "said something else of an artifact (https://slsa.dev/provenance/v0.2)"},
		{sourcetest.NewCosign(t, "ecdsa").Public(), "by none of the keys"},
	} {
		_, err := keysOf(t, map[string]string{"cosign.pub": tc.key}).Artifact(digest, []source.Signature{{Bundle: bundle}})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want %q", err, tc.want)
		}
	}
}

func FuzzArtifact(f *testing.F) {
	keys, err := signature.Parse(map[string][]byte{"cosign.pub": []byte(recordedKey)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"critical":{"image":{"docker-manifest-digest":"sha256:00"},"type":"cosign container image signature"}}`), []byte("x"), []byte(nil))
	f.Add([]byte(nil), []byte(nil), []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{}},"dsseEnvelope":{"payload":"e30=","payloadType":"x","signatures":[{"sig":"AAAA"}]}}`))
	f.Fuzz(func(t *testing.T, payload, sig, bundle []byte) {
		if _, err := keys.Artifact(digest, []source.Signature{{Payload: payload, Signature: sig}, {Bundle: bundle}}); err == nil {
			t.Error("an artifact is taken that nobody signed")
		}
	})
}
