package oci_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"umbel.dev/umbel/internal/content/registrytest"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/signature"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// What a real cosign signed: of an artifact with this file, in the registry that tests use, by
//
//	cosign sign --yes --key cosign.key --tlog-upload=false --registry-cacert ca.crt HOST/fleet/shop@DIGEST
//
// cosign 3 with --use-signing-config=false as well. What each left in the registry then lies in testdata, with the public half of
// its key.
const (
	signedFile   = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}\ndata: {a: signed}\n"
	signedDigest = "sha256:46ec89cd6570b9e9b39b933b123058d8d4a306841c6a9523af970288466c23bf"
)

// TestWhatARealCosignSigned: it is found where cosign 2 and 3 keep it, holds with its key and with no other, and for no other
// artifact.
func TestWhatARealCosignSigned(t *testing.T) {
	for version, tag := range map[string]string{
		"cosign-v2.4.3": strings.Replace(signedDigest, ":", "-", 1) + ".sig", // beside the artifact
		"cosign-v3.0.2": "unnamed",                                           // it refers to the artifact
	} {
		t.Run(version, func(t *testing.T) {
			file := func(name string) []byte {
				t.Helper()
				raw, err := os.ReadFile(filepath.Join("testdata", version, name))
				if err != nil {
					t.Fatal(err)
				}
				return raw
			}
			registry := sourcetest.NewRegistry(t, registrytest.Open)
			digest := registry.Push("fleet/shop", []sourcetest.Layer{{MediaType: "application/yaml", Blob: []byte(signedFile), Annotations: titled("a.yaml", "")}}, "latest")
			if digest != signedDigest {
				t.Fatalf("the artifact has digest %s, and not that of the one that was signed", digest)
			}
			registry.PushRaw("fleet/shop", tag, file("manifest.json"), file("payload.json"), file("config.json"))
			reader := newReader(t, source.DefaultLimits).(interface {
				source.Reader
				source.Witness
			})
			ref := source.Ref{Kind: source.OCI, URL: "oci://" + registry.Host + "/fleet/shop", Name: "latest", Signed: true}
			revision, err := reader.Resolve(t.Context(), ref, source.Credentials{CA: registry.CA})
			if err != nil {
				t.Fatal(err)
			}
			evidence, err := reader.Evidence(ref, revision)
			if err != nil {
				t.Fatal(err)
			}
			other := "sha256:" + strings.Repeat("ab", 32)
			theirs, another := string(file("cosign.pub")), sourcetest.NewCosign(t, "ecdsa").Public()
			for _, tc := range []struct{ reason, key, digest, want string }{
				{"with its key", theirs, revision.ID, "cosign SHA256:"},
				{"with another key", another, revision.ID, "by none of the keys"},
				{"of another artifact", theirs, other, "signed another artifact"},
			} {
				keys, err := signature.Parse(map[string][]byte{"cosign.pub": []byte(tc.key)})
				if err != nil {
					t.Fatal(err)
				}
				by, err := keys.Artifact(tc.digest, evidence.Signatures)
				got := by.String()
				if err != nil {
					got = err.Error()
				}
				if !strings.Contains(got, tc.want) {
					t.Errorf("%s: %s, want %q", tc.reason, got, tc.want)
				}
			}
		})
	}
}
