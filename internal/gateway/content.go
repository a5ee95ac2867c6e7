package gateway

import (
	"errors"
	"net/http"
	"path"
	"strings"

	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// agentRepository is the one repository that everybody may read: a new member has no certificate yet when it pulls the
// agent's image.
const agentRepository = "umbel/agent"

// serveContent serves the registry at the door, to read.
func (g *Gateway) serveContent(w http.ResponseWriter, r *http.Request) {
	at := r.URL.Path
	if !plain(at) {
		kubeproxy.WriteError(w, http.StatusBadRequest, "the path has empty segments, or such as . and ..")
		return
	}
	open := at == "/v2" || at == "/v2/" || strings.HasPrefix(at, "/v2/"+agentRepository+"/")
	if !open {
		if _, err := g.admit(r.Context(), r.TLS.PeerCertificates); err != nil {
			var no *refused
			if !errors.As(err, &no) {
				g.Log.Error("a request for content was not decided", "peer", r.RemoteAddr, "error", err)
				kubeproxy.WriteError(w, http.StatusServiceUnavailable, "the hub cannot decide now whether you may do this; try again")
				return
			}
			g.Log.Warn("a request for content was refused", "peer", r.RemoteAddr, "path", at, "why", no.text)
			kubeproxy.WriteError(w, http.StatusUnauthorized, "content is for members: "+no.text)
			return
		}
	}
	readOnly(g.Registry).ServeHTTP(w, r)
}

// plain says whether a path means what it says: what a registry makes of "a/../b" must not differ from what was
// decided about it.
func plain(p string) bool { return strings.TrimSuffix(p, "/") == path.Clean(p) }

// readOnly serves what changes nothing.
func readOnly(registry http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := r.URL.Path
		if (r.Method != http.MethodGet && r.Method != http.MethodHead) || at != "/v2" && !strings.HasPrefix(at, "/v2/") {
			kubeproxy.WriteError(w, http.StatusMethodNotAllowed, "the hub's registry is for reading")
			return
		}
		registry.ServeHTTP(w, r)
	})
}
