package seal_test

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/identity/seal"
)

func authority(t *testing.T, name string) *identity.CA {
	t.Helper()
	ca, err := identity.NewCA(name, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func signerOf(t *testing.T, pair identity.KeyPair, err error) *seal.Signer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := seal.NewSigner(pair)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// release makes the messages of a release of some variants.
func release(t *testing.T, by *seal.Signer, variants int, endorsements ...*x509.Certificate) []*wire.Assignment {
	t.Helper()
	var contents []seal.Content
	for i := range variants {
		contents = append(contents, seal.Content{Digest: fmt.Sprintf("sha256:%064d", i), Size: int64(i)})
	}
	tree, err := seal.NewContents(contents)
	if err != nil {
		t.Fatal(err)
	}
	root, err := tree.Root()
	if err != nil {
		t.Fatal(err)
	}
	says := &seal.Statement{Package: "shop/web", Release: "web-1", Revision: "abc", Repository: "packages/shop.web", Verified: "by ada", Variants: int64(variants), Root: root}
	sealed, err := by.Sign(says, endorsements)
	if err != nil {
		t.Fatal(err)
	}
	text, err := sealed.Text()
	if err != nil {
		t.Fatal(err)
	}
	if sealed, err = seal.Parse(text); err != nil {
		t.Fatal(err)
	}
	var all []*wire.Assignment
	for i, content := range contents {
		path, err := tree.Prove(i)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &wire.Assignment{
			Package: says.Package, Release: says.Release, Revision: says.Revision, Repository: says.Repository, Digest: content.Digest, Size: content.Size,
			Seal: seal.Of(sealed, says.Verified, seal.Place{Variants: says.Variants, Variant: int64(i), Root: root[:], Path: path}),
		})
	}
	return all
}

// TestNothingOfAReleaseCanBeChanged: every variant of releases of many sizes is taken, and none with anything else in it.
func TestNothingOfAReleaseCanBeChanged(t *testing.T) {
	ca := authority(t, "fleet")
	pair, err := ca.IssueSigner("hub")
	signer := signerOf(t, pair, err)
	for _, variants := range []int{1, 2, 3, 7, 8, 100} {
		all := release(t, signer, variants)
		for i, a := range all {
			if err := seal.Verify(a, ca.Pool()); err != nil {
				t.Fatalf("variant %d of %d is refused: %v", i, variants, err)
			}
		}
		for what, change := range map[string]func(*wire.Assignment){
			"another package":         func(a *wire.Assignment) { a.Package = "shop/other" },
			"another release":         func(a *wire.Assignment) { a.Release = "web-2" },
			"another revision":        func(a *wire.Assignment) { a.Revision = "abd" },
			"another repository":      func(a *wire.Assignment) { a.Repository = "packages/shop.other" },
			"another content":         func(a *wire.Assignment) { a.Digest = fmt.Sprintf("sha256:%064d", 1<<40) },
			"another size":            func(a *wire.Assignment) { a.Size++ },
			"somebody else signed it": func(a *wire.Assignment) { a.Seal.Verified = "by eve" },
			"more variants":           func(a *wire.Assignment) { a.Seal.Variants++ },
			"another root":            func(a *wire.Assignment) { a.Seal.Root[0]++ },
			"no root":                 func(a *wire.Assignment) { a.Seal.Root = nil },
			"another signature":       func(a *wire.Assignment) { a.Seal.Signature[10]++ },
			"no certificate":          func(a *wire.Assignment) { a.Seal.Certificates = nil },
			"a certificate of bytes":  func(a *wire.Assignment) { a.Seal.Certificates[0] = []byte("x") },
			"a hash too many":         func(a *wire.Assignment) { a.Seal.Path = append(a.Seal.Path, make([]byte, 32)) },
			"a hash that is short":    func(a *wire.Assignment) { a.Seal.Path = append(a.Seal.Path, []byte("x")) },
			"no seal":                 func(a *wire.Assignment) { a.Seal = nil },
		} {
			changed := proto.CloneOf(all[variants/2])
			change(changed)
			if seal.Verify(changed, ca.Pool()) == nil {
				t.Errorf("of %d variants, %s is taken", variants, what)
			}
		}
	}
}

// TestWhoMaySign: only a certificate for signing, of a CA that is trusted, itself or by endorsement; the clock does not matter.
func TestWhoMaySign(t *testing.T) {
	first, second, stranger := authority(t, "first"), authority(t, "second"), authority(t, "stranger")
	endorsement, err := first.Endorse(second.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	issue := func(ca *identity.CA) *seal.Signer {
		pair, err := ca.IssueSigner("hub")
		return signerOf(t, pair, err)
	}
	server, serverErr := first.IssueServer(identity.Request{CommonName: "gateway", TTL: time.Hour})
	client, clientErr := first.IssueClient(identity.Request{CommonName: "prod", Organizations: []string{identity.MembersGroup}, TTL: time.Hour})
	for _, tc := range []struct {
		reason  string
		message *wire.Assignment
		trusted *identity.CA
		want    string
	}{
		{"of the CA", release(t, issue(first), 2)[1], first, ""},
		{"of another fleet", release(t, issue(stranger), 2)[1], first, "none of a hub that is trusted"},
		{"of the next CA, endorsed, for who was away", release(t, issue(second), 2, endorsement)[1], first, ""},
		{"of the next CA, not endorsed", release(t, issue(second), 2)[1], first, "none of a hub that is trusted"},
		{"of an agent's certificate", release(t, signerOf(t, client, clientErr), 2)[1], first, "incompatible key usage"},
		{"of the gateway's certificate", release(t, signerOf(t, server, serverErr), 2)[1], first, "incompatible key usage"},
	} {
		err := seal.Verify(tc.message, tc.trusted.Pool())
		if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.reason, err, tc.want)
		}
	}
}

func FuzzAssignment(f *testing.F) {
	ca, err := identity.NewCA("fleet", time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("sha256:00", int64(1), []byte("0123456789abcdef0123456789abcdef"), []byte{}, uint32(1), uint32(0), []byte("cert"))
	f.Fuzz(func(t *testing.T, digest string, size int64, root, path []byte, variants, variant uint32, certificate []byte) {
		a := &wire.Assignment{Digest: digest, Size: size, Seal: &wire.Seal{Root: root, Variants: variants, Variant: variant, Certificates: [][]byte{certificate}}}
		for len(path) >= 32 {
			a.Seal.Path, path = append(a.Seal.Path, path[:32]), path[32:]
		}
		if seal.Verify(a, ca.Pool()) == nil {
			t.Error("what nobody signed is taken")
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(`{"certificates":["AAAA"],"signature":"AAAA"}`)
	f.Fuzz(func(t *testing.T, text string) {
		if sealed, err := seal.Parse(text); err == nil && sealed.Verify(&seal.Statement{}, x509.NewCertPool()) == nil {
			t.Error("what nobody signed is taken")
		}
	})
}
