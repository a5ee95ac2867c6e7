package trust

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/identity/seal"
)

// The keys of the Secret. tls.crt and tls.key are the CA that issues.
const (
	nextCert       = "next.crt"
	nextKey        = "next.key"
	acceptedCerts  = "accepted.crt"
	retiredCerts   = "retired.crt"
	distrustedCert = "distrusted.crt"
	endorsements   = "endorsements.crt"
	rotationKey    = "rotation.json"
	signerCert     = "signing.crt"
	signerKey      = "signing.key"
)

// state is what the Secret says. It is never changed: each step makes another one.
type state struct {
	issuer *identity.CA
	next   *identity.CA // nil unless one is announced
	// accepted issued before, retired before that; distrusted are those whose keys were stolen, and all before them.
	accepted, retired, distrusted []*x509.Certificate
	// endorsements lead from the issuer back to the first CA: each is signed by the one before.
	endorsements []*x509.Certificate
	// signer seals Releases; nil in a Secret of an earlier version.
	signer   *seal.Signer
	rotation rotation
}

// rotation is what there is to remember of a rotation.
type rotation struct {
	// Number of the CA that issues; the first one has 1.
	Number      int              `json:"number"`
	Phase       v1alpha1.CAPhase `json:"phase"`
	Since       time.Time        `json:"since,omitzero"`
	Compromised bool             `json:"compromised,omitempty"`
	Finishing   bool             `json:"finishing,omitempty"`
	// Request is the one that was answered last, Refused why nothing was done about it.
	Request string `json:"request,omitempty"`
	Refused string `json:"refused,omitempty"`
	// Sealing is since when Releases are sealed.
	Sealing time.Time `json:"sealing,omitzero"`
}

// caName is the name of a CA. Each has another one: a chain in which issuer and subject have the same name looks
// self-signed to some programs.
func caName(number int) string {
	if number == 1 {
		return "umbel members"
	}
	return fmt.Sprintf("umbel members %d", number)
}

// parse reads a Secret. One of an earlier version, or of a first start, holds only the CA that issues.
func parse(secret *corev1.Secret) (*state, error) {
	s := &state{rotation: rotation{Number: 1, Phase: v1alpha1.CASettled}}
	var err error
	if s.issuer, err = identity.ParseCA(identity.KeyPair{CertPEM: secret.Data[corev1.TLSCertKey], KeyPEM: secret.Data[corev1.TLSPrivateKeyKey]}); err != nil {
		return nil, err
	}
	if len(secret.Data[nextCert]) > 0 {
		if s.next, err = identity.ParseCA(identity.KeyPair{CertPEM: secret.Data[nextCert], KeyPEM: secret.Data[nextKey]}); err != nil {
			return nil, fmt.Errorf("the next CA: %w", err)
		}
	}
	for key, into := range map[string]*[]*x509.Certificate{
		acceptedCerts: &s.accepted, retiredCerts: &s.retired, distrustedCert: &s.distrusted, endorsements: &s.endorsements,
	} {
		if len(secret.Data[key]) == 0 {
			continue
		}
		bundle, err := identity.ParseTrust(secret.Data[key])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		*into = bundle.CAs
	}
	if len(secret.Data[signerCert]) > 0 {
		if s.signer, err = seal.NewSigner(identity.KeyPair{CertPEM: secret.Data[signerCert], KeyPEM: secret.Data[signerKey]}); err != nil {
			return nil, fmt.Errorf("%s: %w", signerCert, err)
		}
	}
	if raw := secret.Data[rotationKey]; len(raw) > 0 {
		if err := json.Unmarshal(raw, &s.rotation); err != nil {
			return nil, fmt.Errorf("%s: %w", rotationKey, err)
		}
	}
	return s, nil
}

// data is the state as the Secret keeps it.
func (s *state) data() (map[string][]byte, error) {
	pair, err := s.issuer.KeyPair()
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{corev1.TLSCertKey: pair.CertPEM, corev1.TLSPrivateKeyKey: pair.KeyPEM}
	if s.next != nil {
		if pair, err = s.next.KeyPair(); err != nil {
			return nil, err
		}
		data[nextCert], data[nextKey] = pair.CertPEM, pair.KeyPEM
	}
	for key, certs := range map[string][]*x509.Certificate{
		acceptedCerts: s.accepted, retiredCerts: s.retired, distrustedCert: s.distrusted, endorsements: s.endorsements,
	} {
		if len(certs) > 0 {
			data[key] = identity.EncodeCerts(certs)
		}
	}
	if s.signer != nil {
		if pair, err = s.signer.KeyPair(); err != nil {
			return nil, err
		}
		data[signerCert], data[signerKey] = pair.CertPEM, pair.KeyPEM
	}
	data[rotationKey], err = json.Marshal(s.rotation)
	return data, err
}

// issuers are the CAs whose certificates are accepted: the next one too, since another replica may be a step ahead.
func (s *state) issuers() []*x509.Certificate {
	all := []*x509.Certificate{s.issuer.Certificate()}
	if s.next != nil {
		all = append(all, s.next.Certificate())
	}
	return append(all, s.accepted...)
}

// trust is what members are to go by.
func (s *state) trust() identity.Trust {
	return identity.Trust{CAs: s.issuers(), Distrusted: s.distrusted}
}

// announced is the state with a new CA that does not issue yet.
func (s *state) announced(next *identity.CA, compromised bool, now time.Time) *state {
	after := *s
	after.next = next
	after.enter(v1alpha1.CAAnnounced, now)
	after.rotation.Compromised = compromised
	return &after
}

// switched is the state in which the next CA issues. The key of the one before is in it no more.
func (s *state) switched(now time.Time) (*state, error) {
	after := *s
	after.issuer, after.next = s.next, nil
	after.rotation.Number++
	signs, err := after.signing(now)
	if err != nil {
		return nil, err
	}
	after.signer = signs.signer
	if s.rotation.Compromised {
		// Whatever leads to an earlier CA leads to the stolen key as well, by its endorsement, which is public.
		after.distrusted = slices.Concat(s.distrusted, []*x509.Certificate{s.issuer.Certificate()}, s.accepted, s.retired)
		after.accepted, after.retired, after.endorsements = nil, nil, nil
		after.enter(v1alpha1.CASettled, now)
		return after.trimmed(now), nil
	}
	endorsed, err := s.issuer.Endorse(s.next.Certificate())
	if err != nil {
		return nil, err
	}
	after.endorsements = slices.Concat([]*x509.Certificate{endorsed}, s.endorsements)
	after.accepted = slices.Concat([]*x509.Certificate{s.issuer.Certificate()}, s.accepted)
	finishing := s.rotation.Finishing
	after.enter(v1alpha1.CASwitched, now)
	after.rotation.Finishing = finishing
	return after.trimmed(now), nil
}

// settled is the state in which what was issued before is not accepted any more.
func (s *state) settled(now time.Time) *state {
	after := *s
	after.retired, after.accepted = slices.Concat(s.accepted, s.retired), nil
	after.enter(v1alpha1.CASettled, now)
	return after.trimmed(now)
}

// cancelled is the state without the CA that was announced.
func (s *state) cancelled(now time.Time) *state {
	after := *s
	after.next = nil
	after.enter(v1alpha1.CASettled, now)
	if len(after.accepted) > 0 {
		after.rotation.Phase = v1alpha1.CASwitched // the rotation before goes on, from now
	}
	return &after
}

func (s *state) enter(phase v1alpha1.CAPhase, now time.Time) {
	s.rotation.Phase, s.rotation.Since = phase, now.UTC().Truncate(time.Second)
	s.rotation.Compromised, s.rotation.Finishing = false, false
}

// trimmed drops what has expired: nothing of it is believed anywhere.
func (s *state) trimmed(now time.Time) *state {
	for _, list := range []*[]*x509.Certificate{&s.accepted, &s.retired, &s.distrusted, &s.endorsements} {
		*list = slices.DeleteFunc(slices.Clone(*list), func(c *x509.Certificate) bool { return now.After(c.NotAfter) })
	}
	return s
}

// role says what an authority counts for, by its key; empty when it is not known here.
func (s *state) role(ca *x509.Certificate) v1alpha1.CARole {
	for _, a := range s.all() {
		if a.cert.Equal(ca) {
			return a.role
		}
	}
	return ""
}

type authorityOf struct {
	cert *x509.Certificate
	role v1alpha1.CARole
}

// all are the authorities that are remembered.
func (s *state) all() []authorityOf {
	all := []authorityOf{{s.issuer.Certificate(), v1alpha1.CAIssues}}
	if s.next != nil {
		all = append(all, authorityOf{s.next.Certificate(), v1alpha1.CANext})
	}
	for _, group := range []struct {
		certs []*x509.Certificate
		role  v1alpha1.CARole
	}{{s.accepted, v1alpha1.CAAccepted}, {s.retired, v1alpha1.CARetired}, {s.distrusted, v1alpha1.CADistrusted}} {
		for _, cert := range group.certs {
			all = append(all, authorityOf{cert, group.role})
		}
	}
	return all
}

// Fingerprint names a CA in statuses: the beginning of the SHA-256 of its key.
func Fingerprint(ca *x509.Certificate) string { return identity.CertificateFingerprint(ca)[:12] }

// warnings are what somebody has to look after.
func (s *state) warnings(now time.Time) []string {
	var all []string
	if left := s.issuer.Certificate().NotAfter.Sub(now); left < warnCA && s.rotation.Phase == v1alpha1.CASettled {
		all = append(all, fmt.Sprintf("%s ends on %s, in %d days: run `umbel ca rotate`; the hub does so by itself %d days before",
			s.issuer.Certificate().Subject.CommonName, s.issuer.Certificate().NotAfter.UTC().Format(time.DateOnly), int(left.Hours()/24), int(rotateCA.Hours()/24)))
	}
	for _, e := range s.endorsements {
		if left := e.NotAfter.Sub(now); left < rotateCA {
			all = append(all, fmt.Sprintf("%s ends on %s: a member that has been away since before the rotation and knows no later CA needs `umbel join` after that",
				strings.TrimSpace(e.Issuer.CommonName), e.NotAfter.UTC().Format(time.DateOnly)))
		}
	}
	return all
}
