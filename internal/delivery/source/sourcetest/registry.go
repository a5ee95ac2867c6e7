package sourcetest

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
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/identity"
)

// Login is how a registry is signed in to.
type Login int

// A registry is open to everybody, asks for a password, or for a token that another server gives for a password, as the large
// public ones do.
const (
	Open Login = iota
	Password
	Token
)

// account is who may sign in, with the Canary for a password.
const account = "ada"

// startTimeout is generous: a test machine may be busy.
const startTimeout = 60 * time.Second

// Registry is the reference implementation of an OCI registry (tools/registry), a process on loopback behind HTTPS.
type Registry struct {
	// Host of the registry, as HOST:PORT, and CA of its certificate, as PEM.
	Host string
	CA   []byte

	t     testing.TB
	dir   string
	login Login
	stop  func()
}

// NewRegistry starts a registry. It ends with the test.
func NewRegistry(t testing.TB, login Login) *Registry {
	t.Helper()
	r := &Registry{t: t, dir: t.TempDir(), login: login, Host: freeAddress(t)}
	pair := r.certificate()
	guard := ""
	switch login {
	case Password:
		hash, err := bcrypt.GenerateFromPassword([]byte(Canary), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		guard = fmt.Sprintf("auth: {htpasswd: {realm: registry, path: %q}}\n", r.keep("people", []byte(account+":"+string(hash)+"\n")))
	case Token:
		tokens := newTokens(t, pair)
		guard = fmt.Sprintf("auth: {token: {realm: %q, service: %q, issuer: %q, jwks: %q}}\n", tokens.url, tokenService, tokenIssuer, r.keep("keys.json", tokens.keys()))
	}
	r.keep("config.yaml", fmt.Appendf(nil, `version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %q}}
http: {addr: %q, tls: {certificate: %q, key: %q}}
%s`, r.path("store"), r.Host, r.keep("tls.crt", pair.CertPEM), r.keep("tls.key", pair.KeyPEM), guard))
	r.run()
	return r
}

func (r *Registry) certificate() identity.KeyPair {
	r.t.Helper()
	ca, err := identity.NewCA("a company's own", time.Hour)
	if err != nil {
		r.t.Fatal(err)
	}
	pair, err := ca.IssueServer(identity.Request{CommonName: "registry", Hosts: []string{"127.0.0.1"}, TTL: time.Hour})
	if err != nil {
		r.t.Fatal(err)
	}
	r.CA = ca.CertPEM()
	return pair
}

func (r *Registry) run() {
	r.t.Helper()
	cmd := exec.Command(program(r.t, "umbel-registry", "registry"), "serve", r.path("config.yaml"))
	cmd.Env = []string{"OTEL_TRACES_EXPORTER=none"} // nothing else: it takes settings from there too
	log, err := os.Create(r.path("log"))
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
	client := r.client()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := client.Get("https://" + r.Host + "/")
		if err == nil {
			answer.Body.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ended:
			log, _ := os.ReadFile(r.path("log"))
			r.t.Fatalf("the registry has ended:\n%s", log)
		case <-ctx.Done():
			r.t.Fatalf("the registry at %s does not answer: %v", r.Host, err)
		}
	}
}

// Stop ends the server. It may be called more than once.
func (r *Registry) Stop() { r.stop() }

// Credentials are what the registry takes, and what it does not.
func (r *Registry) Credentials() (right, wrong source.Credentials) {
	return source.Credentials{Username: account, Password: Canary, CA: r.CA}, source.Credentials{Username: account, Password: Canary + "x", CA: r.CA}
}

func (r *Registry) client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.CA)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// repository is one of the registry, to whoever may write there.
func (r *Registry) repository(name string) *remote.Repository {
	r.t.Helper()
	to, err := remote.NewRepository(r.Host + "/" + name)
	if err != nil {
		r.t.Fatal(err)
	}
	client := &auth.Client{Client: r.client(), Cache: auth.NewCache()}
	if r.login != Open {
		client.Credential = auth.StaticCredential(r.Host, auth.Credential{Username: account, Password: Canary})
	}
	to.Client = client
	return to
}

func (r *Registry) path(name string) string { return filepath.Join(r.dir, name) }

func (r *Registry) keep(name string, content []byte) string {
	r.t.Helper()
	if err := os.WriteFile(r.path(name), content, 0o600); err != nil {
		r.t.Fatal(err)
	}
	return r.path(name)
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
