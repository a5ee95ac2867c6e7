package source_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"testing"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// FuzzSecret: whatever a Secret holds is credentials, or an error that says SecretInvalid and tells nothing of it; and no error that quotes
// what was sent does.
func FuzzSecret(f *testing.F) {
	f.Add("https://git.example.com/a", "ada", "pw", "", "", "", "", `{"auths": {"git.example.com": {"auth": "CANARY"}}}`)
	f.Add("oci://registry.example.com/a", "", "", "t", "-----BEGIN PRIVATE KEY-----\nCANARY\n-----END PRIVATE KEY-----", "p", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----", `{"auths": {"https://index.registry.example.com/v1": {"username": "CANARY", "password": "CANARY"}}}`)
	f.Add("git@git.example.com:a/b", "\x00", "\r\n", "", "key", "", "ca", `{"auths": null}`)
	f.Add("::", "", "p w%", "", "", "", "", "[]")
	f.Fuzz(func(t *testing.T, address, username, password, token, key, passphrase, ca, docker string) {
		if strings.Contains(address, sourcetest.Canary) {
			return
		}
		data := map[string][]byte{"username": []byte(username)}
		for name, value := range map[string]string{"password": password, "token": token, "ssh-privatekey": key, "passphrase": passphrase, "ca.crt": ca} {
			if value != "" {
				data[name] = []byte(sourcetest.Canary + value)
			}
		}
		if docker != "" {
			data[".dockerconfigjson"] = []byte(strings.ReplaceAll(docker, "CANARY", sourcetest.Canary))
		}
		ref := source.Ref{Kind: source.Git, URL: address, Secret: "team/it"}
		with, err := source.ReadSecret("team/it", data, address)
		if err == nil {
			_, err = source.NewTransport(ref, with, source.NewAllowance(1))
			sent := []string{with.Password, with.Token, string(with.Passphrase), base64.StdEncoding.EncodeToString([]byte(with.Username + ":" + with.Password)), url.QueryEscape(with.Password)}
			said := source.Explain(ref, fmt.Errorf("the server says: %q is wrong", strings.Join(sent, " ")), with).Error()
			for _, secret := range []string{with.Password, with.Token, string(with.Passphrase)} {
				if strings.Contains(secret, sourcetest.Canary) && strings.Contains(said, sourcetest.Canary) {
					t.Errorf("an error tells a secret: %s", said)
				}
			}
		}
		if err == nil {
			return
		}
		if known, ok := errors.AsType[*source.Error](err); !ok || known.Reason != v1alpha1.ReasonSecretInvalid || strings.Contains(err.Error(), sourcetest.Canary) {
			t.Errorf("got %v, want SecretInvalid that tells no secret", err)
		}
	})
}

// FuzzMayGoTo: credentials that say where they may go to go nowhere else.
func FuzzMayGoTo(f *testing.F) {
	f.Add("https://git.example.com/team", "https://git.example.com/team/repository")
	f.Add("https://git.example.com/team", "https://git.example.com/team/%2e%2e/other")
	f.Add("https://git.example.com/team/", "https://GIT.example.com/teams")
	f.Add("https://git.example.com", "https://ada@git.example.com:443/..")
	f.Fuzz(func(t *testing.T, only, address string) {
		if only == "" || !source.MayGoTo(only, address) {
			return
		}
		want, err := url.Parse(only)
		if err != nil {
			t.Fatalf("%q is no address, and lets %q through", only, address)
		}
		got, err := url.Parse(address)
		if err != nil {
			t.Fatalf("%q is no address, and is let through by %q", address, only)
		}
		root, at := path.Clean("/"+want.Path), path.Clean("/"+got.Path)
		if got.Scheme != want.Scheme || !strings.EqualFold(got.Host, want.Host) || root != "/" && at != root && !strings.HasPrefix(at, root+"/") {
			t.Errorf("%q lets %q through", only, address)
		}
	})
}
