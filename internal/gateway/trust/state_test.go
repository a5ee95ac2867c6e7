package trust

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

var begin = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func must[T any](value T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// first is the state of a hub that has just begun.
func first(t *testing.T) *state {
	t.Helper()
	return &state{
		issuer:   must(identity.NewCAAt(begin, caName(1), caTTL))(t),
		rotation: rotation{Number: 1, Phase: v1alpha1.CASettled},
	}
}

// kept is a state after it was written to a Secret and read again.
func kept(t *testing.T, s *state) *state {
	t.Helper()
	return must(parse(&corev1.Secret{Data: must(s.data())(t)}))(t)
}

// rotated is a state after a whole rotation, kept at each step.
func rotated(t *testing.T, s *state, compromised bool, now time.Time) *state {
	t.Helper()
	next := must(identity.NewCAAt(now, caName(s.rotation.Number+1), caTTL))(t)
	s = kept(t, s.announced(next, compromised, now))
	s = kept(t, must(s.switched(now))(t))
	return kept(t, s.settled(now))
}

// knows says whether who trusts root accepts the gateway of a state.
func knows(t *testing.T, s *state, root *x509.Certificate, now time.Time) error {
	t.Helper()
	a := &Authority{state: s, now: func() time.Time { return now }, hosts: []string{"hub.example.com"}}
	s.issuer.Now = a.now
	if err := a.serve(); err != nil {
		t.Fatal(err)
	}
	return verify(t, must(a.Serving())(t), root, now)
}

func verify(t *testing.T, served *tls.Certificate, root *x509.Certificate, now time.Time) error {
	t.Helper()
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	for _, der := range served.Certificate[1:] {
		between.AddCert(must(x509.ParseCertificate(der))(t))
	}
	_, err := served.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: "hub.example.com", CurrentTime: now})
	return err
}

func TestWhoTrustsAnyEarlierAuthorityKnowsTheHub(t *testing.T) {
	s := first(t)
	var roots []*x509.Certificate
	now := begin
	for range 5 {
		roots = append(roots, s.issuer.Certificate())
		now = now.Add(30 * 24 * time.Hour)
		s = rotated(t, s, false, now)
	}
	for i, root := range append(roots, s.issuer.Certificate()) {
		if err := knows(t, s, root, now); err != nil {
			t.Errorf("who trusts authority %d only: %v", i+1, err)
		}
	}
	if err := knows(t, s, roots[0], begin.Add(caTTL+time.Hour)); err == nil {
		t.Error("an authority that has expired is believed")
	}
	if err := knows(t, s, must(identity.NewCAAt(begin, caName(1), caTTL))(t).Certificate(), now); err == nil {
		t.Error("an authority of another hub, with the same name, is believed")
	}
}

func TestStolenKeyIsWorthNothing(t *testing.T) {
	s := rotated(t, first(t), false, begin)
	ancestor, thief := s.retired[0], s.issuer
	stolenChain := s.endorsements
	s = rotated(t, s, true, begin)
	if len(s.endorsements) != 0 || len(s.accepted) != 0 || len(s.retired) != 0 {
		t.Errorf("after a rotation because of a stolen key, endorsed %d, accepted %d, retired %d", len(s.endorsements), len(s.accepted), len(s.retired))
	}
	for _, ca := range []*x509.Certificate{ancestor, thief.Certificate()} {
		if err := knows(t, s, ca, begin); err == nil {
			t.Errorf("who trusts %s only follows the hub to the new authority: the thief could lead it anywhere, too", ca.Subject.CommonName)
		}
		if !s.trust().Distrusts(ca) {
			t.Errorf("%s is not distrusted", ca.Subject.CommonName)
		}
	}
	if err := knows(t, s, s.issuer.Certificate(), begin); err != nil {
		t.Error(err)
	}

	// The thief serves as the hub, with the endorsement that was public, to an agent whose bootstrap has the first authority.
	home := identity.Folder(t.TempDir())
	ring := must(identity.NewKeyring(identity.KeyringConfig{Home: home, BootstrapCA: identity.EncodeCerts([]*x509.Certificate{ancestor})}))(t)
	thief.Now = func() time.Time { return begin }
	posing := must(must(thief.IssueServer(identity.Request{CommonName: "umbel gateway", Hosts: []string{"hub.example.com"}, TTL: time.Hour}))(t).TLS())(t)
	between := x509.NewCertPool()
	between.AddCert(stolenChain[0])
	accepts := func(ring *identity.Keyring) error {
		_, err := posing.Leaf.Verify(x509.VerifyOptions{Roots: ring.TLS().RootCAs, Intermediates: between, DNSName: "hub.example.com", CurrentTime: begin})
		return err
	}
	if err := accepts(ring); err != nil {
		t.Fatalf("before the agent was told, it believes: %v", err)
	}
	if err := ring.Trust(s.trust().PEM()); err != nil {
		t.Fatal(err)
	}
	again := must(identity.NewKeyring(identity.KeyringConfig{Home: home, BootstrapCA: identity.EncodeCerts([]*x509.Certificate{ancestor})}))(t)
	for when, ring := range map[string]*identity.Keyring{"told": ring, "started again": again} {
		if err := accepts(ring); err == nil {
			t.Errorf("an agent that was %s believes the thief", when)
		}
		if ring.Trusts() != identity.TrustDigest(s.trust().PEM()) {
			t.Errorf("an agent that was %s keeps the bundle %q", when, ring.Trusts())
		}
	}
}

func TestTheOldKeyIsGoneAfterTheSwitch(t *testing.T) {
	s := first(t)
	old := must(s.issuer.KeyPair())(t)
	next := must(identity.NewCAAt(begin, caName(2), caTTL))(t)
	announced := s.announced(next, false, begin)
	if cancelled := kept(t, announced.cancelled(begin)); cancelled.next != nil || cancelled.rotation.Phase != v1alpha1.CASettled {
		t.Errorf("after it was cancelled: %+v", cancelled.rotation)
	}
	data := must(must(announced.switched(begin))(t).data())(t)
	for key, value := range data {
		if strings.Contains(string(value), string(old.KeyPEM)) {
			t.Errorf("%s still has the old key", key)
		}
	}
}

// Whoever has a certificate of the authority before takes its time to renew, until that is given up.
func TestWhenAgentsRenew(t *testing.T) {
	s := first(t)
	old := s.issuer.Certificate()
	next := must(identity.NewCAAt(begin, caName(2), caTTL))(t)
	announced := s.announced(next, false, begin)
	switched := must(announced.switched(begin))(t)
	for _, step := range []struct {
		name   string
		state  *state
		issuer *x509.Certificate
		want   time.Duration
	}{
		{"there is no other that issues", s, old, 0},
		{"the next one is announced", announced, old, 0},
		{"the next one issues", switched, old, DefaultPace.Renewal},
		{"the old one is given up", switched.settled(begin), old, renewalAtLast},
		{"it has a new one", switched.settled(begin), next.Certificate(), 0},
		{"it is not known what it has", switched.settled(begin), nil, 0},
	} {
		a := &Authority{state: step.state, pace: DefaultPace}
		bundle, _ := a.For(step.issuer)
		if got := time.Duration(bundle.GetRenewWithinMillis()) * time.Millisecond; got != step.want {
			t.Errorf("%s: within %s, want %s", step.name, got, step.want)
		}
	}
}

func TestWarnings(t *testing.T) {
	s := first(t)
	if got := s.warnings(begin); got != nil {
		t.Errorf("a new authority: %q", got)
	}
	if got := s.warnings(begin.Add(caTTL - warnCA + time.Hour)); len(got) != 1 || !strings.Contains(got[0], "umbel ca rotate") {
		t.Errorf("less than a year before its end: %q", got)
	}
	s = rotated(t, s, false, begin.Add(caTTL-rotateCA))
	if got := s.warnings(begin.Add(caTTL - rotateCA + time.Hour)); len(got) != 1 || !strings.Contains(got[0], "umbel join") {
		t.Errorf("before the first one ends: %q", got)
	}
	s = rotated(t, s, false, begin.Add(caTTL+time.Hour))
	if len(s.retired) != 1 || len(s.endorsements) != 1 {
		t.Errorf("what has expired is kept: %d retired, %d endorsements", len(s.retired), len(s.endorsements))
	}
}

func TestADamagedSecretIsAnError(t *testing.T) {
	good := must(rotated(t, first(t), false, begin).data())(t)
	for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey, retiredCerts, endorsements, rotationKey} {
		bad := map[string][]byte{}
		for k, v := range good {
			bad[k] = v
		}
		bad[key] = []byte("damaged")
		if _, err := parse(&corev1.Secret{Data: bad}); err == nil {
			t.Errorf("a damaged %s is read", key)
		}
	}
}
