package oci_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/signature"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// What a real cosign signed: of an artifact with this file, in the registry that tests use, by
//
//	cosign sign --yes --key cosign.key --tlog-upload=false --registry-cacert ca.crt HOST/fleet/shop@DIGEST
//
// What it left in the registry then lies in testdata, with the public half of the key.
const (
	signedFile   = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}\ndata: {a: signed}\n"
	signedDigest = "sha256:46ec89cd6570b9e9b39b933b123058d8d4a306841c6a9523af970288466c23bf"
)

// TestWhatARealCosignSigned: it is found beside its artifact, holds with its key and with no other, and for no other artifact.
func TestWhatARealCosignSigned(t *testing.T) {
	const version = "cosign-v2.4.3"
	file := func(name string) []byte {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join("testdata", version, name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	registry := sourcetest.NewRegistry(t, "")
	push := func(text, tag string) string {
		return registry.Push("fleet/shop", []sourcetest.Layer{{MediaType: "application/yaml", Blob: []byte(text), Annotations: titled("a.yaml", "")}}, tag)
	}
	digest := push(signedFile, "latest")
	if digest != signedDigest {
		t.Fatalf("the artifact has digest %s, and not that of the one that was signed", digest)
	}
	beside := strings.Replace(digest, ":", "-", 1) + ".sig"
	registry.PushRaw("fleet/shop", beside, file("manifest.json"), file("payload.json"), file("config.json"))
	reader := newReader(t, source.DefaultLimits).(interface {
		source.Reader
		source.Witness
	})
	signed := func(tag string) (string, []source.Signature) {
		t.Helper()
		ref := source.Ref{Kind: source.OCI, URL: "oci://" + registry.Host + "/fleet/shop", Name: tag, Signed: true}
		revision, err := reader.Resolve(t.Context(), ref, source.Credentials{CA: registry.CA})
		if err != nil {
			t.Fatal(err)
		}
		evidence, err := reader.Evidence(ref, revision)
		if err != nil {
			t.Fatal(err)
		}
		return revision.ID, evidence.Signatures
	}
	keys := func(public string) *signature.Keys {
		t.Helper()
		keys, err := signature.Parse(map[string][]byte{"cosign.pub": []byte(public)})
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	theirs := keys(string(file("cosign.pub")))
	id, signatures := signed("latest")
	if by, err := theirs.Artifact(id, signatures); err != nil || !strings.HasPrefix(by.String(), "cosign SHA256:") {
		t.Errorf("with its key: signed by %q, %v", by, err)
	}
	if _, err := keys(sourcetest.NewCosign(t, "ecdsa").Public()).Artifact(id, signatures); err == nil || !strings.Contains(err.Error(), "by none of the keys") {
		t.Errorf("with another key: %v", err)
	}
	other := push(strings.Replace(signedFile, "signed", "forged", 1), "other")
	registry.PushRaw("fleet/shop", strings.Replace(other, ":", "-", 1)+".sig", file("manifest.json"), file("payload.json"), file("config.json"))
	id, signatures = signed("other")
	if _, err := theirs.Artifact(id, signatures); err == nil || !strings.Contains(err.Error(), "signed another artifact") {
		t.Errorf("of another artifact: %v", err)
	}
}
