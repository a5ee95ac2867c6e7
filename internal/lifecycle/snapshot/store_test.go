package snapshot

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
	"golang.org/x/sys/unix"

	"umbel.dev/umbel/internal/content/registrytest"
)

// canary is a password that must be in no error.
const canary = registrytest.Secret

// bench is a target in a test.
type bench struct {
	target Target
	// spoil changes the data that the target keeps of a snapshot, where a target lets that be done.
	spoil func(t *testing.T, name string, change func([]byte) []byte)
	// away has the target be gone, and back brings it back.
	away, back func()
}

func folderBench(t *testing.T) bench {
	dir := filepath.Join(t.TempDir(), "kept")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	return bench{
		target: Target{Folder: link},
		spoil: func(t *testing.T, name string, change func([]byte) []byte) {
			path := filepath.Join(dir, "default", "dev", name+dataSuffix)
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, change(raw), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		away: func() { _ = os.Rename(dir, dir+".away") },
		back: func() { _ = os.Rename(dir+".away", dir) },
	}
}

func s3Bench(t *testing.T) bench {
	kept := s3mem.New()
	if err := kept.CreateBucket(t.Context(), "backups"); err != nil {
		t.Fatal(err)
	}
	fake := gofakes3.New(kept, gofakes3.WithV4Auth(map[string]string{registrytest.Username: canary})).Server()
	var gone atomic.Bool
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gone.Load() {
			http.Error(w, "down for maintenance", http.StatusServiceUnavailable)
			return
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return bench{
		target: Target{
			S3:          &S3{Endpoint: server.URL, Bucket: "backups", Prefix: "fleet/one", Region: "eu-central-1"},
			Credentials: Credentials{Username: registrytest.Username, Password: canary, CA: ca},
		},
		spoil: func(t *testing.T, name string, change func([]byte) []byte) {
			key := "fleet/one/default/dev/" + name + dataSuffix
			object, err := kept.GetObject(t.Context(), "backups", key, nil)
			if err != nil {
				t.Fatal(err)
			}
			var raw bytes.Buffer
			if _, err := raw.ReadFrom(object.Contents); err != nil {
				t.Fatal(err)
			}
			changed := change(raw.Bytes())
			if _, err := kept.PutObject(t.Context(), "backups", key, map[string]string{"Last-Modified": time.Now().UTC().Format(http.TimeFormat)}, bytes.NewReader(changed), int64(len(changed))); err != nil {
				t.Fatal(err)
			}
		},
		away: func() { gone.Store(true) },
		back: func() { gone.Store(false) },
	}
}

func ociBench(t *testing.T) bench {
	registry := registrytest.Start(t, registrytest.Password)
	return bench{target: Target{
		OCI:         &OCI{URL: registry.URL + "/backups"},
		Credentials: Credentials{Username: registrytest.Username, Password: canary, CA: registry.CA},
	}}
}

// written is the file of a snapshot that was taken so many hours ago.
func written(t *testing.T, hours int, size int) (Snapshot, string) {
	t.Helper()
	content := make([]byte, size)
	if _, err := rand.Read(content); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "taken")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC).Add(-time.Duration(hours) * time.Hour)
	s, err := Describe(Snapshot{Name: NameOf(at), Cluster: "default/dev", Time: at, Version: "v1.36.3", Services: "10.129.0.0/16"}, path)
	if err != nil {
		t.Fatal(err)
	}
	return s, path
}

func open(t *testing.T, target Target, cluster string) Store {
	t.Helper()
	store, err := Open(target, "default", cluster)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func fetched(t *testing.T, store Store, name string) ([]byte, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fetched")
	_, err := store.Fetch(t.Context(), name, path)
	raw, readErr := os.ReadFile(path)
	if (err == nil) != (readErr == nil) {
		t.Errorf("fetching came to %v, and the file is there: %v", err, readErr)
	}
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Errorf("the error has the password: %v", err)
	}
	return raw, err
}

// TestStores: each target keeps what it is given, says what it has, and lets go what it is told to.
func TestStores(t *testing.T) {
	for name, bench := range map[string]func(*testing.T) bench{"folder": folderBench, "s3": s3Bench, "oci": ociBench} {
		t.Run(name, func(t *testing.T) {
			b := bench(t)
			store, other := open(t, b.target, "dev"), open(t, b.target, "other")
			if all, err := store.List(t.Context()); err != nil || len(all) != 0 {
				t.Fatalf("before anything was put there: %v, %v", all, err)
			}
			old, oldFile := written(t, 2, 1<<10)
			recent, recentFile := written(t, 1, 20<<20) // several parts
			for s, file := range map[Snapshot]string{old: oldFile, recent: recentFile} {
				if err := store.Put(t.Context(), s, file); err != nil {
					t.Fatal(err)
				}
			}
			if err := store.Put(t.Context(), old, oldFile); err != nil { // whoever did not hear that it is there
				t.Fatal(err)
			}
			all, err := store.List(t.Context())
			if diff := cmp.Diff([]Snapshot{recent, old}, all); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if all, err := other.List(t.Context()); err != nil || len(all) != 0 {
				t.Errorf("another cluster has %v, %v", all, err)
			}
			want, err := os.ReadFile(recentFile)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := fetched(t, store, recent.Name); err != nil || !bytes.Equal(got, want) {
				t.Errorf("fetched something else, of %d bytes: %v", len(got), err)
			}
			if _, err := fetched(t, store, "20200101-000000"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("one that is not there: %v", err)
			}
			if err := store.Delete(t.Context(), old.Name); err != nil {
				t.Error(err)
			}
			if err := store.Delete(t.Context(), old.Name); err != nil {
				t.Errorf("a second time: %v", err)
			}
			if all, err := store.List(t.Context()); err != nil || len(all) != 1 || all[0].Name != recent.Name {
				t.Errorf("after one was deleted: %v, %v", all, err)
			}
			refuses(t, b, recent)
		})
	}
}

// refuses: what is not what was put there is not fetched, and a target that is away is an error, and no empty list.
func refuses(t *testing.T, b bench, s Snapshot) {
	t.Helper()
	wrong := b.target
	wrong.Password = "wrong-" + canary
	if b.target.Folder == "" {
		if _, err := open(t, wrong, "dev").List(t.Context()); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("with a wrong password: %v", err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", b.target, b.target, b.target.Credentials); strings.Contains(text, canary) {
		t.Errorf("a target prints as %s", text)
	}
	if b.away != nil {
		b.away()
		if all, err := open(t, b.target, "dev").List(t.Context()); err == nil {
			t.Errorf("a target that is away has %v", all)
		}
		b.back()
	}
	if b.spoil == nil {
		return // a registry verifies digests itself
	}
	for _, spoilt := range []struct {
		what   string
		change func([]byte) []byte
	}{
		{"SHA-256", func(raw []byte) []byte { raw = bytes.Clone(raw); raw[len(raw)/2] ^= 1; return raw }},
		{"bytes", func(raw []byte) []byte { return raw[:len(raw)-1] }}, // for good, and so the last
	} {
		b.spoil(t, s.Name, spoilt.change)
		var corrupt *CorruptError
		if _, err := fetched(t, open(t, b.target, "dev"), s.Name); !errors.As(err, &corrupt) || !strings.Contains(err.Error(), spoilt.what) {
			t.Errorf("spoilt: got %v, want its %s", err, spoilt.what)
		}
	}
}

// TestAFolderThatIsFull: what was there stays, and what was not finished is not listed.
func TestAFolderThatIsFull(t *testing.T) {
	store := files{full{folder(filepath.Join(t.TempDir(), "default", "dev"))}}
	s, file := written(t, 1, 1<<10)
	if err := store.Put(t.Context(), s, file); err == nil {
		t.Fatal("it was put there")
	}
	if all, err := store.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("it is listed: %v, %v", all, err)
	}
}

// TestWhoeverIsKilledLeavesNothing that grows.
func TestWhoeverIsKilledLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	store := open(t, Target{Folder: dir}, "dev")
	own := filepath.Join(dir, "default", "dev")
	if err := os.MkdirAll(own, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{".20261127-100000.db123456", "20261127-100000.db"} {
		if err := os.WriteFile(filepath.Join(own, left), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := store.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("what was not finished is listed: %v, %v", all, err)
	}
	s, file := written(t, 1, 1<<10)
	if err := store.Put(t.Context(), s, file); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(own, ".*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// full has no room for data.
type full struct{ folder }

func (f full) put(ctx context.Context, name string, content io.Reader, size int64) error {
	return f.folder.put(ctx, name, io.MultiReader(io.LimitReader(content, size/2), failing{}), size)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, unix.ENOSPC }
