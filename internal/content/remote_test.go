package content

import (
	"bytes"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"umbel.dev/umbel/internal/content/registrytest"
)

// account writes Docker's configuration with an account of a registry.
func account(t *testing.T, host, password string) {
	t.Helper()
	dir := t.TempDir()
	auth := base64.StdEncoding.EncodeToString([]byte(registrytest.Username + ":" + password))
	config := `{"auths":{"` + host + `":{"auth":"` + auth + `"}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
}

// What one replica of a hub pushed to a real registry, another one has, below the path that both were given; members read it through a hub
// that has the account.
func TestRemote(t *testing.T) {
	registry := registrytest.StartPlain(t)
	account(t, registry.Host, registrytest.Secret)
	open := func() *Remote {
		remote, err := OpenRemote(registry.URL+"/fleet/one", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return remote
	}
	blob := bytes.Repeat([]byte("content "), 1000)
	digest, err := open().Store().Push(t.Context(), "packages/shop.web", "application/octet-stream", blob)
	if err != nil {
		t.Fatal(err)
	}
	other := open()
	if got, err := other.Store().Pull(t.Context(), "packages/shop.web", digest, 1<<20); err != nil || !bytes.Equal(got, blob) {
		t.Errorf("the other replica pulls %d bytes, %v", len(got), err)
	}
	if has, err := other.Store().Has(t.Context(), "packages/shop.web", digest, int64(len(blob))); err != nil || !has {
		t.Errorf("the other replica has it: %v, %v", has, err)
	}
	if got, want := other.Store().Name("umbel/agent"), registry.Host+"/fleet/one/umbel/agent"; got != want {
		t.Errorf("nodes call a repository %s, want %s", got, want)
	}

	door := httptest.NewServer(other)
	defer door.Close()
	get := func(method, path, ranges string) (int, string) {
		ask, err := http.NewRequestWithContext(t.Context(), method, door.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ranges != "" {
			ask.Header.Set("Range", ranges)
		}
		answer, err := http.DefaultClient.Do(ask)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	path := "/v2/packages/shop.web/blobs/" + digest
	if code, body := get(http.MethodGet, path, ""); code != http.StatusOK || body != string(blob) {
		t.Errorf("a member gets %d and %d bytes", code, len(body))
	}
	if code, body := get(http.MethodGet, path, "bytes=0-7"); code != http.StatusPartialContent || body != "content " {
		t.Errorf("a part of it is %d, %q", code, body)
	}
	if code, _ := get(http.MethodHead, path, ""); code != http.StatusOK {
		t.Errorf("HEAD is %d", code)
	}
	if code, _ := get(http.MethodGet, strings.Replace(path, "shop.web", "shop.other", 1), ""); code != http.StatusNotFound {
		t.Errorf("what is not there is %d", code)
	}
	if code, _ := get(http.MethodPut, path, ""); code != http.StatusMethodNotAllowed {
		t.Errorf("writing is %d", code)
	}
}

// A wrong account is the hub's problem: whoever reads through the hub is told so, not asked who he is.
func TestRemoteWithoutAnAccount(t *testing.T) {
	registry := registrytest.StartPlain(t)
	account(t, registry.Host, "wrong")
	remote, err := OpenRemote(registry.URL, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Store().Push(t.Context(), "packages/shop.web", "a/b", []byte("x")); err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("pushing gives %v, want a refusal without the password", err)
	}
	out := httptest.NewRecorder()
	remote.ServeHTTP(out, httptest.NewRequest(http.MethodGet, "/v2/packages/shop.web/blobs/sha256:"+strings.Repeat("0", 64), nil))
	if out.Code != http.StatusBadGateway {
		t.Errorf("reading gives %d, want %d", out.Code, http.StatusBadGateway)
	}
}

func TestRemoteAddresses(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for _, address := range []string{"", "registry.example", "ftp://registry.example", "https://", "https://me:secret@registry.example", "https://registry.example/UPPER"} {
		_, err := OpenRemote(address, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Errorf("%q is taken", address)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}
