package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
)

// MembersGroup is the organization in every agent's certificate.
const MembersGroup = "umbel:members"

// Why an agent's certificate is not accepted.
var (
	// ErrNoCertificate: the peer presented none.
	ErrNoCertificate = errors.New("no client certificate was presented")
	// ErrForeign: it was issued by another CA than this hub's.
	ErrForeign = errors.New("the certificate was not issued by this hub")
	// ErrExpired: it was issued by this hub and its time is over, or has not begun.
	ErrExpired = errors.New("the certificate is not valid now")
	// ErrNotAMember: this hub issued it, but not for an agent.
	ErrNotAMember = errors.New("the certificate is not one of an agent")
)

// KeyFingerprint returns the SHA-256 of a public key (DER, SubjectPublicKeyInfo) in hex. A member is known by it.
func KeyFingerprint(public any) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("encoding a public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// CertificateFingerprint returns the KeyFingerprint of the certificate's key.
func CertificateFingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// MemberURI returns the SPIFFE ID of a member's agent.
func MemberURI(cluster v1alpha1.ClusterName) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: "umbel", Path: "/member/" + string(cluster)}
}

// NewMemberRequest returns a certificate request (PKCS #10, DER) for the agent of cluster.
func NewMemberRequest(cluster v1alpha1.ClusterName, key *ecdsa.PrivateKey) ([]byte, error) {
	template := &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: string(cluster), Organization: []string{MembersGroup}},
		URIs:    []*url.URL{MemberURI(cluster)},
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate request for %q: %w", cluster, err)
	}
	return der, nil
}

// MemberRequest is a certificate request whose signature was verified: the sender has the key.
type MemberRequest struct {
	// Cluster is the name that it asks for. It is a claim.
	Cluster v1alpha1.ClusterName
	// Fingerprint of the key.
	Fingerprint string

	public *ecdsa.PublicKey
}

// ParseMemberRequest reads a certificate request of an agent and verifies that the sender has its key.
func ParseMemberRequest(der []byte) (MemberRequest, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return MemberRequest{}, fmt.Errorf("certificate request: not PKCS #10 in DER: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return MemberRequest{}, fmt.Errorf("certificate request: its signature is wrong: %w", err)
	}
	public, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return MemberRequest{}, errors.New("certificate request: the key has to be ECDSA P-256")
	}
	fingerprint, err := KeyFingerprint(public)
	if err != nil {
		return MemberRequest{}, err
	}
	return MemberRequest{Cluster: v1alpha1.ClusterName(csr.Subject.CommonName), Fingerprint: fingerprint, public: public}, nil
}

// SignMember issues the certificate that request asks for, valid for ttl. Whether the sender may have it is the
// caller's to decide.
func (ca *CA) SignMember(request MemberRequest, ttl time.Duration) (certPEM []byte, notAfter time.Time, err error) {
	certPEM, err = ca.Sign(Request{
		CommonName:    string(request.Cluster),
		Organizations: []string{MembersGroup},
		URIs:          []*url.URL{MemberURI(request.Cluster)},
		TTL:           ttl,
	}, request.public, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, time.Time{}, err
	}
	cert, err := ParseCert(certPEM)
	if err != nil {
		return nil, time.Time{}, err
	}
	return certPEM, cert.NotAfter, nil
}

// Member is what an agent's certificate says.
type Member struct {
	Cluster     v1alpha1.ClusterName
	Fingerprint string
	NotAfter    time.Time
	// Issuer is the CA that issued it, when it is one of those that were asked for.
	Issuer *x509.Certificate
}

// VerifyMember says whose agent presented chain, leaf first, at the time now. The certificate has to be of one of the
// issuers. On ErrExpired the returned Member is proven all the same; on ErrForeign it is what the certificate claims.
// Neither says that the member's key is the one that the hub pinned.
func VerifyMember(issuers, chain []*x509.Certificate, now time.Time) (Member, error) {
	if len(chain) == 0 {
		return Member{}, ErrNoCertificate
	}
	leaf := chain[0]
	member := Member{
		Cluster:     v1alpha1.ClusterName(leaf.Subject.CommonName),
		Fingerprint: CertificateFingerprint(leaf),
		NotAfter:    leaf.NotAfter,
	}
	var err error
	if member.Issuer, err = issuerOf(leaf, issuers); err != nil {
		return member, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	uri := MemberURI(member.Cluster).String()
	isMember := slices.Contains(leaf.Subject.Organization, MembersGroup) &&
		slices.ContainsFunc(leaf.URIs, func(u *url.URL) bool { return u.String() == uri })
	if !isMember {
		return member, ErrNotAMember
	}
	if now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		return member, ErrExpired
	}
	return member, nil
}

// issuerOf finds who issued an agent's certificate. It is judged at a time when it was valid, so that one that is expired
// is told from a foreign one.
func issuerOf(leaf *x509.Certificate, issuers []*x509.Certificate) (*x509.Certificate, error) {
	err := errors.New("there is no CA")
	for _, ca := range issuers {
		roots := x509.NewCertPool()
		roots.AddCert(ca)
		_, err = leaf.Verify(x509.VerifyOptions{
			Roots:       roots,
			CurrentTime: later(leaf.NotBefore, ca.NotBefore),
			KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		if err == nil {
			return ca, nil
		}
	}
	return nil, err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
