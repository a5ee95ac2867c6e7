package identity

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestIssuedCertificatesAreForTheirPurposeOnly(t *testing.T) {
	ca := makeCA(t, "fleet")
	stranger := makeCA(t, "stranger")
	server, client := (*CA).IssueServer, (*CA).IssueClient
	for _, c := range []struct {
		reason string
		issue  func(*CA, Request) (KeyPair, error)
		trust  *CA
		host   string
		usage  x509.ExtKeyUsage
		want   string // part of the error; empty for none
	}{
		{"a server by its name", server, ca, "api.example", x509.ExtKeyUsageServerAuth, ""},
		{"a server by its address", server, ca, "10.0.0.1", x509.ExtKeyUsageServerAuth, ""},
		{"a server by another's name", server, ca, "other.example", x509.ExtKeyUsageServerAuth, "not other.example"},
		{"a server is no client", server, ca, "", x509.ExtKeyUsageClientAuth, "incompatible key usage"},
		{"a client", client, ca, "", x509.ExtKeyUsageClientAuth, ""},
		{"a client is no server", client, ca, "", x509.ExtKeyUsageServerAuth, "incompatible key usage"},
		{"a client of another fleet", client, stranger, "", x509.ExtKeyUsageClientAuth, "unknown authority"},
	} {
		pair, err := c.issue(ca, Request{CommonName: "x", Hosts: []string{"api.example", "10.0.0.1"}, TTL: time.Hour})
		if err != nil {
			t.Fatalf("%s: %v", c.reason, err)
		}
		if _, err := pair.TLS(); err != nil {
			t.Errorf("%s: the key does not fit: %v", c.reason, err)
		}
		_, err = parse(t, pair.CertPEM).Verify(x509.VerifyOptions{
			Roots: c.trust.Pool(), DNSName: c.host, KeyUsages: []x509.ExtKeyUsage{c.usage},
		})
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %q", c.reason, err, c.want)
		}
	}
}

func TestCertificatesBeginEarlyAndEndWithTheirCA(t *testing.T) {
	ca := makeCA(t, "fleet")
	now := ca.Certificate().NotBefore.Add(ClockSkew)
	ca.Now = func() time.Time { return now }
	for _, c := range []struct {
		reason string
		ttl    time.Duration
		want   time.Time
	}{
		{"as long as asked", time.Hour, now.Add(time.Hour)},
		{"never longer than the CA", 365 * 24 * time.Hour, ca.Certificate().NotAfter},
	} {
		pair, err := ca.IssueClient(Request{CommonName: "x", TTL: c.ttl})
		if err != nil {
			t.Fatal(err)
		}
		cert := parse(t, pair.CertPEM)
		if !cert.NotAfter.Equal(c.want) || !cert.NotBefore.Equal(now.Add(-ClockSkew)) {
			t.Errorf("%s: valid from %s to %s, want %s to %s", c.reason, cert.NotBefore, cert.NotAfter, now.Add(-ClockSkew), c.want)
		}
	}
}

func TestLoadOrCreateCAMakesOneOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	first, err := LoadOrCreateCA(dir, "ca", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	second, err := LoadOrCreateCA(dir, "ca", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(first.CertPEM()), string(second.CertPEM())); diff != "" {
		t.Errorf("the CA changed (-first +second):\n%s", diff)
	}
	info, err := os.Stat(filepath.Join(dir, "ca.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v (%v), want 0600", info.Mode(), err)
	}
}

func TestLoadOrCreateCANeverReplacesOne(t *testing.T) {
	other, err := makeCA(t, "other").KeyPair()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason string
		damage func(dir string) error
		want   string // part of the error; empty where a CA is made
	}{
		{"a crash between key and certificate", func(dir string) error { return os.Remove(filepath.Join(dir, "ca.crt")) }, ""},
		{"the key is lost", func(dir string) error { return os.Remove(filepath.Join(dir, "ca.key")) }, "never replaced"},
		{"the certificate is damaged", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("x"), 0o600)
		}, "ca.crt: certificate: not a PEM block"},
		{"the key is another's", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "ca.key"), other.KeyPEM, 0o600)
		}, `does not belong to CA certificate "ca"`},
	} {
		dir := t.TempDir()
		if _, err := LoadOrCreateCA(dir, "ca", time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := c.damage(dir); err != nil {
			t.Fatal(err)
		}
		_, err := LoadOrCreateCA(dir, "ca", time.Hour)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %q", c.reason, err, c.want)
		}
	}
}

func TestParseCARefusesWhatMayNotSign(t *testing.T) {
	leaf, err := makeCA(t, "fleet").IssueServer(Request{CommonName: "leaf", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseCA(leaf); err == nil || !strings.Contains(err.Error(), `"leaf" is not a CA`) {
		t.Errorf("got error %v, want that it is not a CA", err)
	}
}

func FuzzParseKeyNeverTellsTheKey(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nc3dvcmRmaXNo\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("swordfish"))
	f.Fuzz(func(t *testing.T, input []byte) {
		_, err := ParseKey(input)
		if err != nil && len(input) > 40 && strings.Contains(err.Error(), string(input)) {
			t.Errorf("the error %q holds the input", err)
		}
	})
}

func makeCA(t *testing.T, name string) *CA {
	t.Helper()
	ca, err := NewCA(name, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func parse(t *testing.T, certPEM []byte) *x509.Certificate {
	t.Helper()
	cert, err := ParseCert(certPEM)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
