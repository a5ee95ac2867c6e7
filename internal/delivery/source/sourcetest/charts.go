package sourcetest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"umbel.dev/umbel/internal/content/registrytest"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/programtest"
)

// ChartFile is the file that Helm writes anew in every chart that it packs.
const ChartFile = "Chart.yaml"

// Helm is the program, with a home of its own.
type Helm struct {
	t    testing.TB
	home string
}

// NewHelm finds it.
func NewHelm(t testing.TB) *Helm {
	t.Helper()
	return &Helm{t: t, home: t.TempDir()}
}

// Run runs helm.
func (h *Helm) Run(args ...string) {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), programtest.Of(h.t, "helm"), args...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+h.home, "HELM_CONFIG_HOME="+h.home, "HELM_DATA_HOME="+h.home)
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("helm %s: %v\n%s", args[0], err, out)
	}
}

// Package packs versions of a chart that all have the same files, in one go, and returns the folder of the archives.
func (h *Helm) Package(name string, files map[string]string, versions ...string) string {
	h.t.Helper()
	charts, archives := h.t.TempDir(), h.t.TempDir()
	line := []string{"package", "--destination", archives}
	for _, version := range versions {
		chart := filepath.Join(charts, version)
		all := map[string]string{ChartFile: fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\n", name, version)}
		maps.Copy(all, files)
		writeFiles(h.t, chart, all)
		line = append(line, chart)
	}
	h.Run(line...)
	return archives
}

// PushChart packs a chart and pushes it to a registry, both with helm, below a path. It returns its digest there.
func (r *Registry) PushChart(path, name, version string, files map[string]string) string {
	r.t.Helper()
	helm := NewHelm(r.t)
	archive := filepath.Join(helm.Package(name, files, version), name+"-"+version+".tgz")
	ca := filepath.Join(r.t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, r.CA, 0o600); err != nil {
		r.t.Fatal(err)
	}
	line := []string{"push", archive, "oci://" + r.Host + "/" + path, "--ca-file", ca}
	if r.Login != registrytest.Open {
		line = append(line, "--username", account, "--password", Canary)
	}
	helm.Run(line...)
	at, err := r.repository(path+"/"+name).Resolve(context.WithoutCancel(r.t.Context()), version)
	if err != nil {
		r.t.Fatal(err)
	}
	return at.Digest.String()
}

// Charts is a Helm repository over HTTPS: a folder of archives with an index that helm writes, behind a plain file server that
// asks for a password.
type Charts struct {
	// Dir is the folder, and URL where it is served.
	Dir, URL string
	// CA of the server's certificate, as PEM.
	CA []byte

	t      testing.TB
	server *httptest.Server

	mu   sync.Mutex
	sent []string
}

// NewCharts starts a repository without charts.
func NewCharts(t testing.TB) *Charts {
	t.Helper()
	c := &Charts{Dir: t.TempDir(), t: t}
	files := http.StripPrefix("/charts/", http.FileServer(http.Dir(c.Dir)))
	c.server = httptest.NewUnstartedServer(Locked(Basic(account, Canary))(c.counted(files)))
	c.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	c.server.TLS = &tls.Config{}
	c.server.StartTLS()
	t.Cleanup(c.server.Close)
	c.URL, c.CA = c.server.URL+"/charts", CA(c.server)
	return c
}

// Add packs versions of a chart, and has helm write the index anew. flags are helm's for that.
func (c *Charts) Add(name string, files map[string]string, versions []string, flags ...string) {
	c.t.Helper()
	helm := NewHelm(c.t)
	packed := helm.Package(name, files, versions...)
	if err := os.CopyFS(c.Dir, os.DirFS(packed)); err != nil {
		c.t.Fatal(err)
	}
	helm.Run(append([]string{"repo", "index", c.Dir}, flags...)...)
}

// Stop ends the server.
func (c *Charts) Stop() { c.server.Close() }

// Credentials are what the repository takes, and what it does not.
func (c *Charts) Credentials() (right, wrong source.Credentials) { return accounts(c.CA) }

func accounts(ca []byte) (right, wrong source.Credentials) {
	return source.Credentials{Username: account, Password: Canary, CA: ca}, source.Credentials{Username: account, Password: Canary + "x", CA: ca}
}

// Sent are the files whose content was sent until now, in order.
func (c *Charts) Sent() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.sent, " ")
}

func (c *Charts) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &answered{ResponseWriter: w}
		next.ServeHTTP(answer, r)
		if answer.body {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.sent = append(c.sent, filepath.Base(r.URL.Path))
		}
	})
}

// answered notes whether an answer had a body.
type answered struct {
	http.ResponseWriter
	body bool
}

// Write implements http.ResponseWriter.
func (a *answered) Write(p []byte) (int, error) {
	a.body = true
	return a.ResponseWriter.Write(p)
}
