package login

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/identity/signin"
)

const (
	// answerTime is how long a hub may take to answer, and maxAnswer how long that may be.
	answerTime = 15 * time.Second
	maxAnswer  = 4 << 20
)

// trusted is a hub that is known to be the one that is meant.
type trusted struct {
	signin.Login
	// ca (PEM) is what it is known by; empty means by the computer's authorities.
	ca string
}

// find asks the hub how people sign in, and makes sure that it is the one. remembered is the CA of an earlier sign-in.
func (o *loginOptions) find(ctx context.Context, hub, remembered string) (trusted, error) {
	if o.CA != "" {
		raw, err := os.ReadFile(o.CA)
		if err != nil {
			return trusted{}, exit.Usagef("--ca: %w", err)
		}
		return askHub(ctx, hub, string(raw))
	}
	if o.Fingerprint == "" {
		for _, ca := range slices.Compact([]string{remembered, ""}) { // "" is the computer's
			found, err := askHub(ctx, hub, ca)
			if !unknownAuthority(err) {
				return found, err
			}
		}
	}
	root, err := meet(ctx, hub)
	if err != nil {
		return trusted{}, err
	}
	if err := o.confirm(hub, fingerprint(root)); err != nil {
		return trusted{}, err
	}
	confirmed := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}))
	found, err := askHub(ctx, hub, confirmed)
	if err == nil && found.CA != "" {
		found.ca = found.CA // the word of the hub that was confirmed: all its authorities, also the next one
	}
	return found, err
}

func unknownAuthority(err error) bool {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	return unknown
}

// askHub asks a hub that is known by ca how people sign in.
func askHub(ctx context.Context, hub, ca string) (trusted, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS13}
	if ca != "" {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return trusted{}, errors.New("the certificate authority of the hub cannot be read: it is to be PEM")
		}
	}
	said, err := get(ctx, hub, settings)
	return trusted{Login: said, ca: ca}, err
}

// get reads how people sign in to a hub.
func get(ctx context.Context, hub string, settings *tls.Config) (signin.Login, error) {
	var said signin.Login
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: settings, DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, hub+signin.LoginPath, nil)
	if err != nil {
		return said, err
	}
	answer, err := (&http.Client{Transport: transport, Timeout: answerTime}).Do(request)
	if err != nil {
		return said, fmt.Errorf("asking the hub at %s how people sign in: %w", hub, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return said, fmt.Errorf("asking the hub at %s how people sign in: %s: is it a hub, and not too old?", hub, answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&said); err != nil {
		return said, fmt.Errorf("the hub at %s does not say how people sign in: %w", hub, err)
	}
	return said, nil
}

// meet asks a hub that nobody vouches for who its authority is. The answer holds together: the certificate that the hub
// has shown is below that authority, for this name. Whether it is the right one is for the person to say.
func meet(ctx context.Context, hub string) (*x509.Certificate, error) {
	var shown []*x509.Certificate
	settings := &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // it is verified below, against what it says itself, and then by the person
		VerifyConnection: func(state tls.ConnectionState) error {
			shown = state.PeerCertificates
			return nil
		},
	}
	said, err := get(ctx, hub, settings)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(said.CA))
	host := strings.TrimPrefix(hub, "https://")
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	chains, err := shown[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: host})
	if err != nil {
		return nil, fmt.Errorf("the hub at %s does not show a certificate of its own authority: %w; name the authority that is in front of it with --ca", hub, err)
	}
	return chains[0][len(chains[0])-1], nil
}

// fingerprint is as `openssl x509 -fingerprint -sha256` writes it.
func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	var parts []string
	for _, b := range sum {
		parts = append(parts, strings.ToUpper(hex.EncodeToString([]byte{b})))
	}
	return strings.Join(parts, ":")
}

// confirm makes sure that somebody knows the fingerprint.
func (o *loginOptions) confirm(hub, shown string) error {
	if o.Fingerprint != "" {
		if bare(o.Fingerprint) == bare(shown) {
			return nil
		}
		return fmt.Errorf("the hub at %s is not the one that is meant: its authority has the fingerprint %s", hub, shown)
	}
	fmt.Fprintf(o.Err, "This computer does not know the authority of the hub at %s. Its fingerprint (SHA-256) is\n\n  %s\n\n"+
		"Ask whoever runs the hub for it, by another way. Is it the same? Type yes to trust it: ", hub, shown)
	said, err := bufio.NewReader(o.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading your answer: %w", err)
	}
	if strings.TrimSpace(said) == "yes" {
		return nil
	}
	return fmt.Errorf("the hub at %s is not trusted, and nothing was sent to it: --ca FILE or --ca-fingerprint say that it is the one", hub)
}

// bare is a fingerprint without what tools put around it.
func bare(text string) string {
	text = strings.ToLower(text)
	if _, after, found := strings.Cut(text, "="); found { // openssl's "sha256 Fingerprint="
		text = after
	}
	return strings.NewReplacer(":", "", " ", "", "sha256", "").Replace(text)
}
