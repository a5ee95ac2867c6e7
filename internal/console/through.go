package console

import (
	"mime"
	"net/http"
	"net/url"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// serveHubAPI is the hub's own API.
func (c *Console) serveHubAPI(w http.ResponseWriter, r *http.Request, s *session) {
	c.through(w, r, s, "/hub/"+after(r, "/console/k8s/"))
}

// serveMemberAPI is the API of a member.
func (c *Console) serveMemberAPI(w http.ResponseWriter, r *http.Request, s *session) {
	name := url.PathEscape(r.PathValue("name"))
	c.through(w, r, s, "/clusters/"+name+"/"+after(r, "/console/clusters/"+name+"/k8s/"))
}

func (c *Console) serveMetrics(w http.ResponseWriter, r *http.Request, s *session) {
	c.through(w, r, s, "/api/v1/"+after(r, "/console/api/metrics/"))
}

func (c *Console) serveAudit(w http.ResponseWriter, r *http.Request, s *session) {
	c.through(w, r, s, audit.Path)
}

func (c *Console) serveHistory(w http.ResponseWriter, r *http.Request, s *session) {
	c.through(w, r, s, v1alpha1.HistoryPath+url.PathEscape(r.PathValue("name")))
}

// through sends a request through the gateway's door as the person of a session. path is where it goes, escaped.
func (c *Console) through(w http.ResponseWriter, r *http.Request, s *session, path string) {
	plain, err := url.PathUnescape(path)
	if err != nil {
		kubeproxy.WriteError(w, http.StatusBadRequest, "the path cannot be read")
		return
	}
	for part := range strings.SplitSeq(plain, "/") {
		if part == "proxy" || part == ".." {
			kubeproxy.WriteError(w, http.StatusForbidden, "what pods, services and nodes serve is not shown by the console, where it would be taken for the hub's: `kubectl port-forward` reaches it")
			return
		}
	}
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = plain, path
	inner.RequestURI = ""
	inner.TLS = nil // whose certificate it is does not count here
	for _, name := range []string{"Cookie", "Authorization", "Origin", "Referer", ownHeader} {
		inner.Header.Del(name)
	}
	if r.Header.Get("Upgrade") == "" {
		inner.Header.Del("Accept-Encoding") // what is sent on is looked at by nobody, and may be small
	}
	c.Door.ServeAs(&harmless{ResponseWriter: w}, inner, s.who())
}

// harmless has an answer be text or JSON to the browser, whatever whoever answers calls it.
type harmless struct {
	http.ResponseWriter
	wrote bool
}

// WriteHeader implements http.ResponseWriter.
func (h *harmless) WriteHeader(code int) {
	if !h.wrote && code >= 200 {
		h.wrote = true
		h.clean()
	}
	h.ResponseWriter.WriteHeader(code)
}

func (h *harmless) clean() {
	header := h.Header()
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || kind != "application/json" && kind != "text/plain" && kind != "application/x-ndjson" {
		kind = "text/plain"
	}
	policy := "default-src 'none'; sandbox; frame-ancestors 'none'"
	for _, name := range []string{"Set-Cookie", "Location", "Clear-Site-Data", "Refresh", "Link", "Service-Worker-Allowed", "Strict-Transport-Security", "Content-Disposition"} {
		header.Del(name)
	}
	header.Set("Content-Type", kind+"; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", policy)
	header.Set("Cache-Control", "no-store")
}

// Write implements http.ResponseWriter.
func (h *harmless) Write(p []byte) (int, error) {
	if !h.wrote {
		h.WriteHeader(http.StatusOK)
	}
	return h.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController find what is below.
func (h *harmless) Unwrap() http.ResponseWriter { return h.ResponseWriter }
