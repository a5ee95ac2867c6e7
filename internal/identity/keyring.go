package identity

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

// Keyring keeps an agent's identity in a folder: key.pem, made once and never sent anywhere; cert.pem, the certificate
// that the hub issued for it last; trust.pem, the CAs by which the agent knows its hub. Each file changes atomically.
// It is safe for concurrent use.
type Keyring struct {
	dir string
	key *ecdsa.PrivateKey

	mu        sync.Mutex
	cert      *x509.Certificate // nil before the first one
	presented tls.Certificate
	trust     *x509.CertPool
}

// OpenKeyring reads the keyring in dir, and makes the key where there is none. bootstrapCA (PEM) is trusted beside
// what the hub has sent since, so that a member that was away while the hub's CA changed can be helped by a new one. A
// certificate that is damaged or of another key counts as none; a damaged key is an error.
func OpenKeyring(dir string, bootstrapCA []byte) (*Keyring, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the agent's key: %w", err)
	}
	key, err := loadOrCreateKey(filepath.Join(dir, "key.pem"))
	if err != nil {
		return nil, err
	}
	k := &Keyring{dir: dir, key: key, trust: x509.NewCertPool()}
	if !k.trust.AppendCertsFromPEM(bootstrapCA) {
		return nil, errors.New("the bootstrap's ca holds no PEM certificate; run `umbel join` again")
	}
	trustPEM, err := os.ReadFile(k.path("trust.pem"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the hub's CAs: %w", err)
	}
	k.trust.AppendCertsFromPEM(trustPEM)
	certPEM, err := os.ReadFile(k.path("cert.pem"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the agent's certificate: %w", err)
	}
	if cert, err := ParseCert(certPEM); err == nil && key.PublicKey.Equal(cert.PublicKey) {
		k.use(cert)
	}
	return k, nil
}

func loadOrCreateKey(path string) (*ecdsa.PrivateKey, error) {
	keyPEM, err := os.ReadFile(path)
	if err == nil {
		key, err := ParseKey(keyPEM)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w; the hub knows this member by it: restore it, or remove it and run `umbel join` again", path, err)
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the agent's key: %w", err)
	}
	key, err := NewKey()
	if err != nil {
		return nil, fmt.Errorf("making the agent's key: %w", err)
	}
	keyPEM, err = EncodeKey(key)
	if err != nil {
		return nil, err
	}
	if err := renameio.WriteFile(path, keyPEM, 0o600); err != nil {
		return nil, fmt.Errorf("writing the agent's key: %w", err)
	}
	return key, nil
}

// Key returns the agent's private key.
func (k *Keyring) Key() *ecdsa.PrivateKey { return k.key }

// Fingerprint returns the fingerprint of the key.
func (k *Keyring) Fingerprint() (string, error) { return KeyFingerprint(k.key.Public()) }

// Certificate returns the certificate that the hub issued last, or nil.
func (k *Keyring) Certificate() *x509.Certificate {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cert
}

// Install keeps a certificate that the hub issued, and the bundle of its CAs. A certificate of another key is refused
// and nothing changes.
func (k *Keyring) Install(certPEM, trustPEM []byte) error {
	cert, err := ParseCert(certPEM)
	if err != nil {
		return fmt.Errorf("installing what the hub issued: %w", err)
	}
	if !k.key.PublicKey.Equal(cert.PublicKey) {
		return errors.New("installing what the hub issued: the certificate is for another key")
	}
	trust := x509.NewCertPool()
	if !trust.AppendCertsFromPEM(trustPEM) {
		return errors.New("installing what the hub issued: the trust bundle holds no PEM certificate")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := renameio.WriteFile(k.path("trust.pem"), trustPEM, 0o644); err != nil {
		return fmt.Errorf("writing the hub's CAs: %w", err)
	}
	if err := renameio.WriteFile(k.path("cert.pem"), certPEM, 0o644); err != nil {
		return fmt.Errorf("writing the agent's certificate: %w", err)
	}
	k.trust = k.trust.Clone()
	k.trust.AppendCertsFromPEM(trustPEM)
	k.use(cert)
	return nil
}

// RenewAt returns when the certificate is to be renewed: at two thirds of its life. The zero time means now: there is
// no certificate.
func (k *Keyring) RenewAt() time.Time {
	cert := k.Certificate()
	if cert == nil {
		return time.Time{}
	}
	return cert.NotBefore.Add(cert.NotAfter.Sub(cert.NotBefore) * 2 / 3)
}

// TLS returns how the agent talks to its hub: with its certificate, when it has one, and trusting the hub's CAs.
func (k *Keyring) TLS() *tls.Config {
	k.mu.Lock()
	defer k.mu.Unlock()
	config := &tls.Config{RootCAs: k.trust, MinVersion: tls.VersionTLS13}
	if k.cert != nil {
		// A function, because with the list of certificates crypto/tls keeps one back that the server does not ask for.
		presented := k.presented
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &presented, nil }
	}
	return config
}

func (k *Keyring) use(cert *x509.Certificate) {
	k.cert = cert
	k.presented = tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: k.key, Leaf: cert}
}

func (k *Keyring) path(name string) string { return filepath.Join(k.dir, name) }
