package registrytest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
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

// startTimeout is generous: a test machine may be busy.
const startTimeout = 60 * time.Second

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
	r := &Registry{t: t, dir: t.TempDir(), Login: login, Host: freeAddress(t), CA: pair.certPEM}
	r.URL = "https://" + r.Host
	r.run(fmt.Sprintf("http: {addr: %q, tls: {certificate: %q, key: %q}}\n%s",
		r.Host, r.keep("tls.crt", pair.certPEM), r.keep("tls.key", pair.keyPEM), r.guard(pair)))
	return r
}

// StartPlain starts a registry without encryption, behind a password. It ends with the test.
func StartPlain(t testing.TB) *Registry {
	t.Helper()
	r := &Registry{t: t, dir: t.TempDir(), Login: Password, Host: freeAddress(t)}
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
	config := r.keep("config.yaml", fmt.Appendf(nil, "version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}}\n%s", r.Store(), configuration))
	cmd := exec.Command(binary(r.t), "serve", config)
	cmd.Env = []string{"OTEL_TRACES_EXPORTER=none"} // nothing else: it takes settings from there too
	log, err := os.Create(filepath.Join(r.dir, "log"))
	if err != nil {
		r.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in its log
		log.Close()
	}()
	r.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
	})
	r.t.Cleanup(r.stop)
	r.await(ended)
}

func (r *Registry) await(ended <-chan struct{}) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), startTimeout)
	defer cancel()
	client := r.Client()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := client.Get(r.URL)
		if err == nil {
			answer.Body.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ended:
			log, _ := os.ReadFile(filepath.Join(r.dir, "log"))
			r.t.Fatalf("the registry has ended:\n%s", log)
		case <-ctx.Done():
			r.t.Fatalf("the registry at %s does not answer: %v", r.Host, err)
		}
	}
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

// binary is umbel-registry: $UMBEL_REGISTRY, else build/bin of the repository, above the package that is tested.
func binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("UMBEL_REGISTRY")
	if path == "" {
		dir, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for dir != filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				break
			}
			dir = filepath.Dir(dir)
		}
		path = filepath.Join(dir, "build", "bin", "umbel-registry")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no registry at %s: run `make registry`, or set UMBEL_REGISTRY to an umbel-registry binary", path)
	}
	return path
}

// freeAddress returns an address of loopback that was free a moment ago.
func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
