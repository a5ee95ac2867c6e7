package session

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"umbel.dev/umbel/internal/identity"
)

// An agent that its hub refuses keeps its certificate fresh all the same: a program that is to take its place needs it.
func TestWhoLacksACertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, err := identity.NewCA("hub", 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		ring, err := identity.NewKeyring(identity.KeyringConfig{
			Home: identity.Folder(t.TempDir()), BootstrapCA: ca.CertPEM(), Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		c := &Client{keyring: ring}
		says := func(when string, want bool) {
			t.Helper()
			if got := c.lacksCertificate(); got != want {
				t.Errorf("%s: %t, want %t", when, got, want)
			}
		}
		says("before the first one", true)
		csr, err := identity.NewMemberRequest("prod-eu", ring.Key())
		if err != nil {
			t.Fatal(err)
		}
		request, err := identity.ParseMemberRequest(csr)
		if err != nil {
			t.Fatal(err)
		}
		certificate, _, err := ca.SignMember(request, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := ring.Install(certificate, ca.CertPEM()); err != nil {
			t.Fatal(err)
		}
		c.refused = true
		says("refused, with a new one", false)
		time.Sleep(50 * time.Minute)
		says("refused, with one that would be renewed in a session", true)
		c.refused = false
		says("the same, and not refused: the session renews it", false)
		time.Sleep(11 * time.Minute)
		says("it is over", true)
	})
}
