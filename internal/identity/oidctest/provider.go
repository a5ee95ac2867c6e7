package oidctest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"umbel.dev/umbel/internal/identity"
)

// The programs that the provider knows: Umbel, and one whose tokens are not for Umbel.
const (
	ClientID      = "umbel"
	OtherClientID = "another-program"
)

// startTimeout is generous: a test machine may be busy.
const startTimeout = 60 * time.Second

// Person is somebody whom the provider knows.
type Person struct {
	Name     string   `json:"name"`
	Email    string   `json:"email"`
	Password string   `json:"password"`
	Groups   []string `json:"groups"`
}

// Alice is a developer.
var Alice = Person{Name: "alice", Email: "alice@example.com", Password: "alice's secret", Groups: []string{"developers"}}

// Mallory knows a password and is in no group.
var Mallory = Person{Name: "mallory", Email: "mallory@example.com", Password: "mallory's secret"}

// Provider is a running identity provider.
type Provider struct {
	// Issuer is its URL.
	Issuer string
	// CA (PEM) is what it is known by.
	CA string

	t       testing.TB
	dir     string
	control string
	ca      *identity.CA
	stop    func()
}

// Start starts a provider that knows Alice and Mallory. It ends with the test.
func Start(t testing.TB) *Provider {
	t.Helper()
	ca, err := identity.NewCA("a company's own", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.IssueServer(identity.Request{CommonName: "dex", Hosts: []string{"127.0.0.1"}, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	p := &Provider{
		Issuer: "https://" + freeAddress(t) + "/dex", CA: string(ca.CertPEM()),
		t: t, dir: t.TempDir(), control: freeAddress(t), ca: ca, stop: func() {},
	}
	p.write("tls.crt", pair.CertPEM)
	p.write("tls.key", pair.KeyPEM)
	p.SetPeople(Alice, Mallory)
	t.Cleanup(func() { p.Stop() })
	p.Run()
	return p
}

// SetPeople has the provider know these and nobody else. It counts at the next sign-in and the next refresh.
func (p *Provider) SetPeople(people ...Person) {
	p.t.Helper()
	raw, err := json.Marshal(people)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write("people.json", raw)
}

// Run starts the provider again after Stop, at its address. It has new keys then, and no sessions.
func (p *Provider) Run() {
	p.t.Helper()
	binary, err := Binary()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(binary, "--issuer", p.Issuer, "--cert", p.path("tls.crt"), "--key", p.path("tls.key"),
		"--people", p.path("people.json"), "--control", p.control)
	log, err := os.OpenFile(p.path("dex.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in its log
		log.Close()
	}()
	p.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
	})
	p.await(ended)
}

// await waits until the provider describes itself.
func (p *Provider) await(ended <-chan struct{}) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), startTimeout)
	defer cancel()
	client := p.Client()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := client.Get(p.Issuer + "/.well-known/openid-configuration")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ended:
			log, _ := os.ReadFile(p.path("dex.log"))
			p.t.Fatalf("the provider has ended:\n%s", log)
		case <-ctx.Done():
			p.t.Fatalf("the provider at %s does not answer: %v", p.Issuer, err)
		}
	}
}

// Stop ends the provider. It may be called more than once.
func (p *Provider) Stop() { p.stop() }

// Rotate has the provider sign with a new key, and forget the old ones.
func (p *Provider) Rotate() { p.t.Helper(); p.administer("/rotate") }

// Revoke ends all sessions: no refresh token is valid any more.
func (p *Provider) Revoke() { p.t.Helper(); p.administer("/revoke") }

// SetClock sets the provider's clock before that of everybody else, or behind it.
func (p *Provider) SetClock(ahead time.Duration) {
	p.t.Helper()
	p.administer("/clock?ahead=" + ahead.String())
}

func (p *Provider) administer(what string) {
	p.t.Helper()
	answer, err := http.Post("http://"+p.control+what, "", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: %s", what, answer.Status)
	}
}

// Client returns an HTTP client that knows the provider.
func (p *Provider) Client() *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.ca.Pool()}}
	p.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// Configuration is an AuthenticationConfiguration that trusts the provider: people are called by their email address,
// and their groups begin with "oidc:".
func (p *Provider) Configuration() string {
	var authority bytes.Buffer
	for line := range strings.Lines(p.CA) {
		authority.WriteString("      " + line)
	}
	return fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: %s
    audiences: [%s]
    certificateAuthority: |
%s  claimMappings:
    username: {claim: email, prefix: ""}
    groups: {claim: groups, prefix: "oidc:"}
`, p.Issuer, ClientID, authority.String())
}

// WriteConfiguration writes Configuration to a file and returns its path.
func (p *Provider) WriteConfiguration() string {
	p.t.Helper()
	p.write("authentication.yaml", []byte(p.Configuration()))
	return p.path("authentication.yaml")
}

func (p *Provider) path(name string) string { return filepath.Join(p.dir, name) }

// write replaces a file as a whole: others may be reading it.
func (p *Provider) write(name string, content []byte) {
	p.t.Helper()
	if err := os.WriteFile(p.path(name+".new"), content, 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(p.path(name+".new"), p.path(name)); err != nil {
		p.t.Fatal(err)
	}
}

// Binary returns the path of umbel-dex: $UMBEL_DEX, else build/bin/umbel-dex of the repository.
func Binary() (string, error) {
	path := os.Getenv("UMBEL_DEX")
	if path == "" {
		_, file, _, _ := runtime.Caller(0)
		path = filepath.Join(filepath.Dir(file), "..", "..", "..", "build", "bin", "umbel-dex")
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no identity provider at %s: run `make dex`, or set UMBEL_DEX to an umbel-dex binary", path)
	}
	return filepath.Abs(path)
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
