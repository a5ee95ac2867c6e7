package registrytest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"umbel.dev/umbel/internal/programtest"
)

// Login is how a registry is signed in to.
type Login int

// A registry is open to everybody, asks for a password, or for a token.
const (
	Open Login = iota
	Password
	Token
)

// Who may sign in.
const (
	Username = "ada"
	Secret   = "c4n4ry-s3cr3t"
)

// Registry is one that runs.
type Registry struct {
	// URL of the registry, its Host, as HOST:PORT, and the CA of its certificate, as PEM.
	URL, Host string
	CA        []byte
	// Login is how it is signed in to.
	Login Login

	t    testing.TB
	dir  string
	stop func()
}

// Start starts a registry behind HTTPS. It ends with the test.
func Start(t testing.TB, login Login) *Registry {
	t.Helper()
	pair := newPair(t)
	r := &Registry{t: t, dir: t.TempDir(), Login: login, Host: programtest.FreeAddress(t), CA: pair.certPEM}
	r.URL = "https://" + r.Host
	r.run(fmt.Sprintf("http: {addr: %q, tls: {certificate: %q, key: %q}}\n%s",
		r.Host, r.keep("tls.crt", pair.certPEM), r.keep("tls.key", pair.keyPEM), r.guard(pair)))
	return r
}

// StartPlain starts a registry without encryption, behind a password. It ends with the test.
func StartPlain(t testing.TB) *Registry {
	t.Helper()
	r := &Registry{t: t, dir: t.TempDir(), Login: Password, Host: programtest.FreeAddress(t)}
	r.URL = "http://" + r.Host
	r.run(fmt.Sprintf("http: {addr: %q}\n%s", r.Host, r.guard(pair{})))
	return r
}

// guard is what the registry is configured with for who may sign in.
func (r *Registry) guard(pair pair) string {
	r.t.Helper()
	switch r.Login {
	case Password:
		hash, err := bcrypt.GenerateFromPassword([]byte(Secret), bcrypt.MinCost)
		if err != nil {
			r.t.Fatal(err)
		}
		return fmt.Sprintf("auth: {htpasswd: {realm: registry, path: %q}}\n", r.keep("people", []byte(Username+":"+string(hash)+"\n")))
	case Token:
		tokens := newTokens(r.t, pair)
		return fmt.Sprintf("auth: {token: {realm: %q, service: %q, issuer: %q, jwks: %q}}\n", tokens.url, tokenService, tokenIssuer, r.keep("keys.json", tokens.keys()))
	}
	return ""
}

func (r *Registry) run(configuration string) {
	r.t.Helper()
	config := r.keep("config.yaml", fmt.Appendf(nil, "version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}\n%s", r.Store(), configuration))
	cmd := exec.Command(programtest.Of(r.t, "umbel-registry"), "serve", config)
	cmd.Env = []string{"OTEL_TRACES_EXPORTER=none"} // nothing else: it takes settings from there too
	r.stop = programtest.Serve(r.t, cmd, filepath.Join(r.dir, "log"), r.Client(), r.URL)
}

// Stop ends the registry. It may be called more than once.
func (r *Registry) Stop() { r.stop() }

// Store is the folder that the registry keeps everything in.
func (r *Registry) Store() string { return filepath.Join(r.dir, "store") }

// Client returns an HTTP client that knows the registry.
func (r *Registry) Client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.CA)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (r *Registry) keep(name string, content []byte) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}
