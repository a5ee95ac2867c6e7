package source_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

func TestReadSecret(t *testing.T) {
	docker := fmt.Sprintf(`{"auths": {"https://registry.example.com/v1/": {"auth": %q}, "other.example.com": {"username": "no", "password": "no"}}}`,
		base64.StdEncoding.EncodeToString([]byte("ada:pass:word")))
	for _, tc := range []struct {
		reason string
		data   map[string]string
		want   source.Credentials
		err    string
	}{
		{reason: "a password, from a file that ends with a line", data: map[string]string{"username": "ada", "password": "pw\n"}, want: source.Credentials{Username: "ada", Password: "pw"}},
		{reason: "a token", data: map[string]string{"token": "t0ken"}, want: source.Credentials{Token: "t0ken"}},
		{reason: "a token, as Flux calls it", data: map[string]string{"bearerToken": "t0ken"}, want: source.Credentials{Token: "t0ken"}},
		{reason: "ssh", data: map[string]string{"ssh-privatekey": "key", "known_hosts": "h"}, want: source.Credentials{Key: []byte("key"), KnownHosts: []byte("h")}},
		{reason: "ssh, as Flux calls it", data: map[string]string{"identity": "key", "known_hosts": "h", "password": "p"}, want: source.Credentials{Key: []byte("key"), KnownHosts: []byte("h"), Password: "p"}},
		{reason: "an authority alone", data: map[string]string{"ca.crt": "ca"}, want: source.Credentials{CA: []byte("ca")}},
		{reason: "Docker's accounts", data: map[string]string{".dockerconfigjson": docker}, want: source.Credentials{Username: "ada", Password: "pass:word"}},
		{reason: "Docker's accounts, for others", data: map[string]string{".dockerconfigjson": `{"auths": {"x.example.com": {"username": "u", "password": "` + sourcetest.Canary + `"}}}`}, err: "no account of registry.example.com"},
		{reason: "Docker's accounts that are none", data: map[string]string{".dockerconfigjson": sourcetest.Canary}, err: "is no JSON"},
		{reason: "nothing", data: map[string]string{"tls.key": sourcetest.Canary}, err: "secret team/it has none of the keys"},
		{reason: "two ways at once", data: map[string]string{"token": sourcetest.Canary, "password": sourcetest.Canary}, err: "a token and a password"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			data := map[string][]byte{}
			for key, text := range tc.data {
				data[key] = []byte(text)
			}
			got, err := source.ReadSecret("team/it", data, "oci://registry.example.com/fleet/shop")
			if tc.err != "" {
				known, ok := errors.AsType[*source.Error](err)
				if !ok || known.Reason != v1alpha1.ReasonSecretInvalid || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), sourcetest.Canary) {
					t.Errorf("got %v, want SecretInvalid that says %q and tells no secret", err, tc.err)
				}
				return
			}
			if len(got.Passphrase) == 0 {
				got.Passphrase = nil
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestMayGoTo(t *testing.T) {
	for _, tc := range []struct {
		prefix, address string
		want            bool
	}{
		{"", "https://anywhere.example.com/x.git", true},
		{"https://git.example.com", "https://git.example.com/x.git", true},
		{"https://git.example.com/team/", "https://git.example.com/team/x.git", true},
		{"https://git.example.com/team", "https://GIT.example.com/team/x.git", true},
		{"https://git.example.com/team", "https://git.example.com/teams/x.git", false},
		{"https://git.example.com/team", "https://git.example.com/team/../other/x.git", false},
		{"https://git.example.com", "http://git.example.com/x.git", false},
		{"https://git.example.com", "https://git.example.com.evil.org/x.git", false},
		{"https://git.example.com", "https://git.example.com@evil.org/x.git", false},
		{"https://git.example.com", "https://git.example.com:8443/x.git", false},
		{"ssh://git@git.example.com", "ssh://git@git.example.com/x.git", true},
		{"://", "https://git.example.com/x.git", false},
	} {
		if got := source.MayGoTo(tc.prefix, tc.address); got != tc.want {
			t.Errorf("a Secret for %q may go to %q: %v, want %v", tc.prefix, tc.address, got, tc.want)
		}
	}
}

// TestExplainTellsNoSecret: whatever a library or a server makes of credentials.
func TestExplainTellsNoSecret(t *testing.T) {
	with := source.Credentials{
		Username: "ada", Password: sourcetest.Canary, Passphrase: []byte(sourcetest.Canary + "2"),
		Key: []byte("-----BEGIN KEY-----\n" + sourcetest.Canary + "3\n-----END KEY-----\n"),
	}
	ref := source.Ref{Kind: source.Git, URL: "https://ada:" + sourcetest.Canary + "@git.example.com/x.git", Secret: "team/it"}
	for _, text := range []string{
		"sent " + sourcetest.Canary, "sent " + sourcetest.Basic("ada", sourcetest.Canary), "GET " + ref.URL, sourcetest.Canary + "2", sourcetest.Canary + "3",
	} {
		for _, err := range []error{errors.New(text), source.Fail(v1alpha1.ReasonFetchFailed, ref, "%s", text)} {
			got := source.Explain(ref, err, with).Error()
			if strings.Contains(got, sourcetest.Canary) || strings.Contains(got, strings.TrimPrefix(sourcetest.Basic("ada", sourcetest.Canary), "Basic ")) {
				t.Errorf("%q becomes %q", text, got)
			}
		}
	}
}

func TestShort(t *testing.T) {
	for revision, want := range map[string]string{
		"0123456789abcdef0123456789abcdef01234567": "0123456789ab", "sha256:0123456789abcdef0123": "sha256:0123456789ab",
		"1.2.3@sha256:0123456789abcdef0123": "1.2.3", "": "", "short": "short",
	} {
		if got := source.Short(revision); got != want {
			t.Errorf("%q: got %q, want %q", revision, got, want)
		}
	}
}
