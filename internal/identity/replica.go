package identity

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// ReplicasGroup is the organization in the certificate with which a replica of the hub dials another.
	ReplicasGroup = "umbel:replicas"
	// ReplicaHost is the name that the gateway's certificate has for the hub's other replicas, which dial each other by
	// addresses that no certificate knows.
	ReplicaHost = "replica.hub.umbel.internal"

	replicaPath = "/replica/"
)

// SignReplica issues the certificate with which the replica of the hub that has the key dials the others. It returns PEM.
func (ca *CA) SignReplica(name string, key crypto.PublicKey, ttl time.Duration) ([]byte, error) {
	return ca.Sign(Request{
		CommonName: name, Organizations: []string{ReplicasGroup}, TTL: ttl,
		URIs: []*url.URL{{Scheme: "spiffe", Host: "umbel", Path: replicaPath + name}},
	}, key, x509.ExtKeyUsageClientAuth)
}

// VerifyReplica returns which replica of the hub presented chain, leaf first, at the time now. Its certificate has to be of
// one of the roots. Whether the key is that replica's is the caller's to find out.
func VerifyReplica(roots *x509.CertPool, chain []*x509.Certificate, now time.Time) (name string, err error) {
	if len(chain) == 0 {
		return "", ErrNoCertificate
	}
	leaf := chain[0]
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrForeign, err)
	}
	for _, uri := range leaf.URIs {
		if name, found := strings.CutPrefix(uri.Path, replicaPath); found && slices.Contains(leaf.Subject.Organization, ReplicasGroup) {
			return name, nil
		}
	}
	return "", fmt.Errorf("the certificate of %q is not one of a replica of the hub", leaf.Subject.CommonName)
}
