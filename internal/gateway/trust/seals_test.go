package trust

import (
	"crypto/x509"
	"testing"
	"time"

	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/identity/seal"
)

// TestSealsThroughTheLifeOfAnAuthority: what a hub signed of a Release, and what it says, by each of its CAs and for who knows any of
// them: after a rotation, one because of a stolen key, the restore of a backup, and with clocks that are off by years. What of the
// hub's own it takes for its own, Signed says.
func TestSealsThroughTheLifeOfAnAuthority(t *testing.T) {
	began := must(first(t).signing(begin))(t)
	backup := must(began.data())(t)
	rotation := rotated(t, began, false, begin.AddDate(1, 0, 0))
	stolen := rotated(t, rotation, true, begin.AddDate(2, 0, 0))
	restored := kept(t, began)
	skewed := rotated(t, rotation, false, begin.AddDate(-3, 0, 0)) // by a hub whose clock went back before all that there was
	if len(backup[signerKey]) == 0 {
		t.Fatal("there is no signer in a backup")
	}
	hubs := map[string]*state{"first": began, "rotated": rotation, "stolen": stolen, "restored": restored, "skewed": skewed}
	for _, c := range []struct {
		signs, trusts string // the hub that signs, and by the CA of which it is verified
		want          bool
		own           bool // whether that hub takes it for its own
	}{
		{"first", "first", true, true},
		{"first", "rotated", false, true}, // who joined later: the hub seals anew, since its own counts for it
		{"rotated", "first", true, false}, // by the endorsement; the first hub knows nothing of what came later
		{"rotated", "rotated", true, true},
		{"rotated", "stolen", false, false},
		{"first", "stolen", false, false},
		{"stolen", "first", false, false},
		{"stolen", "rotated", false, false},
		{"stolen", "stolen", true, true},
		{"restored", "first", true, true},
		{"first", "restored", true, true},
		{"rotated", "restored", true, false},
		{"skewed", "skewed", true, true},
	} {
		root := hubs[c.trusts].issuer.Certificate()
		pool := x509.NewCertPool()
		pool.AddCert(root)
		signs, knows := &Authority{state: hubs[c.signs]}, &Authority{state: hubs[c.trusts]}
		for what, said := range map[string]seal.Said{
			"a release": &seal.Statement{Package: "shop/web", Release: "web-1", Variants: 1},
			"a word":    &seal.Word{Cluster: "prod", Nonce: seal.NewNonce(), Message: []byte("m")},
		} {
			sealed := must(signs.Sign(said))(t)
			if err := sealed.Verify(said, pool); (err == nil) != c.want {
				t.Errorf("%s of %s, for who knows %s: %v", what, c.signs, c.trusts, err)
			}
			if err := knows.Signed(said, sealed); (err == nil) != c.own {
				t.Errorf("%s of %s, for the hub %s itself: %v", what, c.signs, c.trusts, err)
			}
		}
	}

	// An agent that was told of the stolen key believes nothing of before, and the hub's word from then on; its own clock is never asked.
	home := identity.Folder(t.TempDir())
	config := identity.KeyringConfig{Home: home, BootstrapCA: identity.EncodeCerts([]*x509.Certificate{began.issuer.Certificate()})}
	config.Now = func() time.Time { return begin.AddDate(40, 0, 0) }
	ring := must(identity.NewKeyring(config))(t)
	if err := ring.Trust(stolen.trust().PEM()); err != nil {
		t.Fatal(err)
	}
	said := &seal.Word{Cluster: "prod", Nonce: seal.NewNonce()}
	for name, want := range map[string]bool{"first": false, "rotated": false, "restored": false, "stolen": true} {
		sealed := must((&Authority{state: hubs[name]}).Sign(said))(t)
		if err := sealed.Verify(said, ring.Roots()); (err == nil) != want {
			t.Errorf("a word by %s, for an agent that was told of the stolen key: %v", name, err)
		}
	}
}
