package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
)

const (
	// ClockSkew is how far in the past a certificate begins, so that a peer whose clock is behind accepts it.
	ClockSkew = 5 * time.Minute
	// LongSkew is how far in the past those begin by which an agent knows its hub: CAs, and the gateway's. The hub can do
	// without the clock of an agent; an agent whose clock is behind by days has nothing else to go by.
	LongSkew = 49 * time.Hour
)

const (
	pemCertificate = "CERTIFICATE"
	pemPrivateKey  = "PRIVATE KEY" // PKCS #8
)

// CA is a certificate authority: a self-signed certificate and its key. It is safe for concurrent use.
type CA struct {
	// Now is the clock that dates certificates; time.Now unless a test sets it before first use.
	Now func() time.Time

	cert    *x509.Certificate
	certPEM []byte
	key     *ecdsa.PrivateKey
}

// KeyPair is a certificate and its private key, PEM encoded.
type KeyPair struct {
	CertPEM []byte
	KeyPEM  []byte
}

// Request says what a certificate is to say.
type Request struct {
	CommonName    string
	Organizations []string
	// Hosts are the DNS names and IP addresses that a server or peer answers to.
	Hosts []string
	URIs  []*url.URL
	// TTL is how long the certificate is valid from now on; one that outlives its CA is cut to the CA's end.
	TTL time.Duration
	// Skew is how far in the past it begins; the default is ClockSkew.
	Skew time.Duration
}

// NewCA makes a CA named name that is valid for ttl from now on.
func NewCA(name string, ttl time.Duration) (*CA, error) { return NewCAAt(time.Now(), name, ttl) }

// NewCAAt is NewCA at a time of one's own.
func NewCAAt(now time.Time, name string, ttl time.Duration) (*CA, error) {
	key, err := NewKey()
	if err != nil {
		return nil, fmt.Errorf("making the key of CA %q: %w", name, err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-LongSkew),
		NotAfter:              now.Add(ttl),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing CA %q: %w", name, err)
	}
	keyPEM, err := EncodeKey(key)
	if err != nil {
		return nil, err
	}
	return ParseCA(KeyPair{CertPEM: encodeCert(der), KeyPEM: keyPEM})
}

// ParseCA returns the CA that pair holds. A certificate that may not sign, or that does not belong to the key, is an error.
func ParseCA(pair KeyPair) (*CA, error) {
	cert, err := ParseCert(pair.CertPEM)
	if err != nil {
		return nil, err
	}
	key, err := ParseKey(pair.KeyPEM)
	if err != nil {
		return nil, err
	}
	if !cert.IsCA {
		return nil, fmt.Errorf("certificate %q is not a CA", cert.Subject.CommonName)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("the private key does not belong to CA certificate %q", cert.Subject.CommonName)
	}
	return &CA{Now: time.Now, cert: cert, certPEM: pair.CertPEM, key: key}, nil
}

// LoadOrCreateCA returns the CA of dir/name.crt and dir/name.key, and makes it, valid for ttl, where there is no
// name.crt yet. The folder is made when it is missing. Two concurrent first calls are the caller's to prevent.
func LoadOrCreateCA(dir, name string, ttl time.Duration) (*CA, error) {
	certPath, keyPath := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	pair, err := LoadKeyPair(certPath, keyPath)
	if err == nil {
		ca, err := ParseCA(pair)
		if err != nil {
			return nil, fmt.Errorf("reading CA %s: %w", certPath, err)
		}
		return ca, nil
	}
	if _, statErr := os.Stat(certPath); !errors.Is(statErr, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; restore it from a backup, a CA is never replaced", err)
	}
	ca, err := NewCA(name, ttl)
	if err != nil {
		return nil, err
	}
	pair, err = ca.KeyPair()
	if err != nil {
		return nil, err
	}
	if err := pair.Write(certPath, keyPath); err != nil {
		return nil, err
	}
	return ca, nil
}

// CertPEM returns the CA's certificate, the trust anchor to hand out.
func (ca *CA) CertPEM() []byte { return ca.certPEM }

// Certificate returns the CA's certificate.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// KeyPair returns the CA's certificate and key, for keeping them.
func (ca *CA) KeyPair() (KeyPair, error) {
	keyPEM, err := EncodeKey(ca.key)
	if err != nil {
		return KeyPair{}, err
	}
	return KeyPair{CertPEM: ca.certPEM, KeyPEM: keyPEM}, nil
}

// Pool returns a pool that trusts this CA alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// IssueServer issues a certificate with a new key for a server that answers to req.Hosts.
func (ca *CA) IssueServer(req Request) (KeyPair, error) {
	return ca.issue(req, x509.ExtKeyUsageServerAuth)
}

// IssueClient issues a certificate with a new key for a client: req.CommonName is the user, req.Organizations the groups.
func (ca *CA) IssueClient(req Request) (KeyPair, error) {
	return ca.issue(req, x509.ExtKeyUsageClientAuth)
}

// IssueSigner issues a certificate with a new key for what signs, and does nothing else. It is valid for as long as the CA.
func (ca *CA) IssueSigner(name string) (KeyPair, error) {
	// What it signs is verified as of its first moment, at which the CA has to be valid: a clock that was set back or forth since the CA
	// was made has no say in it.
	dated := *ca
	dated.Now = func() time.Time { return ca.cert.NotBefore.Add(ClockSkew) }
	return dated.issue(Request{CommonName: name, TTL: ca.cert.NotAfter.Sub(ca.cert.NotBefore)}, x509.ExtKeyUsageCodeSigning)
}

// Sign issues a certificate for a key that is not ours: public is the requester's. It returns PEM.
func (ca *CA) Sign(req Request, public crypto.PublicKey, usages ...x509.ExtKeyUsage) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now, skew := ca.Now(), req.Skew
	if skew == 0 {
		skew = ClockSkew
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: req.CommonName, Organization: req.Organizations},
		NotBefore:             now.Add(-skew),
		NotAfter:              earlier(now.Add(req.TTL), ca.cert.NotAfter),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           usages,
		BasicConstraintsValid: true,
		URIs:                  req.URIs,
	}
	for _, host := range req.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, public, ca.key)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate for %q: %w", req.CommonName, err)
	}
	return encodeCert(der), nil
}

func (ca *CA) issue(req Request, usages ...x509.ExtKeyUsage) (KeyPair, error) {
	key, err := NewKey()
	if err != nil {
		return KeyPair{}, err
	}
	certPEM, err := ca.Sign(req, key.Public(), usages...)
	if err != nil {
		return KeyPair{}, err
	}
	keyPEM, err := EncodeKey(key)
	if err != nil {
		return KeyPair{}, err
	}
	return KeyPair{CertPEM: certPEM, KeyPEM: keyPEM}, nil
}

// LoadKeyPair reads a certificate and its key from two PEM files.
func LoadKeyPair(certPath, keyPath string) (KeyPair, error) {
	certPEM, err := os.ReadFile(certPath)
	if err != nil {
		return KeyPair{}, fmt.Errorf("reading a certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(keyPath)
	if err != nil {
		return KeyPair{}, fmt.Errorf("reading the private key of %s: %w", certPath, err)
	}
	return KeyPair{CertPEM: certPEM, KeyPEM: keyPEM}, nil
}

// Write keeps the pair in two files, the key first and readable by its owner only. Each file changes atomically.
func (p KeyPair) Write(certPath, keyPath string) error {
	for _, dir := range []string{filepath.Dir(certPath), filepath.Dir(keyPath)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making the folder of a certificate: %w", err)
		}
	}
	if err := renameio.WriteFile(keyPath, p.KeyPEM, 0o600); err != nil {
		return fmt.Errorf("writing private key %s: %w", keyPath, err)
	}
	if err := renameio.WriteFile(certPath, p.CertPEM, 0o644); err != nil {
		return fmt.Errorf("writing certificate %s: %w", certPath, err)
	}
	return nil
}

// TLS returns the pair as crypto/tls wants it.
func (p KeyPair) TLS() (tls.Certificate, error) {
	return tls.X509KeyPair(p.CertPEM, p.KeyPEM)
}

// NewKey makes an ECDSA P-256 key.
func NewKey() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// EncodeKey returns key as PKCS #8 in PEM.
func EncodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPrivateKey, Bytes: der}), nil
}

// ParseKey reads what EncodeKey wrote. Its errors never hold any of the input.
func ParseKey(keyPEM []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(keyPEM)
	if block == nil || block.Type != pemPrivateKey {
		return nil, errors.New("private key: not a PEM block of type PRIVATE KEY")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("private key: not PKCS #8")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("private key: %T, want ECDSA", parsed)
	}
	return key, nil
}

// ParseCert reads the first certificate of certPEM.
func ParseCert(certPEM []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != pemCertificate {
		return nil, errors.New("certificate: not a PEM block of type CERTIFICATE")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return cert, nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})
}

func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	return serial.Add(serial, big.NewInt(1)), nil // never zero
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
