package tunnel

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"umbel.dev/umbel/internal/identity"
)

func TestExplainTrust(t *testing.T) {
	begin := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	ca, err := identity.NewCAAt(begin, "umbel members", 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	other, err := identity.NewCAAt(begin, "umbel members", 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ca.Now = func() time.Time { return begin }
	pair, err := ca.IssueServer(identity.Request{CommonName: "hub", Hosts: []string{"hub"}, TTL: 100 * time.Hour, Skew: identity.LongSkew})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := identity.ParseCert(pair.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason string
		off    time.Duration
		trust  *identity.CA
		want   string // empty: it is believed
	}{
		{"right", 0, ca, ""},
		{"two days behind", -48 * time.Hour, ca, ""},
		{"three days behind", -72 * time.Hour, ca, "the clock here says 2026-11-23T12:00:00Z and is behind the hub's by at least 23h0m0s: set it right"},
		{"four days ahead", 99 * time.Hour, ca, ""},
		{"five days ahead", 120 * time.Hour, ca, "which is 20h0m0s after the end of the hub's certificate"},
		{"another authority of that name", 0, other, "`umbel join` again"},
	} {
		now := begin.Add(c.off)
		_, err := cert.Verify(x509.VerifyOptions{Roots: c.trust.Pool(), CurrentTime: now})
		explained := ExplainTrust(err, func() time.Time { return now })
		if c.want == "" && explained != nil || !strings.Contains(fmt.Sprint(explained), c.want) {
			t.Errorf("%s: %v, want it to say %q", c.reason, explained, c.want)
		}
	}
	if err := errors.New("another"); ExplainTrust(err, nil) != err {
		t.Error("an error that is not about trust was changed")
	}
}
