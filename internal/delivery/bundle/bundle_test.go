package bundle_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"umbel.dev/umbel/internal/delivery/bundle"
)

func object(kind, namespace, name string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"kind":%q, "metadata":{"name":%q,"namespace":%q}, "apiVersion":"v1"}`, kind, name, namespace))
}

func read(t *testing.T, blob []byte, limits bundle.Limits) ([]bundle.Item, error) {
	t.Helper()
	var items []bundle.Item
	for item, err := range bundle.Decode(bytes.NewReader(blob), limits) {
		if err != nil {
			return items, err
		}
		items = append(items, item)
	}
	return items, nil
}

func TestOrderAndSpellingDoNotMatter(t *testing.T) {
	entries := []bundle.Entry{
		{File: "b.yaml", Object: json.RawMessage(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop"},"spec":{"replicas":3,"ratio":1.50,"big":12345678901234567890}}`)},
		{File: "a.yaml", Object: object("ConfigMap", "shop", "b")},
		{File: "a.yaml", Object: json.RawMessage(`{"metadata":{"name":"a","namespace":"shop"},"data":{"x":"<&>"},"kind":"ConfigMap","apiVersion":"v1"}`)},
	}
	first, err := bundle.Encode(entries)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(entries)
	second, err := bundle.Encode(entries)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("the same objects in another order gave other bytes")
	}
	items, err := read(t, first, bundle.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, item := range items {
		got = append(got, item.File+" "+item.ID.String()+" "+string(item.Object))
	}
	want := []string{
		`a.yaml ConfigMap shop/a {"apiVersion":"v1","data":{"x":"<&>"},"kind":"ConfigMap","metadata":{"name":"a","namespace":"shop"}}`,
		`a.yaml ConfigMap shop/b {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b","namespace":"shop"}}`,
		`b.yaml Deployment.apps shop/web {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop"},"spec":{"big":12345678901234567890,"ratio":1.50,"replicas":3}}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, tc := range []struct {
		reason  string
		entries []bundle.Entry
		want    error
		message string
	}{
		{reason: "nothing must not become an empty bundle", want: bundle.ErrEmpty},
		{reason: "an object without a name", want: bundle.ErrMalformed, message: `file "x.yaml"`,
			entries: []bundle.Entry{{File: "x.yaml", Object: json.RawMessage(`{"apiVersion":"v1","kind":"Secret","metadata":{}}`)}}},
		{reason: "keys are matched exactly, as an API server does", want: bundle.ErrMalformed,
			entries: []bundle.Entry{{File: "x.yaml", Object: json.RawMessage(`{"apiVersion":"v1","Kind":"Secret","metadata":{"name":"a"}}`)}}},
		{reason: "not JSON", want: bundle.ErrMalformed,
			entries: []bundle.Entry{{File: "x.yaml", Object: json.RawMessage(`{`)}}},
		{reason: "two objects in one entry", want: bundle.ErrMalformed,
			entries: []bundle.Entry{{File: "x.yaml", Object: append(object("Secret", "", "a"), object("Secret", "", "b")...)}}},
		{reason: "the same object twice, in two versions", want: bundle.ErrMalformed, message: `Deployment.apps a is in file "a.yaml" and in file "b.yaml"`,
			entries: []bundle.Entry{
				{File: "a.yaml", Object: json.RawMessage(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"}}`)},
				{File: "b.yaml", Object: json.RawMessage(`{"apiVersion":"apps/v1beta1","kind":"Deployment","metadata":{"name":"a"}}`)},
			}},
		{reason: "one object that no API server would take", want: bundle.ErrTooLarge, message: "Secret a",
			entries: []bundle.Entry{{File: "x.yaml", Object: json.RawMessage(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"x":"` + strings.Repeat("y", 5<<20) + `"}`)}}},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			_, err := bundle.Encode(tc.entries)
			if !errors.Is(err, tc.want) || !strings.Contains(fmt.Sprint(err), tc.message) {
				t.Errorf("got %v, want %v that says %q", err, tc.want, tc.message)
			}
		})
	}
}

func compress(t testing.TB, text string) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll([]byte(text), nil)
}

const (
	lineA = `{"file":"a.yaml","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}}` + "\n"
	lineB = `{"file":"b.yaml","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}}` + "\n"
)

func TestDecodeRefuses(t *testing.T) {
	whole := compress(t, lineA+lineB)
	limits := func(change func(*bundle.Limits)) bundle.Limits {
		l := bundle.DefaultLimits
		change(&l)
		return l
	}
	for _, tc := range []struct {
		reason string
		blob   []byte
		limits bundle.Limits
		want   error
	}{
		{reason: "no bytes are not an empty list", blob: nil, limits: bundle.DefaultLimits, want: bundle.ErrEmpty},
		{reason: "an empty frame is not an empty list", blob: compress(t, ""), limits: bundle.DefaultLimits, want: bundle.ErrEmpty},
		{reason: "cut short", blob: whole[:len(whole)-3], limits: bundle.DefaultLimits, want: bundle.ErrMalformed},
		{reason: "a line without an end", blob: compress(t, lineA+lineB[:len(lineB)-1]), limits: bundle.DefaultLimits, want: bundle.ErrMalformed},
		{reason: "not compressed", blob: []byte(lineA), limits: bundle.DefaultLimits, want: bundle.ErrMalformed},
		{reason: "out of order", blob: compress(t, lineB+lineA), limits: bundle.DefaultLimits, want: bundle.ErrMalformed},
		{reason: "doubled", blob: compress(t, lineA+lineA), limits: bundle.DefaultLimits, want: bundle.ErrMalformed},
		{reason: "no object", blob: compress(t, `{"file":"a.yaml"}`+"\n"), limits: bundle.DefaultLimits, want: bundle.ErrMalformed},
		{reason: "more objects than allowed", blob: whole, limits: limits(func(l *bundle.Limits) { l.Objects = 1 }), want: bundle.ErrTooLarge},
		{reason: "more bytes than allowed", blob: whole, limits: limits(func(l *bundle.Limits) { l.Bytes = 100 }), want: bundle.ErrTooLarge},
		{reason: "a longer line than allowed", blob: whole, limits: limits(func(l *bundle.Limits) { l.ObjectBytes = 50 }), want: bundle.ErrTooLarge},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			if _, err := read(t, tc.blob, tc.limits); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestDecodeStopsWhenTheReaderHasEnough(t *testing.T) {
	for item, err := range bundle.Decode(bytes.NewReader(compress(t, lineA+lineB)), bundle.DefaultLimits) {
		if err != nil || item.ID.Name != "a" {
			t.Fatalf("first item: %v, %v", item, err)
		}
		break
	}
}

// FuzzDecode: whatever the bytes, no panic, and what is accepted encodes to a bundle with the same objects.
func FuzzDecode(f *testing.F) {
	f.Add(compress(f, lineA+lineB))
	f.Add(compress(f, lineB+lineA))
	f.Add(compress(f, `{"file":"","object":{"apiVersion":"a/b","kind":"K","metadata":{"name":"\ud800"},"n":1e999}}`+"\n"))
	f.Add([]byte{})
	limits := bundle.Limits{Bytes: 1 << 20, Objects: 1000, ObjectBytes: 1 << 16}
	f.Fuzz(func(t *testing.T, blob []byte) {
		var ids []string
		var entries []bundle.Entry
		for item, err := range bundle.Decode(bytes.NewReader(blob), limits) {
			if err != nil {
				return
			}
			ids = append(ids, item.ID.String())
			entries = append(entries, item.Entry)
		}
		again, err := bundle.Encode(entries)
		if err != nil {
			t.Fatalf("encoding what was decoded: %v", err)
		}
		var got []string
		for item, err := range bundle.Decode(bytes.NewReader(again), bundle.DefaultLimits) {
			if err != nil {
				t.Fatalf("decoding what was encoded: %v", err)
			}
			got = append(got, item.ID.String())
		}
		if diff := cmp.Diff(ids, got); diff != "" {
			t.Errorf("objects changed (-first +second):\n%s", diff)
		}
	})
}

// FuzzEncode: whatever the object, Encode refuses it or makes bytes that Decode reads back and Encode makes again.
func FuzzEncode(f *testing.F) {
	f.Add("a.yaml", []byte(object("ConfigMap", "n", "x")))
	f.Add("", []byte(`{"apiVersion":"v1","kind":"K","metadata":{"name":"a"},"metadata":{"name":"b"}}`))
	f.Fuzz(func(t *testing.T, file string, raw []byte) {
		blob, err := bundle.Encode([]bundle.Entry{{File: file, Object: raw}})
		if err != nil {
			return
		}
		items, err := read(t, blob, bundle.DefaultLimits)
		if err != nil || len(items) != 1 {
			t.Fatalf("decoding what was encoded: %d items, %v", len(items), err)
		}
		again, err := bundle.Encode([]bundle.Entry{items[0].Entry})
		if err != nil || !bytes.Equal(blob, again) {
			t.Fatalf("encoding again gave other bytes, %v", err)
		}
	})
}

func BenchmarkDecode10000(b *testing.B) {
	entries := make([]bundle.Entry, 10_000)
	for i := range entries {
		entries[i] = bundle.Entry{File: "a.yaml", Object: object("ConfigMap", "shop", fmt.Sprintf("c-%05d", i))}
	}
	blob, err := bundle.Encode(entries)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range bundle.Decode(bytes.NewReader(blob), bundle.DefaultLimits) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
