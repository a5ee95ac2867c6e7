package disk

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"testing"

	"umbel.dev/umbel/internal/delivery/bundle"
)

// unpacked is content as an agent unpacks it.
func unpacked(t testing.TB, objects ...string) *Content {
	t.Helper()
	var entries []bundle.Entry
	for _, o := range objects {
		entries = append(entries, bundle.Entry{File: "a.yaml", Object: json.RawMessage(o)})
	}
	raw, err := bundle.Encode(entries)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	f := in(t.TempDir())
	if err := f.WriteBlob(digest, raw); err != nil {
		t.Fatal(err)
	}
	c, err := f.Unpack("shop/web", digest)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestFind: an object is found as it is on the member, whether the source leaves the namespace default out or writes one where the kind
// has none.
func TestFind(t *testing.T) {
	role := bundle.Key{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "a"}
	c := unpacked(t,
		`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"a","namespace":"written"}}`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","namespace":"shop"}}`)
	for key, want := range map[bundle.Key]bool{
		role: true, {Group: role.Group, Kind: role.Kind, Name: "b"}: false,
		{Kind: "ConfigMap", Namespace: "default", Name: "a"}: true, {Kind: "ConfigMap", Namespace: "shop", Name: "a"}: false,
		{Kind: "Secret", Namespace: "shop", Name: "a"}: true, {Kind: "Secret", Namespace: "default", Name: "a"}: false,
	} {
		o, found := c.Find(key)
		if found != want || found && (o.ID.Kind != key.Kind || o.ID.Name != key.Name) {
			t.Errorf("%s: found is %v, %+v", key, found, o.ID)
		}
	}
}

// BenchmarkFindWhatLeaves looks for 1,000 objects without namespaces that are not among 1,000.
func BenchmarkFindWhatLeaves(b *testing.B) {
	var objects []string
	for i := range 1000 {
		objects = append(objects, fmt.Sprintf(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"r%d"}}`, i))
	}
	c := unpacked(b, objects...)
	for b.Loop() {
		for i := range 1000 {
			if _, found := c.Find(bundle.Key{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: fmt.Sprintf("gone%d", i)}); found {
				b.Fatal("it was found")
			}
		}
	}
}
