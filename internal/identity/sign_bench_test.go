package identity

import (
	"testing"
	"time"
)

// BenchmarkSignMember is what a renewal costs the hub: the request is verified, and a certificate signed.
func BenchmarkSignMember(b *testing.B) {
	ca, err := NewCA("umbel members", 1000*time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	key, err := NewKey()
	if err != nil {
		b.Fatal(err)
	}
	der, err := NewMemberRequest("prod-eu", key)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		request, err := ParseMemberRequest(der)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := ca.SignMember(request, time.Hour); err != nil {
			b.Fatal(err)
		}
	}
}
