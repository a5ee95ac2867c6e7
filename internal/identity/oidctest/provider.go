package oidctest

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/programtest"
)

// The programs that the provider knows: Umbel, and one whose tokens are not for Umbel.
const (
	ClientID      = "umbel"
	OtherClientID = "another-program"
)

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

	t        testing.TB
	redirect string
	dir      string
	control  string
	ca       *identity.CA
	stop     func()
}

// Start starts a provider that knows Alice and Mallory. It ends with the test.
func Start(t testing.TB) *Provider {
	t.Helper()
	return StartFor(t, "")
}

// StartFor starts a provider that sends people back to one address and to no other, as it does for programs that are not on their computers.
func StartFor(t testing.TB, redirect string) *Provider {
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
		Issuer: "https://" + programtest.FreeAddress(t) + "/dex", CA: string(ca.CertPEM()),
		t: t, redirect: redirect, dir: t.TempDir(), control: programtest.FreeAddress(t), ca: ca, stop: func() {},
	}
	p.write("tls.crt", pair.CertPEM)
	p.write("tls.key", pair.KeyPEM)
	p.SetPeople(Alice, Mallory)
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
	cmd := exec.Command(programtest.Of(p.t, "umbel-dex"), "--issuer", p.Issuer, "--cert", p.path("tls.crt"), "--key", p.path("tls.key"),
		"--people", p.path("people.json"), "--control", p.control, "--redirect", p.redirect)
	p.stop = programtest.Serve(p.t, cmd, p.path("dex.log"), p.Client(), p.Issuer+"/.well-known/openid-configuration")
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
