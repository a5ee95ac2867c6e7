package identity

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
)

func issueMember(t *testing.T, ca *CA, cluster v1alpha1.ClusterName, ttl time.Duration) *x509.Certificate {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := NewMemberRequest(cluster, key)
	if err != nil {
		t.Fatal(err)
	}
	request, err := ParseMemberRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	certPEM, _, err := ca.SignMember(request, ttl)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ParseCert(certPEM)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func newCA(t *testing.T) *CA {
	t.Helper()
	ca, err := NewCA("umbel members", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestVerifyMember(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	person, err := ca.IssueClient(Request{CommonName: "prod-eu", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	personCert, err := ParseCert(person.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	disguised, err := ca.IssueClient(Request{
		CommonName: "prod-eu", Organizations: []string{MembersGroup}, URIs: []*url.URL{MemberURI("dev")}, TTL: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	disguisedCert, err := ParseCert(disguised.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	server, err := ca.IssueServer(Request{
		CommonName: "prod-eu", Organizations: []string{MembersGroup}, URIs: []*url.URL{MemberURI("prod-eu")}, TTL: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	serverCert, err := ParseCert(server.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason string
		chain  []*x509.Certificate
		want   error
	}{
		{"one of ours", []*x509.Certificate{issueMember(t, ca, "prod-eu", time.Minute)}, nil},
		{"none at all", nil, ErrNoCertificate},
		{"over since a minute", []*x509.Certificate{issueMember(t, ca, "prod-eu", -time.Minute)}, ErrExpired},
		{"another hub's", []*x509.Certificate{issueMember(t, other, "prod-eu", time.Minute)}, ErrForeign},
		{"another hub's, and that CA beside it", []*x509.Certificate{issueMember(t, other, "prod-eu", time.Minute), other.Certificate()}, ErrForeign},
		{"another hub's and expired: foreign is what matters", []*x509.Certificate{issueMember(t, other, "prod-eu", -time.Minute)}, ErrForeign},
		{"a person's", []*x509.Certificate{personCert}, ErrNotAMember},
		{"names that differ", []*x509.Certificate{disguisedCert}, ErrNotAMember},
		{"a server's", []*x509.Certificate{serverCert}, ErrForeign},
	} {
		member, err := VerifyMember([]*x509.Certificate{ca.Certificate()}, c.chain, time.Now())
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", c.reason, err, c.want)
		}
		if len(c.chain) > 0 && member.Cluster != "prod-eu" {
			t.Errorf("%s: the cluster is %q", c.reason, member.Cluster)
		}
	}
}

func TestParseMemberRequestRefuses(t *testing.T) {
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	good, err := NewMemberRequest("prod-eu", key)
	if err != nil {
		t.Fatal(err)
	}
	broken := append([]byte(nil), good...)
	broken[len(broken)-1] ^= 1
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaRequest, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "prod-eu"}}, weak)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason string
		der    []byte
		want   string
	}{
		{"nothing", nil, "PKCS #10"},
		{"garbage", []byte("-----BEGIN CERTIFICATE REQUEST-----"), "PKCS #10"},
		{"another key's signature", broken, "signature"},
		{"RSA", rsaRequest, "P-256"},
	} {
		if _, err := ParseMemberRequest(c.der); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want it to name %q", c.reason, err, c.want)
		}
	}
}

func FuzzParseMemberRequest(f *testing.F) {
	key, err := NewKey()
	if err != nil {
		f.Fatal(err)
	}
	good, err := NewMemberRequest("prod-eu", key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, der []byte) {
		if request, err := ParseMemberRequest(der); err == nil && len(request.Fingerprint) != 64 {
			t.Errorf("fingerprint %q", request.Fingerprint)
		}
	})
}

func TestToken(t *testing.T) {
	token, err := NewToken()
	if err != nil {
		t.Fatal(err)
	}
	if !TokenMatches(token, HashToken(token)) {
		t.Error("a token does not match its own hash")
	}
	if TokenMatches("", HashToken("")) {
		t.Error("the empty token matches")
	}
	if TokenMatches(token+"x", HashToken(token)) || TokenMatches(token, "") {
		t.Error("a wrong token matches")
	}
}

func openKeyring(dir string, bootstrapCA []byte) (*Keyring, error) {
	return NewKeyring(KeyringConfig{Home: Folder(dir), BootstrapCA: bootstrapCA, Log: slog.New(slog.DiscardHandler)})
}

func TestKeyring(t *testing.T) {
	ca, dir := newCA(t), filepath.Join(t.TempDir(), "agent")
	ring, err := openKeyring(dir, ca.CertPEM())
	if err != nil {
		t.Fatal(err)
	}
	if ring.Certificate() != nil || !ring.RenewAt().IsZero() {
		t.Error("a new keyring has a certificate")
	}
	info, err := os.Stat(filepath.Join(dir, "key.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key.pem: %v, %v", info, err)
	}
	der, err := NewMemberRequest("prod-eu", ring.Key())
	if err != nil {
		t.Fatal(err)
	}
	request, err := ParseMemberRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	certPEM, notAfter, err := ca.SignMember(request, 55*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Install(certPEM, ca.CertPEM()); err != nil {
		t.Fatal(err)
	}

	again, err := openKeyring(dir, ca.CertPEM())
	if err != nil {
		t.Fatal(err)
	}
	if cert := again.Certificate(); cert == nil || !cert.NotAfter.Equal(notAfter) {
		t.Errorf("after a restart the certificate is %v", cert)
	}
	if left := notAfter.Sub(again.RenewAt()); left < 55*time.Minute/4 || left > 55*time.Minute/2 {
		t.Errorf("it is renewed %v before its end", left)
	}
	if again.TLS().GetClientCertificate == nil {
		t.Error("it is not presented")
	}
}

func TestKeyringRefuses(t *testing.T) {
	ca, dir := newCA(t), t.TempDir()
	if _, err := openKeyring(t.TempDir(), []byte("nothing")); err == nil || !strings.Contains(err.Error(), "umbel join") {
		t.Errorf("a bootstrap without a CA: %v", err)
	}
	ring, err := openKeyring(dir, ca.CertPEM())
	if err != nil {
		t.Fatal(err)
	}
	foreign := encodeCert(issueMember(t, ca, "prod-eu", time.Minute).Raw)
	if err := ring.Install(foreign, ca.CertPEM()); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("a certificate of another key: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openKeyring(dir, ca.CertPEM()); err == nil || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged key: %v, want an error that names the folder and shows nothing of the key", err)
	}
}

func TestPapersShowNothing(t *testing.T) {
	papers := Papers{Key: []byte("the key"), Certificate: []byte("the certificate")}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("text", "papers", papers)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "papers", papers)
	shown := fmt.Sprintf("%v %+v %#v %s %x %q", papers, papers, papers, papers, papers, papers) + log.String()
	for _, form := range []string{"the key", fmt.Sprint([]byte("the key")), hex.EncodeToString([]byte("the key")), base64.StdEncoding.EncodeToString([]byte("the key"))} {
		if strings.Contains(shown, form) {
			t.Errorf("the key is shown, as %q, in:\n%s", form, shown)
		}
	}
}

// forgetful is a home that keeps the key and then fails.
type forgetful struct{ Folder }

func (f forgetful) Save(papers Papers) error {
	if papers.Certificate != nil {
		return errors.New("no space left on device")
	}
	return f.Folder.Save(papers)
}

func TestACertificateThatCannotBeKeptIsUsed(t *testing.T) {
	ca, home := newCA(t), forgetful{Folder(t.TempDir())}
	var log strings.Builder
	config := KeyringConfig{Home: home, BootstrapCA: ca.CertPEM(), Log: slog.New(slog.NewTextHandler(&log, nil))}
	ring, err := NewKeyring(config)
	if err != nil {
		t.Fatal(err)
	}
	certPEM, err := ca.Sign(Request{CommonName: "prod-eu", TTL: time.Minute}, ring.Key().Public(), x509.ExtKeyUsageClientAuth)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Install(certPEM, ca.CertPEM()); err != nil {
		t.Fatal(err)
	}
	if ring.Certificate() == nil || !strings.Contains(log.String(), "no space left on device") {
		t.Errorf("the certificate is %v, and the log says %q", ring.Certificate(), log.String())
	}
	again, err := NewKeyring(config)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Key().Equal(ring.Key()) || again.Certificate() != nil {
		t.Errorf("after a restart the key is the same: %t, and the certificate is %v; want the key alone", again.Key().Equal(ring.Key()), again.Certificate())
	}
}
