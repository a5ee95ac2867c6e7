package content_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"oras.land/oras-go/v2/registry/remote"

	"umbel.dev/umbel/internal/content"
)

const mediaType = "application/vnd.umbel.objects.v1+jsonl.zstd"

func open(t *testing.T, conf content.RegistryConfig) *content.Registry {
	t.Helper()
	registry, err := content.NewRegistry(conf)
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

func store(t *testing.T, base string, transport http.RoundTripper) *content.Store {
	t.Helper()
	s, err := content.NewStore(base, transport)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestPushPullOutlivesRestart drives the registry as the hub does, in-process, and as an agent does, over a listener.
func TestPushPullOutlivesRestart(t *testing.T) {
	dir := t.TempDir()
	registry := open(t, content.RegistryConfig{Dir: dir})
	hub := store(t, "http://registry.umbel", content.InProcess(registry))
	blob := bytes.Repeat([]byte("objects"), 100_000)
	var digests []string
	for range 2 { // the second push finds everything there
		digest, err := hub.Push(t.Context(), "packages/shop.web", mediaType, blob)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest)
	}
	if digests[0] != digests[1] || digests[0] != content.Digest(blob) {
		t.Errorf("digests %q, want twice %s", digests, content.Digest(blob))
	}
	if err := registry.Close(); err != nil {
		t.Fatal(err)
	}

	registry = open(t, content.RegistryConfig{Dir: dir})
	defer registry.Close()
	server := httptest.NewServer(registry)
	defer server.Close()
	agent := store(t, server.URL, http.DefaultTransport)
	got, err := agent.Pull(t.Context(), "packages/shop.web", digests[0], int64(len(blob)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, blob) {
		t.Error("pulled other bytes than were pushed")
	}
	for _, s := range []*content.Store{agent, store(t, "http://registry.umbel", content.InProcess(registry))} {
		has, err := s.Has(t.Context(), "packages/shop.web", digests[0], int64(len(blob)))
		if err != nil || !has {
			t.Errorf("Has after a restart: %v, %v", has, err)
		}
	}
}

func TestPullRefuses(t *testing.T) {
	registry := open(t, content.RegistryConfig{Dir: t.TempDir()})
	defer registry.Close()
	hub := store(t, "http://registry.umbel", content.InProcess(registry))
	blob := []byte("objects")
	digest, err := hub.Push(t.Context(), "a", mediaType, blob)
	if err != nil {
		t.Fatal(err)
	}
	corrupt := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "objectz") }))
	defer corrupt.Close()
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 100 {
			fmt.Fprint(w, strings.Repeat("x", 1<<12))
			w.(http.Flusher).Flush()
		}
	}))
	defer endless.Close()
	for _, tc := range []struct {
		reason     string
		from       *content.Store
		repository string
		digest     string
		max        int64
		want       error
	}{
		{reason: "not there", from: hub, repository: "a", digest: content.Digest([]byte("other")), max: 100, want: content.ErrNotFound},
		{reason: "no such repository", from: hub, repository: "b", digest: digest, max: 100, want: content.ErrNotFound},
		{reason: "larger than the caller takes", from: hub, repository: "a", digest: digest, max: 6, want: content.ErrTooLarge},
		{reason: "an answer that does not say its size", from: store(t, endless.URL, http.DefaultTransport), repository: "a", digest: digest, max: 5000, want: content.ErrTooLarge},
		{reason: "other bytes of the same size", from: store(t, corrupt.URL, http.DefaultTransport), repository: "a", digest: digest, max: 100, want: content.ErrCorrupt},
		{reason: "a digest that is a path", from: hub, repository: "a", digest: "../../etc/passwd", max: 100, want: content.ErrCorrupt},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			if _, err := tc.from.Pull(t.Context(), tc.repository, tc.digest, tc.max); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestStoreSaysWhatIsWrong(t *testing.T) {
	for _, base := range []string{"registry", "ftp://registry", "http://", "http://registry/path"} {
		if _, err := content.NewStore(base, http.DefaultTransport); err == nil {
			t.Errorf("NewStore(%q) takes it", base)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	registry := open(t, content.RegistryConfig{Dir: t.TempDir()})
	defer registry.Close()
	s := store(t, "http://registry.umbel", content.InProcess(registry))
	if _, err := s.Push(ctx, "a", mediaType, []byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Push in a cancelled context: %v", err)
	}
	if _, err := s.Push(t.Context(), "Not/A/Repository", mediaType, []byte("x")); err == nil {
		t.Error("Push takes a repository name that no registry takes")
	}
}

// TestCollectionDropsOnlyWhatWasDeleted lets the registry collect garbage as fast as it can, of what is older than a push takes on a busy machine.
func TestCollectionDropsOnlyWhatWasDeleted(t *testing.T) {
	dir := t.TempDir()
	registry := open(t, content.RegistryConfig{Dir: dir, CollectEvery: 20 * time.Millisecond, CollectAfter: 5 * time.Second})
	defer registry.Close()
	s := store(t, "http://registry.umbel", content.InProcess(registry))
	kept, err := s.Push(t.Context(), "a", mediaType, []byte("kept"))
	if err != nil {
		t.Fatal(err)
	}
	dropped, err := s.Push(t.Context(), "a", mediaType, []byte("dropped"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Delete(t.Context(), "a", dropped); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "a", "blobs", "sha256", strings.TrimPrefix(dropped, "sha256:"))
	tick := time.NewTicker(20 * time.Millisecond) // until it is gone, or the test binary's deadline says it never was
	defer tick.Stop()
	for range tick.C {
		if _, err := os.Stat(file); os.IsNotExist(err) {
			break
		}
	}
	if has, err := s.Has(t.Context(), "a", kept, 4); err != nil || !has {
		t.Errorf("what was kept: Has = %v, %v", has, err)
	}
	if has, err := s.Has(t.Context(), "a", dropped, 7); err != nil || has {
		t.Errorf("what was dropped: Has = %v, %v", has, err)
	}
}

// TestASlowReaderHoldsUpNobody: a member that stops reading in the middle of a blob does not keep others from pushing,
// nor the collection of garbage from running.
func TestASlowReaderHoldsUpNobody(t *testing.T) {
	registry := open(t, content.RegistryConfig{Dir: t.TempDir(), CollectEvery: 10 * time.Millisecond, CollectAfter: time.Minute})
	defer registry.Close()
	server := httptest.NewServer(registry)
	defer server.Close()
	s := store(t, server.URL, http.DefaultTransport)
	digest, err := s.Push(t.Context(), "a", mediaType, bytes.Repeat([]byte("0123456789abcdef"), 1<<21))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(server.URL + "/v2/a/blobs/" + digest)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := s.Push(t.Context(), "a", mediaType, []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
}

// TestManyAtOnce pushes and pulls in one repository from many goroutines, for the race detector.
func TestManyAtOnce(t *testing.T) {
	registry := open(t, content.RegistryConfig{Dir: t.TempDir()})
	defer registry.Close()
	s := store(t, "http://registry.umbel", content.InProcess(registry))
	var workers sync.WaitGroup
	for worker := range 8 {
		workers.Go(func() {
			for i := range 10 {
				blob := []byte(fmt.Sprint("blob ", i%5, worker%2))
				digest, err := s.Push(t.Context(), "a", mediaType, blob)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := s.Pull(t.Context(), "a", digest, 100); err != nil || !bytes.Equal(got, blob) {
					t.Errorf("pulled %q, %v", got, err)
				}
				if has, err := s.Has(t.Context(), "a", digest, int64(len(blob))); err != nil || !has {
					t.Errorf("Has = %v, %v", has, err)
				}
			}
		})
	}
	workers.Wait()
}

// TestPushHealsWhatAPowerCutLeft: a blob that is there in part is pushed again.
func TestPushHealsWhatAPowerCutLeft(t *testing.T) {
	dir := t.TempDir()
	registry := open(t, content.RegistryConfig{Dir: dir})
	defer registry.Close()
	s := store(t, "http://registry.umbel", content.InProcess(registry))
	blob := []byte("objects")
	digest, err := s.Push(t.Context(), "a", mediaType, blob)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "a", "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
	if err := os.Truncate(file, 3); err != nil {
		t.Fatal(err)
	}
	if has, err := s.Has(t.Context(), "a", digest, 7); err != nil || has {
		t.Errorf("Has of half a blob: %v, %v", has, err)
	}
	if _, err := s.Push(t.Context(), "a", mediaType, blob); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Pull(t.Context(), "a", digest, 100); err != nil || !bytes.Equal(got, blob) {
		t.Errorf("Pull after the second push: %q, %v", got, err)
	}
}

// build makes a real static binary.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println(\"hello\") }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "hello")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return binary
}

func TestImages(t *testing.T) {
	binary := build(t)
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("as a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "image.tar")
		if err := content.ImageTarball(file, "registry.umbel.dev/hello:v1", binary); err != nil {
			t.Fatal(err)
		}
		first, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(binary, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		if err := content.ImageTarball(file, "registry.umbel.dev/hello:v1", binary); err != nil {
			t.Fatal(err)
		}
		second, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Error("the same binary gave two images")
		}
		img, err := tarball.ImageFromPath(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"/hello"}, config.Config.Entrypoint); diff != "" {
			t.Errorf("entrypoint (-want +got):\n%s", diff)
		}
		layers, err := img.Layers()
		if err != nil || len(layers) != 1 {
			t.Fatalf("%d layers, %v", len(layers), err)
		}
		layer, err := layers[0].Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		defer layer.Close()
		files := tar.NewReader(layer)
		head, err := files.Next()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		if head.Name != "hello" || head.Mode != 0o755 || !bytes.Equal(got, program) {
			t.Errorf("the layer holds %q, mode %o, %d bytes", head.Name, head.Mode, len(got))
		}
		if _, err := files.Next(); err != io.EOF {
			t.Errorf("after the file: %v", err)
		}
	})
	t.Run("in the registry", func(t *testing.T) {
		registry := open(t, content.RegistryConfig{Dir: t.TempDir()})
		defer registry.Close()
		var writes int
		counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				writes++
			}
			registry.ServeHTTP(w, r)
		})
		s := store(t, "http://registry.umbel", content.InProcess(counted))
		if err := s.PushImage(t.Context(), "umbel/agent", "v1", binary); err != nil {
			t.Fatal(err)
		}
		if writes != 3 {
			t.Errorf("pushing an image wrote %d times, want layer, configuration and manifest", writes)
		}
		writes = 0
		if err := s.PushImage(t.Context(), "umbel/agent", "v1", binary); err != nil {
			t.Fatal(err)
		}
		if writes != 0 {
			t.Errorf("pushing it again wrote %d times", writes)
		}
		server := httptest.NewServer(registry)
		defer server.Close()
		repo, err := remote.NewRepository(strings.TrimPrefix(server.URL, "http://") + "/umbel/agent")
		if err != nil {
			t.Fatal(err)
		}
		repo.PlainHTTP = true
		if _, err := repo.Resolve(t.Context(), "v1"); err != nil {
			t.Errorf("resolving the image as a container runtime does: %v", err)
		}
	})
	t.Run("not of a script", func(t *testing.T) {
		script := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		err := content.ImageTarball(filepath.Join(t.TempDir(), "x.tar"), "registry.umbel.dev/x:v1", script)
		if err == nil || !strings.Contains(err.Error(), "not a Linux binary") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("not of a binary that needs a linker", func(t *testing.T) {
		err := content.ImageTarball(filepath.Join(t.TempDir(), "x.tar"), "registry.umbel.dev/x:v1", "/bin/sh")
		if err == nil || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
			t.Errorf("got %v", err)
		}
	})
}
