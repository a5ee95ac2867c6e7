package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/session"
)

func TestContentThroughTheTunnel(t *testing.T) {
	h := newHub(t)
	h.desires.set("prod-eu", assigned("web-1"), true)
	a := h.joined("prod-eu")
	client := &http.Client{Transport: a.client.Content()}
	answer, err := client.Get("http://hub/v2/shop/web/blobs/sha256:1")
	if err != nil {
		t.Fatal(err)
	}
	if body := readAll(t, answer); body != "content of /v2/shop/web/blobs/sha256:1" {
		t.Errorf("got %q", body)
	}

	a.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://hub/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Do(request); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a session: %v", err)
	}
}

// Whoever has a member's key reads what that member is to hold now, and nothing else that the hub has.
func TestAMemberReadsItsOwnContentAlone(t *testing.T) {
	h := newHub(t)
	one := func(repository, digest string) session.DesiredSet {
		return session.DesiredSet{Assign: map[v1alpha1.PackageKey]*wire.Assignment{
			"shop/web": {Package: "shop/web", Release: "web-1", Repository: repository, Digest: digest},
		}}
	}
	h.desires.set("prod-eu", one("shop/web", "sha256:eu"), true)
	h.desires.set("dev", one("shop/web", "sha256:dev"), true)
	thief, other := h.joined("prod-eu"), h.joined("dev")
	read := func(a *agent, method, path string) string {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://hub/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.URL.Opaque = path // as it is, whatever a client would make of it
		request.Header.Set("X-Remote-User", "dev")
		request.Host = "dev"
		answer, err := (&http.Client{
			Transport: a.client.Content(), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body := readAll(t, answer)
		if answer.StatusCode == http.StatusOK {
			return body
		}
		if strings.Contains(body, "content of") {
			t.Errorf("%s %s: answered %s with content: %q", method, path, answer.Status, body)
		}
		return fmt.Sprint(answer.StatusCode)
	}
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/v2/shop/web/blobs/sha256:eu", "content of /v2/shop/web/blobs/sha256:eu"},
		{"HEAD", "/v2/shop/web/blobs/sha256:eu", ""},
		{"GET", "/v2/shop/web/blobs/sha256:eu?from=shop/web", "content of /v2/shop/web/blobs/sha256:eu"},
		{"GET", "/v2/shop/web/blobs/sha256:dev", "403"},     // what another member is to hold
		{"GET", "/v2/shop/web/blobs/sha256:nowhere", "403"}, // which tells nothing of what there is
		{"GET", "/v2/shop/other/blobs/sha256:eu", "403"},
		{"GET", "/v2/shop/web/manifests/sha256:eu", "403"},
		{"GET", "/v2/shop/web/tags/list", "403"},
		{"GET", "/v2/_catalog", "403"},
		{"GET", "/v2/", "403"},
		{"GET", "/", "403"},
		{"GET", "/v1/join", "403"},
		{"GET", "/clusters/dev/api", "403"},
		{"GET", "/v2/shop/web/blobs/sha256:eu/", "403"},
		{"GET", "/v2/shop/web/blobs/sha256:eu/../sha256:dev", "403"},
		{"GET", "/v2/shop/web/blobs/%2e%2e/blobs/sha256:dev", "403"},
		{"GET", "/v2/shop/web/blobs/sha256:eu%2f..%2fsha256:dev", "403"},
		{"GET", "//v2/shop/web/blobs/sha256:dev", "403"},
		{"GET", "http://dev/v2/shop/web/blobs/sha256:dev", "403"},
		{"PUT", "/v2/shop/web/manifests/v1", "405"},
		{"POST", "/v2/shop/web/blobs/uploads/", "405"},
		{"DELETE", "/v2/shop/web/blobs/sha256:eu", "405"},
	} {
		if got := read(thief, c.method, c.path); got != c.want {
			t.Errorf("%s %s: got %q, want %q", c.method, c.path, got, c.want)
		}
	}
	if got := read(other, "GET", "/v2/shop/web/blobs/sha256:dev"); !strings.HasPrefix(got, "content of") {
		t.Errorf("the other member's own content: %q", got)
	}

	h.desires.set("prod-eu", one("shop/web", "sha256:next"), true)
	for path, want := range map[string]string{
		"/v2/shop/web/blobs/sha256:next": "content of /v2/shop/web/blobs/sha256:next", "/v2/shop/web/blobs/sha256:eu": "403",
	} {
		if got := read(thief, "GET", path); got != want {
			t.Errorf("after a change, %s: got %q, want %q", path, got, want)
		}
	}
	h.desires.set("prod-eu", one("shop/web", "sha256:next"), false)
	if got := read(thief, "GET", "/v2/shop/web/blobs/sha256:next"); got != "503" {
		t.Errorf("while the hub does not know what the member is to hold: %q, want 503", got)
	}
}
