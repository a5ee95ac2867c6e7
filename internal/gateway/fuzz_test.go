package gateway

import (
	"bufio"
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/session"
)

// holds is a Desired of one blob.
type holds struct{}

func (holds) For(v1alpha1.ClusterName) (session.DesiredSet, bool) {
	return session.DesiredSet{Assign: map[v1alpha1.PackageKey]*wire.Assignment{
		"a/web": {Package: "a/web", Repository: "a/web", Digest: "sha256:0123"},
	}}, true
}

func (holds) Subscribe(v1alpha1.ClusterName) (<-chan struct{}, func()) { return nil, func() {} }

// FuzzContentRequest has a member ask the registry for anything, and a stranger at the door. The registry is asked to read the
// blob that the member is to hold, or the agent's image, and nothing else.
func FuzzContentRequest(f *testing.F) {
	for _, seed := range []string{
		"GET /v2/a/web/blobs/sha256:0123 HTTP/1.1\r\nHost: hub\r\n\r\n", "HEAD /v2/umbel/agent/manifests/v1 HTTP/1.1\r\nHost: hub\r\n\r\n",
		"GET /v2/a/web/blobs/../blobs/sha256:0123 HTTP/1.1\r\nHost: hub\r\n\r\n", "GET /v2/umbel/agent/../../a/web/blobs/sha256:0123 HTTP/1.1\r\nHost: hub\r\n\r\n",
		"GET /v2/umbel%2fagent/x HTTP/1.1\r\nHost: hub\r\n\r\n", "POST /v2/umbel/agent/blobs/uploads/ HTTP/1.1\r\nHost: hub\r\n\r\n", "GET * HTTP/1.0\r\n\r\n",
		"GET http://other/v2/ HTTP/1.1\r\nHost: hub\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		var asked []string
		g := &Gateway{Config: Config{Desired: holds{}, Log: slog.New(slog.DiscardHandler), Registry: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.Method+" "+r.URL.Path)
		})}}
		g.serveContent(httptest.NewRecorder(), r.WithContext(context.WithValue(t.Context(), memberKey{}, v1alpha1.ClusterName("prod-eu"))))
		for _, a := range asked {
			if a != "GET /v2/a/web/blobs/sha256:0123" && a != "HEAD /v2/a/web/blobs/sha256:0123" {
				t.Errorf("a member asked the registry %q", a)
			}
		}
		asked = nil
		g.serveImage(httptest.NewRecorder(), r)
		for _, a := range asked {
			method, path, _ := strings.Cut(a, " ")
			ours := path == "/v2" || path == "/v2/" || strings.HasPrefix(path, "/v2/umbel/agent/") && !strings.Contains(path, "..")
			if !ours || method != http.MethodGet && method != http.MethodHead {
				t.Errorf("a stranger asked the registry %q", a)
			}
		}
	})
}
