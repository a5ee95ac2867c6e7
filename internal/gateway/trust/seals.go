package trust

import (
	"crypto/x509"
	"slices"
	"time"

	"umbel.dev/umbel/internal/identity/seal"
)

// signing is the state with a signer of the CA that issues. One that loses it makes another: what an earlier one signed counts
// as long as its CA does.
func (s *state) signing(now time.Time) (*state, error) {
	pair, err := s.issuer.IssueSigner("umbel hub, for releases")
	if err != nil {
		return nil, err
	}
	after := *s
	if after.signer, err = seal.NewSigner(pair); err != nil {
		return nil, err
	}
	if after.rotation.Sealing.IsZero() {
		after.rotation.Sealing = now.UTC().Truncate(time.Second)
	}
	return &after, nil
}

// Sign seals what the hub says: of a Release, or to an agent.
func (a *Authority) Sign(statement seal.Said) (*seal.Seal, error) {
	s := a.current()
	return s.signer.Sign(statement, s.endorsements)
}

// Sealing is since when this hub seals Releases: it knows those that are older by nothing.
func (a *Authority) Sealing() time.Time { return a.current().rotation.Sealing }

// Current says whether the CA that issues now stands behind a seal.
func (a *Authority) Current(sealed *seal.Seal) bool {
	by, err := sealed.By()
	return err == nil && by.CheckSignatureFrom(a.current().issuer.Certificate()) == nil
}

// Signed says why a statement is not one of this hub; nil when it is. What was signed by the word of a CA that is retired counts,
// of one whose key was stolen nothing does.
func (a *Authority) Signed(statement seal.Said, sealed *seal.Seal) error {
	s := a.current()
	own := x509.NewCertPool()
	for _, ca := range slices.Concat(s.issuers(), s.retired) {
		if !s.trust().Distrusts(ca) {
			own.AddCert(ca)
		}
	}
	return (&seal.Seal{Certificates: sealed.Certificates[:1], Signature: sealed.Signature}).Verify(statement, own)
}
