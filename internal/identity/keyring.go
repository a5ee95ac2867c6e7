package identity

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
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

	bootstrap []*x509.Certificate
	now       func() time.Time

	mu        sync.Mutex
	cert      *x509.Certificate // nil before the first one
	certPEM   []byte
	since     time.Time // when it came, unless it was read from the home
	presented tls.Certificate
	bundle    []byte // of the hub's CAs, as it came; empty before the first one
	pool      *x509.CertPool
	closed    bool // every order on the disk has a code
}

// KeyringConfig is what a keyring needs. All fields but Now are required.
type KeyringConfig struct {
	// Home is where the papers are kept.
	Home Home
	// BootstrapCA (PEM) is trusted beside what the hub has sent since, unless the hub said that it is not to be: so a hub
	// that was restored from a backup is known again, and a member that knows no CA of its hub can be helped by `umbel join`.
	BootstrapCA []byte
	// Now is the agent's clock; the default is time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// NewKeyring reads the keyring in its home, and makes the key where there is none. It blocks while the home does not
// answer. A certificate that is damaged or of another key counts as none; a damaged key is an error.
func NewKeyring(config KeyringConfig) (*Keyring, error) {
	papers, err := config.Home.Load()
	if err != nil {
		return nil, err
	}
	bootstrap, err := ParseTrust(config.BootstrapCA)
	if err != nil {
		return nil, fmt.Errorf("reading the bootstrap's ca: %w; run `umbel join` again", err)
	}
	k := &Keyring{home: config.Home, log: config.Log, bootstrap: bootstrap.CAs, now: config.Now, pool: bootstrap.pool(nil)}
	if k.now == nil {
		k.now = time.Now
	}
	if trust, err := ParseTrust(papers.Trust); err == nil {
		k.bundle, k.pool = papers.Trust, trust.pool(k.bootstrap)
	}
	if len(papers.Key) == 0 {
		if err := k.begin(); err != nil {
			return nil, err
		}
		return k, nil
	}
	k.keyPEM, k.closed = papers.Key, len(papers.Orders) > 0
	if k.key, err = ParseKey(papers.Key); err != nil {
		return nil, fmt.Errorf("reading the agent's key in %s: %w; the hub knows this member by it: restore it, "+
			"or remove it, and run `umbel leave NAME --force` and `umbel join` again", k.home, err)
	}
	if cert, err := ParseCert(papers.Certificate); err == nil && k.key.PublicKey.Equal(cert.PublicKey) {
		k.use(cert, papers.Certificate)
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
	trust, err := ParseTrust(trustPEM)
	if err != nil {
		return fmt.Errorf("installing what the hub issued: %w", err)
	}
	k.mu.Lock()
	k.bundle, k.pool = trustPEM, trust.pool(k.bootstrap)
	k.use(cert, certPEM)
	k.since = k.now()
	k.mu.Unlock()
	if err := k.home.Save(Papers{Key: k.keyPEM, Certificate: certPEM, Trust: trustPEM}); err != nil {
		k.log.Warn("the certificate is used and not kept", "error", err)
	}
	return nil
}

// Trust takes up a bundle of the hub's CAs. It replaces the one before, and is used from now on also when it cannot be
// kept, which is an error.
func (k *Keyring) Trust(bundle []byte) error {
	trust, err := ParseTrust(bundle)
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.bundle, k.pool = bundle, trust.pool(k.bootstrap)
	certPEM := k.certPEM
	k.mu.Unlock()
	return k.home.Save(Papers{Key: k.keyPEM, Certificate: certPEM, Trust: bundle})
}

// Roots are the CAs by which the agent knows its hub now.
func (k *Keyring) Roots() *x509.CertPool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pool
}

// Trusts names the bundle that the hub sent last (TrustDigest); empty before there was one.
func (k *Keyring) Trusts() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.bundle) == 0 {
		return ""
	}
	return TrustDigest(k.bundle)
}

// RenewAt returns when the certificate is to be renewed: between a half and three quarters of its life, where its random
// serial puts it. The zero time means now: there is no certificate.
func (k *Keyring) RenewAt() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cert == nil {
		return time.Time{}
	}
	const lots = 1 << 16
	lot := new(big.Int).And(k.cert.SerialNumber, big.NewInt(lots-1)).Int64()
	begin, life := k.life()
	return begin.Add(life/2 + life/4/lots*time.Duration(lot))
}

// Expired says whether the certificate is over, as far as the agent can tell; one that is not there is.
func (k *Keyring) Expired() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cert == nil {
		return true
	}
	begin, life := k.life()
	return k.now().After(begin.Add(life))
}

// life returns when the certificate began and for how long it is valid. One that came in this process began when it came:
// that the clock here is a day ahead must not make it old at once. The caller holds the lock.
func (k *Keyring) life() (begin time.Time, life time.Duration) {
	begin = k.cert.NotBefore.Add(ClockSkew)
	life = k.cert.NotAfter.Sub(begin)
	if !k.since.IsZero() {
		begin = k.since
	}
	return begin, life
}

// TLS returns how the agent talks to its hub: with its certificate, when it has one, and trusting the hub's CAs.
func (k *Keyring) TLS() *tls.Config {
	k.mu.Lock()
	defer k.mu.Unlock()
	config := &tls.Config{RootCAs: k.pool, MinVersion: tls.VersionTLS13, Time: k.now}
	if k.cert != nil {
		// A function, because with the list of certificates crypto/tls keeps one back that the server does not ask for.
		presented := k.presented
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &presented, nil }
	}
	return config
}

func (k *Keyring) use(cert *x509.Certificate, certPEM []byte) {
	k.cert, k.certPEM = cert, certPEM
	k.presented = tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: k.key, Leaf: cert}
}
