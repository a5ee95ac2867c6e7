package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// pemDistrusted is the type of a PEM block that holds a CA that is not to be trusted any more. Programs that read
// certificates from PEM pass over it.
const pemDistrusted = "DISTRUSTED CERTIFICATE"

// Trust is by which CAs somebody knows a hub.
type Trust struct {
	// CAs are trusted.
	CAs []*x509.Certificate
	// Distrusted are not, whoever says so: their keys were stolen.
	Distrusted []*x509.Certificate
}

// ParseTrust reads a bundle: what Trust.PEM wrote, or any PEM with at least one certificate.
func ParseTrust(bundle []byte) (Trust, error) {
	var t Trust
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		into := map[string]*[]*x509.Certificate{pemCertificate: &t.CAs, pemDistrusted: &t.Distrusted}[block.Type]
		if into == nil {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return Trust{}, fmt.Errorf("bundle of CAs: %w", err)
		}
		*into = append(*into, cert)
	}
	if len(t.CAs) == 0 {
		return Trust{}, errors.New("bundle of CAs: it holds no PEM certificate")
	}
	return t, nil
}

// PEM returns the bundle that is sent and kept.
func (t Trust) PEM() []byte {
	var bundle bytes.Buffer
	bundle.Write(EncodeCerts(t.CAs))
	for _, cert := range t.Distrusted {
		pem.Encode(&bundle, &pem.Block{Type: pemDistrusted, Bytes: cert.Raw})
	}
	return bundle.Bytes()
}

// Distrusts says whether a CA, by its key, is not to be trusted.
func (t Trust) Distrusts(ca *x509.Certificate) bool {
	return slices.ContainsFunc(t.Distrusted, func(d *x509.Certificate) bool {
		return bytes.Equal(d.RawSubjectPublicKeyInfo, ca.RawSubjectPublicKeyInfo)
	})
}

// pool returns who is trusted: the CAs, and those of the bootstrap, without whom this bundle distrusts.
func (t Trust) pool(bootstrap []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, ca := range slices.Concat(t.CAs, bootstrap) {
		if !t.Distrusts(ca) {
			pool.AddCert(ca)
		}
	}
	return pool
}

// TrustDigest names a bundle, to the byte: the beginning of its SHA-256 in hex. Hub and agent compare by it whether the
// agent has the bundle that it should have.
func TrustDigest(bundle []byte) string {
	sum := sha256.Sum256(bundle)
	return hex.EncodeToString(sum[:8])
}

// EncodeCerts returns certificates in PEM, in their order.
func EncodeCerts(certs []*x509.Certificate) []byte {
	var all []byte
	for _, cert := range certs {
		all = append(all, encodeCert(cert.Raw)...)
	}
	return all
}

// Endorse signs another CA's certificate: whoever trusts this CA and is shown the result as an intermediate trusts what
// the other one issued. It is valid for as long as both are.
func (ca *CA) Endorse(other *x509.Certificate) (*x509.Certificate, error) {
	public, ok := other.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("endorsing CA %q: its key is %T, want ECDSA", other.Subject.CommonName, other.PublicKey)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               other.Subject,
		SubjectKeyId:          other.SubjectKeyId,
		NotBefore:             later(ca.cert.NotBefore, other.NotBefore),
		NotAfter:              earlier(ca.cert.NotAfter, other.NotAfter),
		KeyUsage:              other.KeyUsage,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, public, ca.key)
	if err != nil {
		return nil, fmt.Errorf("endorsing CA %q by %q: %w", other.Subject.CommonName, ca.cert.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}
