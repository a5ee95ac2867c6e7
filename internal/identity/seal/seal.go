package seal

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"umbel.dev/umbel/internal/identity"
)

// Statement is what a hub says of a Release.
type Statement struct {
	// Package is NAMESPACE/NAME, Release its name and Revision that of the source.
	Package, Release, Revision string
	// Repository is where the contents are.
	Repository string
	// Verified is by whom the source was signed, as the Release says; empty where it need not be.
	Verified string
	// Variants is how many contents there are, and Root stands for all of them.
	Variants int64
	Root     tlog.Hash
}

func (s *Statement) bytes() []byte {
	return fmt.Appendf(nil, "umbel release 1\npackage %q\nrelease %q\nrevision %q\nrepository %q\nverified %q\nvariants %d %x\n",
		s.Package, s.Release, s.Revision, s.Repository, s.Verified, s.Variants, s.Root[:])
}

func (s *Statement) about() []string {
	return []string{fmt.Sprintf("package %q", s.Package), fmt.Sprintf("release %q", s.Release), fmt.Sprintf("revision %q", s.Revision)}
}

// Said is what a hub signs: a Statement or a Word. No two have the same text, of whichever kind they are.
type Said interface {
	bytes() []byte
	// about is what people are told of it.
	about() []string
}

// Seal is a signature, and by whose word it counts.
type Seal struct {
	// Certificates lead from the one of the key that signed to a CA of the fleet, in DER.
	Certificates [][]byte `json:"certificates"`
	// Signature of a Statement or a Word: ECDSA with SHA-256, in ASN.1.
	Signature []byte `json:"signature"`
}

// Parse reads a Seal that Text wrote.
func Parse(text string) (*Seal, error) {
	var s Seal
	if err := json.Unmarshal([]byte(text), &s); err != nil || len(s.Certificates) == 0 {
		return nil, errors.New("it is no seal that can be read")
	}
	return &s, nil
}

// Text is the Seal as a Release has it.
func (s *Seal) Text() (string, error) {
	raw, err := json.Marshal(s)
	return string(raw), err
}

// ID tells a Seal from others.
func (s *Seal) ID() string {
	sum := sha256.Sum256(s.Signature)
	return hex.EncodeToString(sum[:8])
}

// Signer signs for a hub.
type Signer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewSigner returns the Signer of a certificate for signing and its key.
func NewSigner(pair identity.KeyPair) (*Signer, error) {
	certificate, err := identity.ParseCert(pair.CertPEM)
	if err != nil {
		return nil, err
	}
	key, err := identity.ParseKey(pair.KeyPEM)
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, fmt.Errorf("the private key does not belong to certificate %q", certificate.Subject.CommonName)
	}
	return &Signer{certificate, key}, nil
}

// KeyPair returns what NewSigner makes the Signer of.
func (s *Signer) KeyPair() (identity.KeyPair, error) {
	key, err := identity.EncodeKey(s.key)
	return identity.KeyPair{CertPEM: identity.EncodeCerts([]*x509.Certificate{s.certificate}), KeyPEM: key}, err
}

// Certificate is the Signer's.
func (s *Signer) Certificate() *x509.Certificate { return s.certificate }

// Sign signs what a hub says. The endorsements lead from the CA of the Signer to earlier ones, so that who knows one of those
// believes it too.
func (s *Signer) Sign(said Said, endorsements []*x509.Certificate) (*Seal, error) {
	sum := sha256.Sum256(said.bytes())
	signature, err := ecdsa.SignASN1(rand.Reader, s.key, sum[:])
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", strings.Join(said.about(), ", "), err)
	}
	sealed := &Seal{Certificates: [][]byte{s.certificate.Raw}, Signature: signature}
	for _, endorsement := range endorsements {
		sealed.Certificates = append(sealed.Certificates, endorsement.Raw)
	}
	return sealed, nil
}

// By returns the certificate of the key that signed.
func (s *Seal) By() (*x509.Certificate, error) {
	if len(s.Certificates) == 0 {
		return nil, errors.New("it names no certificate")
	}
	certificate, err := x509.ParseCertificate(s.Certificates[0])
	if err != nil {
		return nil, errors.New("its certificate cannot be read")
	}
	return certificate, nil
}

// Verify says why what was said does not count for who trusts these CAs; nil when it does.
func (s *Seal) Verify(said Said, trusted *x509.CertPool) error {
	by, err := s.By()
	if err != nil {
		return err
	}
	between := x509.NewCertPool()
	for _, raw := range s.Certificates[1:] {
		endorsement, err := x509.ParseCertificate(raw)
		if err != nil {
			return errors.New("one of its endorsements cannot be read")
		}
		between.AddCert(endorsement)
	}
	// By the time when the certificate was issued: all of its CAs were valid then.
	_, err = by.Verify(x509.VerifyOptions{
		Roots: trusted, Intermediates: between, CurrentTime: by.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	})
	if err != nil {
		return fmt.Errorf("its signer %q is none of a hub that is trusted here: %w", by.Subject.CommonName, err)
	}
	key, ok := by.PublicKey.(*ecdsa.PublicKey)
	if sum := sha256.Sum256(said.bytes()); !ok || !ecdsa.VerifyASN1(key, sum[:], s.Signature) {
		return fmt.Errorf("the hub signed something else: %s", strings.Join(said.about(), ", "))
	}
	return nil
}
