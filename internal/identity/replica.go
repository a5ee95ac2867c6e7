package identity

import (
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

// IssueReplica issues the certificate with which a replica of the hub dials the others.
func (ca *CA) IssueReplica(name string, ttl time.Duration) (KeyPair, error) {
	return ca.IssueClient(Request{
		CommonName: name, Organizations: []string{ReplicasGroup}, TTL: ttl,
		URIs: []*url.URL{{Scheme: "spiffe", Host: "umbel", Path: replicaPath + name}},
	})
}

// VerifyReplica returns which replica of the hub presented chain, leaf first, at the time now. Its certificate has to be of
// one of the roots.
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
