package source

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// headerTimeout is how long a server may think before it begins to answer.
const headerTimeout = time.Minute

// Allowance is how many bytes a server may still send in one fetch.
type Allowance struct{ left atomic.Int64 }

// NewAllowance returns one of so many bytes.
func NewAllowance(bytes int64) *Allowance {
	a := &Allowance{}
	a.left.Store(bytes)
	return a
}

// Spend counts what a read returned, and returns its error, or ErrTooLarge.
func (a *Allowance) Spend(n int, err error) error {
	if a.left.Add(int64(-n)) < 0 {
		return fmt.Errorf("the server sends more than is fetched at a time: %w", ErrTooLarge)
	}
	return err
}

// Explain returns that a server sends too much, if it does, whatever a library made of it, and the error otherwise.
func (a *Allowance) Explain(err error) error {
	if err != nil && a.left.Load() < 0 {
		return a.Spend(0, nil)
	}
	return err
}

// Transport speaks HTTP with the servers of one fetch.
type Transport struct {
	*http.Transport
	ref       Ref
	allowance *Allowance
}

// NewTransport returns one that trusts the authorities of the credentials too, and reads so much in all and no more. Close its
// idle connections when the fetch is over.
func NewTransport(ref Ref, with Credentials, allowance *Allowance) (*Transport, error) {
	t := &Transport{http.DefaultTransport.(*http.Transport).Clone(), ref, allowance}
	t.ResponseHeaderTimeout = headerTimeout
	if len(with.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(with.CA) {
			return nil, NoSecret("secret %s: ca.crt holds no certificate in PEM", ref.Secret)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return t, nil
}

// RoundTrip implements http.RoundTripper. A server may lead to another address, and a registry names who gives tokens for it: neither
// makes a line of an encrypted one that others read credentials on. A token that a registry gives to everybody is none.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.ref.Secret != "" && r.URL.Scheme == "http" && r.Header.Get("Authorization") != "" && !loopback(r.URL.Host) {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, NoSecret("%s: the credentials of secret %s are not sent over plain HTTP, to where the server leads: http://%s", Redact(t.ref.URL), t.ref.Secret, r.URL.Host)
	}
	answer, err := t.Transport.RoundTrip(r)
	if err == nil {
		answer.Body = &countedBody{answer.Body, t.allowance}
	}
	return answer, err
}

type countedBody struct {
	io.ReadCloser
	allowance *Allowance
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	return n, b.allowance.Spend(n, err)
}

// Plain says whether a line is encrypted.
type Plain int

// A line is one or the other.
const (
	Encrypted Plain = iota
	PlainHTTP
)

// CheckLine refuses to send credentials over a line that others may read: plain HTTP to another machine.
func (c Credentials) CheckLine(ref Ref, host string, line Plain) error {
	if line == Encrypted || c.Username+c.Password+c.Token == "" || loopback(host) {
		return nil
	}
	return NoSecret("%s: the credentials of secret %s are not sent over plain HTTP: give an address that begins with https:// or oci://", Redact(ref.URL), ref.Secret)
}

func loopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return name == "localhost" || ip != nil && ip.IsLoopback()
}
