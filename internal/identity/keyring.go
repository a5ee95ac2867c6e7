package identity

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Keyring is an agent's identity at work: its key, the certificate that the hub issued for it last, and the CAs by which
// it knows its hub. What of it outlives the agent is in its home. It is safe for concurrent use.
type Keyring struct {
	home   Home
	key    *ecdsa.PrivateKey
	keyPEM []byte
	log    *slog.Logger

	mu        sync.Mutex
	cert      *x509.Certificate // nil before the first one
	presented tls.Certificate
	trust     *x509.CertPool
}

// KeyringConfig is what a keyring needs. All fields are required.
type KeyringConfig struct {
	// Home is where the papers are kept.
	Home Home
	// BootstrapCA (PEM) is trusted beside what the hub has sent since, so that a member that was away while the hub's CA
	// changed can be helped by a new one.
	BootstrapCA []byte
	Log         *slog.Logger
}

// OpenKeyring reads the keyring in a folder, and makes the key where there is none.
func OpenKeyring(dir string, bootstrapCA []byte) (*Keyring, error) {
	return NewKeyring(KeyringConfig{Home: Folder(dir), BootstrapCA: bootstrapCA, Log: slog.Default()})
}

// NewKeyring reads the keyring in its home, and makes the key where there is none. It blocks while the home does not
// answer. A certificate that is damaged or of another key counts as none; a damaged key is an error.
func NewKeyring(config KeyringConfig) (*Keyring, error) {
	papers, err := config.Home.Load()
	if err != nil {
		return nil, err
	}
	k := &Keyring{home: config.Home, log: config.Log, trust: x509.NewCertPool()}
	if !k.trust.AppendCertsFromPEM(config.BootstrapCA) {
		return nil, errors.New("the bootstrap's ca holds no PEM certificate; run `umbel join` again")
	}
	k.trust.AppendCertsFromPEM(papers.Trust)
	if len(papers.Key) == 0 {
		if err := k.begin(); err != nil {
			return nil, err
		}
		return k, nil
	}
	k.keyPEM = papers.Key
	if k.key, err = ParseKey(papers.Key); err != nil {
		return nil, fmt.Errorf("reading the agent's key in %s: %w; the hub knows this member by it: restore it, "+
			"or remove it, and run `umbel leave NAME --force` and `umbel join` again", k.home, err)
	}
	if cert, err := ParseCert(papers.Certificate); err == nil && k.key.PublicKey.Equal(cert.PublicKey) {
		k.use(cert)
	}
	return k, nil
}

// begin makes the key. It is in its home before anybody hears of it.
func (k *Keyring) begin() (err error) {
	if k.key, err = NewKey(); err != nil {
		return fmt.Errorf("making the agent's key: %w", err)
	}
	if k.keyPEM, err = EncodeKey(k.key); err != nil {
		return err
	}
	return k.home.Save(Papers{Key: k.keyPEM})
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

// Install takes up a certificate that the hub issued, and the bundle of its CAs. A certificate of another key is refused
// and nothing changes. One that cannot be kept is used all the same, and logged: after a restart, whoever has the key
// gets another one.
func (k *Keyring) Install(certPEM, trustPEM []byte) error {
	cert, err := ParseCert(certPEM)
	if err != nil {
		return fmt.Errorf("installing what the hub issued: %w", err)
	}
	if !k.key.PublicKey.Equal(cert.PublicKey) {
		return errors.New("installing what the hub issued: the certificate is for another key")
	}
	if !x509.NewCertPool().AppendCertsFromPEM(trustPEM) {
		return errors.New("installing what the hub issued: the trust bundle holds no PEM certificate")
	}
	k.mu.Lock()
	k.trust = k.trust.Clone()
	k.trust.AppendCertsFromPEM(trustPEM)
	k.use(cert)
	k.mu.Unlock()
	if err := k.home.Save(Papers{Key: k.keyPEM, Certificate: certPEM, Trust: trustPEM}); err != nil {
		k.log.Warn("the certificate is used and not kept", "error", err)
	}
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
