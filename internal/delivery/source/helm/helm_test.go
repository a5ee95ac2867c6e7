package helm_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/helm"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

func newReader(t *testing.T, limits source.Limits) source.Reader {
	return helm.New(helm.Config{Dir: t.TempDir(), Limits: limits})
}

func ref(url, version string) source.Ref {
	if version == "" {
		version = ">=0.0.0-0"
	}
	return source.Ref{Kind: source.Helm, URL: url, Chart: "shop", Range: version, Secret: "team/charts"}
}

// repository is one of charts over HTTP.
type repository struct {
	t      *testing.T
	server *httptest.Server

	mu       sync.Mutex
	charts   map[string][]byte // by path
	index    string
	fetched  []string
	elsewise string // where the index says that charts are; empty for beside it
	digest   func([]byte) string
}

func newRepository(t *testing.T) *repository {
	r := &repository{t: t, charts: map[string][]byte{}, index: "apiVersion: v1\nentries:\n  shop:\n", digest: func(chart []byte) string {
		sum := sha256.Sum256(chart)
		return hex.EncodeToString(sum[:])
	}}
	r.server = httptest.NewUnstartedServer(sourcetest.Locked(sourcetest.Basic("ada", sourcetest.Canary))(r))
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.server.StartTLS()
	t.Cleanup(r.server.Close)
	return r
}

func (r *repository) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := strings.TrimPrefix(req.URL.Path, "/charts/")
	content := r.charts[name]
	if name == "index.yaml" {
		content = []byte(r.index)
	}
	if content == nil {
		http.NotFound(w, req)
		return
	}
	etag := `"` + r.digest(content) + `"`
	w.Header().Set("Etag", etag)
	if req.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	r.fetched = append(r.fetched, name)
	_, _ = w.Write(content)
}

func (r *repository) Publish(version string, files map[string]string) {
	chart := sourcetest.Tarball(r.t, "shop", files)
	r.mu.Lock()
	defer r.mu.Unlock()
	name := "shop-" + version + ".tgz"
	r.charts[name] = chart
	r.index += fmt.Sprintf("  - {version: %q, digest: %q, urls: [%q]}\n", version, r.digest(chart), r.elsewise+name)
}

func (r *repository) Ref(version string) source.Ref { return ref(r.server.URL+"/charts", version) }

func (r *repository) Credentials() (right, wrong source.Credentials) {
	ca := sourcetest.CA(r.server)
	return source.Credentials{Username: "ada", Password: sourcetest.Canary, CA: ca}, source.Credentials{Username: "ada", Password: sourcetest.Canary + "x", CA: ca}
}

func (r *repository) Stop() { r.server.Close() }

// registry is one of charts over OCI, as `helm push` makes them.
type registry struct {
	*sourcetest.Registry
	t *testing.T
}

func (r *registry) Publish(version string, files map[string]string) {
	r.Push("charts/shop", []sourcetest.Layer{
		{MediaType: "application/vnd.cncf.helm.chart.provenance.v1.prov", Blob: []byte("signed")},
		{MediaType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip", Blob: sourcetest.Tarball(r.t, "shop", files)},
	}, version)
}

func (r *registry) Ref(version string) source.Ref { return ref("oci://"+r.Host+"/charts", version) }

func (r *registry) Credentials() (right, wrong source.Credentials) {
	return source.Credentials{Username: "ada", Password: sourcetest.Canary, CA: r.CA}, source.Credentials{Username: "ada", Password: sourcetest.Canary + "x", CA: r.CA}
}

func TestConformance(t *testing.T) {
	t.Run("http", func(t *testing.T) {
		sourcetest.Conformance(t, newReader, func(t *testing.T) sourcetest.Remote { return newRepository(t) })
	})
	t.Run("oci", func(t *testing.T) {
		sourcetest.Conformance(t, newReader, func(t *testing.T) sourcetest.Remote {
			return &registry{sourcetest.NewRegistry(t, sourcetest.Basic("ada", sourcetest.Canary)), t}
		})
	})
}

// TestNothingIsFetchedTwice: an index that did not change and a chart that is here are not sent again.
func TestNothingIsFetchedTwice(t *testing.T) {
	r := newRepository(t)
	r.Publish("1.0.0", map[string]string{"Chart.yaml": "name: shop"})
	reader := newReader(t, source.Limits{})
	right, _ := r.Credentials()
	for range 3 {
		if _, err := reader.Resolve(t.Context(), r.Ref(""), right); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(r.fetched, " "); got != "index.yaml shop-1.0.0.tgz" {
		t.Errorf("fetched %s, want the index and the chart once", got)
	}
}

// TestARepositoryThatLies: about a chart's digest, and about where it is.
func TestARepositoryThatLies(t *testing.T) {
	r := newRepository(t)
	right, _ := r.Credentials()
	var heard []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		heard = append(heard, req.Header.Get("Authorization"))
		http.NotFound(w, req)
	}))
	defer other.Close()
	r.elsewise = other.URL + "/"
	r.Publish("1.0.0", map[string]string{"Chart.yaml": "name: shop"})
	if _, err := newReader(t, source.Limits{}).Resolve(t.Context(), r.Ref(""), right); err == nil {
		t.Error("a chart that is not there was read")
	}
	if got := strings.Join(heard, "|"); got != "" || len(heard) != 1 {
		t.Errorf("another host was told %q in %d requests, want no credentials in one", got, len(heard))
	}
	r.elsewise, r.digest = "", func([]byte) string { return strings.Repeat("ab", 32) }
	r.Publish("1.1.0", map[string]string{"Chart.yaml": "name: shop"})
	if _, err := newReader(t, source.Limits{}).Resolve(t.Context(), r.Ref(""), right); err == nil || !strings.Contains(err.Error(), "is not the one that the index names") {
		t.Errorf("another archive than the index names: got %v", err)
	}
	unknown := r.Ref("")
	unknown.Chart = "nothing"
	if _, err := newReader(t, source.Limits{}).Resolve(t.Context(), unknown, right); err == nil || !strings.Contains(err.Error(), `no chart "nothing"`) {
		t.Errorf("a chart that is not in the index: got %v", err)
	}
}
