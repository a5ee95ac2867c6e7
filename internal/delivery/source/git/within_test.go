package git

import (
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/transport"

	"umbel.dev/umbel/internal/delivery/source"
)

func TestWithin(t *testing.T) {
	for _, tc := range []struct{ parent, address, want, secret string }{
		{"https://git.example.com/team/fleet.git", "https://git.example.com/team/lib.git", "https://git.example.com/team/lib.git", "a/b"},
		{"https://git.example.com/team/fleet.git", "../lib.git", "https://git.example.com/team/lib.git", "a/b"},
		{"https://git.example.com/team/fleet.git", "https://git.example.com:8443/lib.git", "https://git.example.com:8443/lib.git", ""},
		{"https://git.example.com/team/fleet.git", "http://git.example.com/lib.git", "http://git.example.com/lib.git", ""},
		{"https://git.example.com/team/fleet.git", "ssh://git@git.example.com/lib.git", "ssh://git@git.example.com/lib.git", ""},
		{"git@git.example.com:team/fleet.git", "../lib.git", "git@git.example.com:team/lib.git", "a/b"},
		{"ssh://git@git.example.com/team/fleet.git", "git@git.example.com:team/lib.git", "git@git.example.com:team/lib.git", "a/b"},
	} {
		got, err := within(source.Ref{Kind: source.Git, URL: tc.parent, Secret: "a/b"}, tc.address, "c0ffee")
		if err != nil || got.URL != tc.want || got.Secret != tc.secret || got.Name != "c0ffee" || !got.Submodules {
			t.Errorf("%s in %s: %+v and %v", tc.address, tc.parent, got, err)
		}
	}
	if _, err := within(source.Ref{URL: "https://git.example.com/a.git"}, "file:///etc", "c0ffee"); err == nil {
		t.Error("a remote repository leads to the disk")
	}
}

// FuzzWithin: whatever an address says, a Secret goes to the server of the repository alone, and nothing remote leads to the disk.
func FuzzWithin(f *testing.F) {
	for _, address := range []string{"../lib.git", "./x", "https://git.example.com@evil.example.com/x", "file:///etc/passwd", "/etc", "ext::sh -c x", "../../../../etc", "https:///x", "git.example.com:x"} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		ref, err := within(source.Ref{Kind: source.Git, URL: "https://git.example.com/team/fleet.git", Secret: "a/b"}, address, "c0ffee")
		if err != nil {
			return
		}
		to, err := transport.NewEndpoint(ref.URL)
		if err != nil {
			t.Fatalf("%q gives %q, which cannot be read: %v", address, ref.URL, err)
		}
		if to.Protocol == "file" {
			t.Errorf("%q leads to the disk: %q", address, ref.URL)
		}
		if ref.Secret != "" && (to.Protocol != "https" || !strings.EqualFold(to.Host, "git.example.com") || to.Port != 0 && to.Port != 443) {
			t.Errorf("%q shows the Secret to %q", address, ref.URL)
		}
	})
}
