package sourcetest

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Repository is a Git repository with a working tree and the branch main.
type Repository struct {
	// Dir is the working tree.
	Dir string

	t  testing.TB
	at string // when commits are made; empty for now
}

// New makes an empty repository that goes with the test.
func New(t testing.TB) *Repository {
	t.Helper()
	r := &Repository{Dir: t.TempDir(), t: t}
	r.Git("init", "--quiet", "--initial-branch=main")
	return r
}

// URL is the repository's file:// address.
func (r *Repository) URL() string { return "file://" + r.Dir }

// Git runs git in the repository and returns what it printed.
func (r *Repository) Git(args ...string) string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "git", args...)
	cmd.Dir = r.Dir
	cmd.Env = environment()
	if r.at != "" {
		cmd.Env = append(cmd.Env, "GIT_AUTHOR_DATE="+r.at, "GIT_COMMITTER_DATE="+r.at)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func environment() []string {
	return append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=Test", "GIT_AUTHOR_EMAIL=test@example.org",
		"GIT_COMMITTER_NAME=Test", "GIT_COMMITTER_EMAIL=test@example.org")
}

// Commit makes the files what the working tree holds, in place of everything it held before, and commits them. It
// returns the commit's hash.
func (r *Repository) Commit(files map[string]string) string {
	r.t.Helper()
	r.Git("rm", "-r", "-f", "-q", "--ignore-unmatch", ".")
	r.write(files)
	return r.commit()
}

// Change writes the files beside what the working tree holds and commits them. It returns the commit's hash.
func (r *Repository) Change(files map[string]string) string {
	r.t.Helper()
	r.write(files)
	return r.commit()
}

func (r *Repository) commit() string {
	r.t.Helper()
	r.Git("add", "-A")
	r.Git("commit", "--quiet", "--allow-empty", "--message", "a change")
	return r.Git("rev-parse", "HEAD")
}

func (r *Repository) write(files map[string]string) { writeFiles(r.t, r.Dir, files) }

// Serve serves the repository over HTTP with `git http-backend`, behind the middleware, and returns its address. Pass
// nil for none.
func (r *Repository) Serve(middleware func(http.Handler) http.Handler) string {
	r.t.Helper()
	server := httptest.NewServer(r.handler(middleware))
	r.t.Cleanup(server.Close)
	return server.URL + r.path()
}

// ServeTLS does the same over HTTPS, and returns the server as well, whose certificate is of no authority that is known.
func (r *Repository) ServeTLS(middleware func(http.Handler) http.Handler) (*httptest.Server, string) {
	r.t.Helper()
	server := httptest.NewUnstartedServer(r.handler(middleware))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	r.t.Cleanup(server.Close)
	return server, server.URL + r.path()
}

func (r *Repository) path() string { return "/" + filepath.Base(r.Dir) + "/.git" }

func (r *Repository) handler(middleware func(http.Handler) http.Handler) http.Handler {
	r.t.Helper()
	backend, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		r.t.Fatalf("finding git's programs: %v", err)
	}
	var handler http.Handler = &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(backend)), "git-http-backend"),
		Env: []string{
			"GIT_PROJECT_ROOT=" + filepath.Dir(r.Dir), "GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		},
	}
	if middleware != nil {
		handler = middleware(handler)
	}
	return handler
}

// CA is the certificate of a server of ServeTLS, as PEM.
func CA(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// Locked lets requests pass that have a header, and asks others for it. What is wrong it repeats, as bad servers do.
func Locked(want string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("Authorization"); got != want {
				w.Header().Set("WWW-Authenticate", `Basic realm="repositories"`)
				http.Error(w, fmt.Sprintf("%q is wrong", got), http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Basic is the header of basic authentication.
func Basic(username, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+password))
}
