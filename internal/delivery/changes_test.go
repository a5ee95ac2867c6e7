package delivery

import (
	"context"
	"fmt"
	"hash/maphash"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/bundle"
)

func TestCompare(t *testing.T) {
	space, a, b, c := bundle.Key{Kind: "Namespace", Name: "x"}, bundle.Key{Kind: "ConfigMap", Name: "a"}, bundle.Key{Kind: "ConfigMap", Name: "b"}, bundle.Key{Kind: "ConfigMap", Name: "c"}
	changes, deleted := compare(listing{space: 1, a: 1, b: 1}, listing{b: 2, c: 1})
	if diff := cmp.Diff(v1alpha1.Changes{Added: 1, Changed: 1, Deleted: 2, Protected: 1}, changes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var gone departed
	for _, key := range append(deleted, deleted...) {
		gone.add(key)
	}
	if diff := cmp.Diff([]string{"Namespace x", "ConfigMap a"}, gone.names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// TestDeparted: of many objects that go, in whatever order they come, the same few are named, and no more are kept.
func TestDeparted(t *testing.T) {
	var gone departed
	for i := range 1000 {
		gone.add(bundle.Key{Kind: "ConfigMap", Name: fmt.Sprintf("c%03d", i*7%1000)})
	}
	for i := range 8 {
		gone.add(bundle.Key{Kind: "Namespace", Name: fmt.Sprintf("n%d", 7-i)})
	}
	want := []string{"Namespace n0", "Namespace n1", "Namespace n2", "Namespace n3", "Namespace n4", "Namespace n5", "Namespace n6", "Namespace n7",
		"ConfigMap c000", "ConfigMap c001"}
	if diff := cmp.Diff(want, gone.names()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(gone.others) != maxDeletes {
		t.Errorf("%d names are kept, want %d", len(gone.others), maxDeletes)
	}
}

// shelf is contents in memory, which counts how often each is pulled.
type shelf struct {
	Content
	blobs  map[string][]byte
	pulled map[string]int
}

func (s *shelf) Pull(_ context.Context, _, digest string, _ int64) ([]byte, error) {
	s.pulled[digest]++
	return s.blobs[digest], nil
}

// put puts a content of some objects on the shelf.
func (s *shelf) put(t *testing.T, digest string, names ...string) *v1alpha1.Variant {
	t.Helper()
	var entries []bundle.Entry
	for _, name := range names {
		entries = append(entries, bundle.Entry{File: "f", Object: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"` + name + `","namespace":"n"}}`)})
	}
	blob, err := bundle.Encode(entries)
	if err != nil {
		t.Fatal(err)
	}
	s.blobs[digest] = blob
	return &v1alpha1.Variant{Digest: digest}
}

// TestContentsAreBoundByBytes: a content that all clusters had is read once however many new ones it is compared with, and
// those of which nobody speaks any more are let go; what is said is the same when hardly anything may be kept.
func TestContentsAreBoundByBytes(t *testing.T) {
	for _, c := range []struct {
		reason string
		most   int
		pulls  int // of what all had
		keeps  int // listings at the end
	}{
		{"all of them have room", 1 << 20, 1, 21},
		{"three have room", 3 * 3 * (eachListed + 20), 1, 3},
		{"none has room", 1, 20, 0},
	} {
		shelf := &shelf{blobs: map[string][]byte{}, pulled: map[string]int{}}
		had := shelf.put(t, "had", "a", "b", "c")
		contents := contents{content: shelf, seed: maphash.MakeSeed(), most: c.most}
		var gone departed
		for i := range 20 {
			variant := shelf.put(t, fmt.Sprintf("new-%d", i), "b", "c", fmt.Sprintf("d%d", i))
			if err := contents.compare(t.Context(), variant, []*v1alpha1.Variant{had}, &gone); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&v1alpha1.Changes{Added: 1, Deleted: 1}, variant.Changes); diff != "" {
				t.Errorf("%s, variant %d (-want +got):\n%s", c.reason, i, diff)
			}
		}
		if shelf.pulled["had"] != c.pulls || len(contents.kept) != c.keeps {
			t.Errorf("%s: pulled %d times and %d kept, want %d and %d", c.reason, shelf.pulled["had"], len(contents.kept), c.pulls, c.keeps)
		}
		if diff := cmp.Diff([]string{"ConfigMap n/a"}, gone.names()); diff != "" {
			t.Errorf("%s: what goes (-want +got):\n%s", c.reason, diff)
		}
	}
}
