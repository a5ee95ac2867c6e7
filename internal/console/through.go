package console

import (
	"context"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"

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

// serveMetrics answers queries. Of rules and alerts the console has pages of its own, with a part at a time.
func (c *Console) serveMetrics(w http.ResponseWriter, r *http.Request, s *session) {
	what := after(r, "/console/api/metrics/")
	first, _, _ := strings.Cut(what, "/")
	if !slices.Contains([]string{"query", "query_range", "labels", "label", "series", "metadata"}, first) {
		kubeproxy.WriteError(w, http.StatusNotFound, "the console asks no such question; the hub's API of Prometheus is at /api/v1/, for programs with a token")
		return
	}
	c.through(w, r, s, "/api/v1/"+what)
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
	if serves(plain) {
		kubeproxy.WriteError(w, http.StatusForbidden, "what pods, services and nodes serve is not shown by the console, where it would be taken for the hub's: `kubectl port-forward` reaches it")
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go c.during(ctx, cancel, r)
	inner := r.Clone(ctx)
	inner.URL.Path, inner.URL.RawPath = plain, path
	inner.RequestURI = ""
	bounded(inner)
	inner.TLS = nil // whose certificate it is does not count here
	for _, name := range []string{"Cookie", "Authorization", "Origin", "Referer", ownHeader} {
		inner.Header.Del(name)
	}
	if r.Header.Get("Upgrade") == "" {
		inner.Header.Del("Accept-Encoding") // what is sent on is looked at by nobody, and may be small
	}
	c.Door.ServeAs(&harmless{ResponseWriter: w}, inner, s.who())
}

// sessionLook is how often it is looked whether the session of somebody who watches, follows a log or has a shell is over.
const sessionLook = 2 * time.Second

// during ends a request with the session of whoever asks: signing out everywhere closes their shells.
func (c *Console) during(ctx context.Context, cancel context.CancelFunc, r *http.Request) {
	look := time.NewTicker(sessionLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		if _, err := c.open(r); err != nil {
			cancel()
			return
		}
	}
}

// serves says whether an API server may hand what is at a path on to a pod, a service or a node. A namespace or an object that is called
// proxy is none of that: proxy is where the name of a subresource is, or where the API of old had a verb.
func serves(path string) bool {
	if strings.Contains(path, "//") || slices.Contains(strings.Split(path, "/"), "..") {
		return true // whoever asks in another way than clients do may be understood in another way
	}
	info, err := askedOf(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}})
	return err != nil || info.Subresource == "proxy" || info.Verb == "proxy"
}

// askedOf reads a request as the API server does behind whose door it is: the hub's, or a member's.
func askedOf(r *http.Request) (*apirequest.RequestInfo, error) {
	at := *r.URL
	if after, is := strings.CutPrefix(at.Path, "/hub/"); is {
		at.Path = "/" + after
	} else if after, is := strings.CutPrefix(at.Path, "/clusters/"); is {
		_, after, _ = strings.Cut(after, "/")
		at.Path = "/" + after
	}
	return requests.NewRequestInfo(&http.Request{Method: r.Method, URL: &at})
}

// maxObjects is how many objects a list has at most that is asked of an API through the console, with what leads to the next ones. No page of it wants
// all that there is.
const maxObjects = 500

// bounded has a request for a list ask for no more than a part.
func bounded(r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/hub/") && !strings.HasPrefix(r.URL.Path, "/clusters/") {
		return // the gateway's own
	}
	info, err := askedOf(r)
	if err != nil || info.Verb != "list" {
		return
	}
	query := r.URL.Query()
	if limit, err := strconv.Atoi(query.Get("limit")); err != nil || limit < 1 || limit > maxObjects {
		query.Set("limit", strconv.Itoa(maxObjects))
		r.URL.RawQuery = query.Encode()
	}
}

// requests reads paths as API servers do.
var requests = &apirequest.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}

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
