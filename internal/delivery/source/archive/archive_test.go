package archive_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/archive"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

func digestOf(blob []byte) string {
	sum := sha256.Sum256(blob)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func open(t *testing.T) *archive.Store {
	t.Helper()
	store, err := archive.NewStores(t.TempDir()).Open(source.Ref{URL: "oci://h/a"})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// TestAStoreGivesWhatItsDigestsName, whatever was sent to it or became of its disk.
func TestAStoreGivesWhatItsDigestsName(t *testing.T) {
	store, blob := open(t), []byte("some content")
	digest := digestOf(blob)
	for reason, put := range map[string]error{
		"another content": store.Put(digest, strings.NewReader("other content"), 100),
		"half of it":      store.Put(digest, bytes.NewReader(blob[:5]), 100),
		"too much":        store.Put(digest, bytes.NewReader(blob), 5),
		"a bad name":      store.Put("sha256:../../etc/passwd", bytes.NewReader(blob), 100),
	} {
		if put == nil || store.Has(digest) {
			t.Errorf("%s: got %v, and it is there: %v", reason, put, store.Has(digest))
		}
	}
	if err := store.Put(digest, bytes.NewReader(blob), 100); err != nil || !store.Has(digest) {
		t.Fatal(err)
	}
	all := func(r io.Reader) error { _, err := io.ReadAll(r); return err }
	if err := store.Read(digest, all); err != nil {
		t.Error(err)
	}
	file := filepath.Join(store.Dir(), strings.TrimPrefix(digest, "sha256:"))
	if err := os.WriteFile(file, []byte("damaged here"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store.Read(digest, all); !errors.Is(err, archive.ErrDamaged) || store.Has(digest) {
		t.Errorf("a damaged blob: got %v, and it is there: %v", err, store.Has(digest))
	}
}

// TestAStoreKeepsWhatWasUsedLast and forgets the rest.
func TestAStoreKeepsWhatWasUsedLast(t *testing.T) {
	store := open(t)
	first := []byte("the first")
	if err := store.Put(digestOf(first), bytes.NewReader(first), 100); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		blob := fmt.Appendf(nil, "blob %d", i)
		if err := store.Put(digestOf(blob), bytes.NewReader(blob), 100); err != nil {
			t.Fatal(err)
		}
		if err := store.Read(digestOf(first), func(r io.Reader) error { _, err := io.ReadAll(r); return err }); err != nil {
			t.Fatalf("what is read all the time is gone: %v", err)
		}
	}
	entries, err := os.ReadDir(store.Dir())
	if err != nil || len(entries) > 41 {
		t.Errorf("%d blobs are kept, %v", len(entries), err)
	}
}

// TestCompressions: plain, with gzip and with zstd, known by their first bytes.
// TestATreeWaitsForNoOther: a large archive that is being opened holds up those of it alone.
func TestATreeWaitsForNoOther(t *testing.T) {
	var trees archive.Trees
	opening, done := make(chan struct{}), make(chan struct{})
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() {
		if _, err := trees.Get("large", func() (*archive.Files, error) {
			close(opening)
			select {
			case <-done:
			case <-time.After(30 * time.Second):
				t.Error("another one was not opened meanwhile")
			}
			return archive.NewFiles(), nil
		}); err != nil {
			t.Error(err)
		}
	})
	<-opening
	small, err := trees.Get("small", func() (*archive.Files, error) { return archive.NewFiles(), nil })
	close(done)
	again, failed := trees.Get("small", func() (*archive.Files, error) { return nil, errors.New("it is open") })
	if err != nil || failed != nil || again != small {
		t.Errorf("got %v and %v: %v", err, failed, again == small)
	}
}

func TestCompressions(t *testing.T) {
	want := map[string]string{"a.yaml": "a"}
	var plain, compressed bytes.Buffer
	w, err := zstd.NewWriter(&compressed)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sourcetest.WriteTar(&plain, "", want), sourcetest.WriteTar(w, "", want), w.Close()); err != nil {
		t.Fatal(err)
	}
	for name, packed := range map[string]io.Reader{"plain": &plain, "zstd": &compressed, "gzip": bytes.NewReader(sourcetest.Tarball(t, "", want))} {
		files := archive.NewFiles()
		if err := files.Unpack(packed, archive.NewBudget(source.DefaultLimits)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if content, err := files.ReadFile("a.yaml"); err != nil || string(content) != "a" {
			t.Errorf("%s: read %q, %v", name, content, err)
		}
	}
}

// FuzzUnpack: whatever an archive is, what comes out of it is bounded and has names that stay in it.
func FuzzUnpack(f *testing.F) {
	f.Add(sourcetest.Tarball(f, "shop", map[string]string{"a.yaml": "a", "deep/b.yaml": "b"}))
	f.Add(sourcetest.Tarball(f, "..", map[string]string{"a.yaml": "a"}))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0})
	f.Fuzz(func(t *testing.T, packed []byte) {
		files := archive.NewFiles()
		if err := files.Unpack(bytes.NewReader(packed), archive.NewBudget(source.Limits{Files: 10, Bytes: 10_000})); err != nil {
			return
		}
		total := 0
		var walk func(string)
		walk = func(folder string) {
			entries, err := files.ReadDir(folder)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range entries {
				name := entry.Name()
				if folder != "." {
					name = folder + "/" + name
				}
				if entry.IsDir() {
					walk(name)
					continue
				}
				content, err := files.ReadFile(name)
				if err == nil {
					total += len(content)
				}
			}
		}
		walk(".")
		if total > 10_000 {
			t.Fatalf("%d bytes came out", total)
		}
	})
}

// TestStoresOfNobody are deleted, and those in use are not.
func TestStoresOfNobody(t *testing.T) {
	dir := t.TempDir()
	stores := archive.NewStores(dir)
	used, left := source.Ref{URL: "oci://h/used"}, source.Ref{URL: "oci://h/left"}
	blob := []byte("content")
	digest := digestOf(blob)
	has := func(ref source.Ref) bool {
		t.Helper()
		store, err := archive.NewStores(dir).Open(ref)
		if err != nil {
			t.Fatal(err)
		}
		return store.Has(digest)
	}
	for _, ref := range []source.Ref{used, left} {
		store, err := stores.Open(ref)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Put(digest, bytes.NewReader(blob), 100); err != nil {
			t.Fatal(err)
		}
	}
	if err := stores.Sweep([]source.Ref{used}, time.Now().Add(59*time.Minute)); err != nil || !has(used) || !has(left) {
		t.Errorf("what was opened lately is gone: %v", err)
	}
	for range 2 { // the second time what has() made of it goes
		if err := stores.Sweep([]source.Ref{used}, time.Now().Add(61*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if !has(used) || has(left) {
		t.Errorf("after an hour: used %v, left %v", has(used), has(left))
	}
}
