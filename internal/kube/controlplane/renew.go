package controlplane

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"k8s.io/client-go/tools/clientcmd"

	"umbel.dev/umbel/internal/identity"
)

// renewAfter is the part of its life after which a certificate is issued anew: at two thirds, as kubelets have it.
const renewAfter = 2.0 / 3

// Due says whether a certificate is to be issued anew at that time.
func Due(cert *x509.Certificate, now time.Time) bool {
	life := cert.NotAfter.Sub(cert.NotBefore)
	return !now.Before(cert.NotBefore.Add(time.Duration(float64(life) * renewAfter)))
}

// Certificate is one to keep: files without .crt and .key, and what it says.
type Certificate struct {
	Files   string
	Usages  []x509.ExtKeyUsage
	Request identity.Request
}

// Renewed issues a certificate anew if that is due, for the key that it has, and returns when it ends. Whoever serves or logs in with the
// files reads them again, at their next connection or within a minute; since the key stays, what they read always fits together. A
// certificate that is not there yet, or whose key is lost, is issued with a new key.
func Renewed(ca *identity.CA, c Certificate, now time.Time) (until time.Time, err error) {
	pair, err := identity.LoadKeyPair(c.Files+".crt", c.Files+".key")
	if errors.Is(err, fs.ErrNotExist) {
		return issueAnew(ca, c)
	}
	if err != nil {
		return time.Time{}, err
	}
	cert, err := identity.ParseCert(pair.CertPEM)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading %s.crt: %w", c.Files, err)
	}
	if !Due(cert, now) {
		return cert.NotAfter, nil
	}
	key, err := identity.ParseKey(pair.KeyPEM)
	if err != nil {
		return cert.NotAfter, fmt.Errorf("reading %s.key: %w", c.Files, err)
	}
	fresh, err := sign(ca, c, key)
	if err != nil {
		return cert.NotAfter, err
	}
	if err := renameio.WriteFile(c.Files+".crt", fresh.CertPEM, 0o644); err != nil {
		return cert.NotAfter, err
	}
	return endOf(fresh.CertPEM)
}

func issueAnew(ca *identity.CA, c Certificate) (time.Time, error) {
	key, err := identity.NewKey()
	if err != nil {
		return time.Time{}, err
	}
	pair, err := sign(ca, c, key)
	if err != nil {
		return time.Time{}, err
	}
	if err := os.MkdirAll(filepath.Dir(c.Files), 0o700); err != nil {
		return time.Time{}, err
	}
	if err := pair.Write(c.Files+".crt", c.Files+".key"); err != nil {
		return time.Time{}, err
	}
	return endOf(pair.CertPEM)
}

func sign(ca *identity.CA, c Certificate, key *ecdsa.PrivateKey) (identity.KeyPair, error) {
	if c.Request.TTL == 0 {
		c.Request.TTL = leafTTL
	}
	cert, err := ca.Sign(c.Request, key.Public(), c.Usages...)
	if err != nil {
		return identity.KeyPair{}, err
	}
	encoded, err := identity.EncodeKey(key)
	return identity.KeyPair{CertPEM: cert, KeyPEM: encoded}, err
}

// certificate is a leaf as it is kept.
func (c *ControlPlane) certificate(l leaf) Certificate {
	return Certificate{Files: c.pki(l.file), Usages: l.usages, Request: l.request}
}

func endOf(certPEM []byte) (time.Time, error) {
	cert, err := identity.ParseCert(certPEM)
	if err != nil {
		return time.Time{}, err
	}
	return cert.NotAfter, nil
}

// Renew issues anew what is due of the control plane's certificates, while it serves, and returns when the first of all ends. The CAs are
// not renewed: they are valid for ten years, and what they have issued ends with them.
func (c *ControlPlane) Renew(now time.Time) (until time.Time, err error) {
	asked, err := c.asked()
	if err != nil {
		return until, err
	}
	for _, l := range append(c.leaves(), asked...) {
		ca, err := c.issuer(l.ca, now)
		if err != nil {
			return until, err
		}
		ends, err := Renewed(ca, c.certificate(l), now)
		if err != nil {
			return until, err
		}
		until = Earliest(until, Earliest(ends, ca.Certificate().NotAfter))
	}
	if err := c.renewAdmin(now); err != nil {
		return until, err
	}
	for path, a := range c.kubeconfigs() {
		if a.files != "" {
			until = Within(path, until)
		}
	}
	return until, nil
}

// asked are those of administrators for which somebody has asked.
func (c *ControlPlane) asked() (there []leaf, err error) {
	for _, l := range administrators() {
		asked, err := exists(c.pki(l.file + ".crt"))
		if err != nil {
			return nil, err
		}
		if asked {
			there = append(there, l)
		}
	}
	return there, nil
}

// lookEvery is between two looks of KeepRenewed.
const lookEvery = time.Hour

// KeepRenewed has certificates renewed at once, and every hour until ctx ends. What cannot be renewed is logged, and tried again.
func KeepRenewed(ctx context.Context, renew func(now time.Time) error, log *slog.Logger) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := renew(time.Now()); err != nil {
			log.Error("certificates cannot be renewed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Within is until, or when the certificate ends that a kubeconfig has in it, if that is earlier. Earlier builds wrote such kubeconfigs for
// what runs: it reads the certificate once, and has it until it starts anew.
func Within(kubeconfig string, until time.Time) time.Time {
	cert, err := certificateIn(kubeconfig)
	if err != nil {
		return until
	}
	return Earliest(until, cert.NotAfter)
}

func (c *ControlPlane) issuer(name string, now time.Time) (*identity.CA, error) {
	pair, err := identity.LoadKeyPair(c.pki(name+".crt"), c.pki(name+".key"))
	if err != nil {
		return nil, err
	}
	ca, err := identity.ParseCA(pair)
	if err != nil {
		return nil, err
	}
	ca.Now = func() time.Time { return now }
	return ca, nil
}

// renewAdmin writes the administrator's kubeconfig anew: no process has it.
func (c *ControlPlane) renewAdmin(now time.Time) error {
	cert, err := certificateIn(c.AdminKubeconfig())
	if err == nil && !Due(cert, now) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ca, err := c.issuer("ca", now)
	if err != nil {
		return err
	}
	return c.writeKubeconfig(c.AdminKubeconfig(), ca, c.kubeconfigs()[c.AdminKubeconfig()])
}

// certificateIn returns the client certificate that a kubeconfig has in it.
func certificateIn(path string) (*x509.Certificate, error) {
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return nil, err
	}
	for _, user := range config.AuthInfos {
		if len(user.ClientCertificateData) > 0 {
			return identity.ParseCert(user.ClientCertificateData)
		}
	}
	return nil, fmt.Errorf("%s has no certificate in it", path)
}

// Earliest is the earlier of two times; b when a is zero.
func Earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
