package signin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const good = `apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: https://issuer.example.com, audiences: [umbel]}
  claimMappings:
    username: {claim: email, prefix: ""}
`

// What is wrong with a file is said with the file and the field.
func TestCheck(t *testing.T) {
	for _, c := range []struct{ reason, old, new, want string }{
		{reason: "as it should be"},
		{reason: "nobody yet", old: good[strings.Index(good, "jwt:"):], new: "jwt: []\n"},
		{"a field that there is not", "audiences:", "audience:", `unknown field "jwt[0].issuer.audience"`},
		{"a field twice", "jwt:", "jwt: []\njwt:", `"jwt" already set`},
		{"a provider without TLS", "https://", "http://", "jwt[0].issuer.url: Invalid value"},
		{"nobody's tokens", "[umbel]", "[]", "jwt[0].issuer.audiences: Required value"},
		{"a CA that is none", "audiences:", "certificateAuthority: PEM, audiences:", "jwt[0].issuer.certificateAuthority: Invalid value"},
		{"no name for anybody", `username: {claim: email, prefix: ""}`, "groups: {claim: groups, prefix: \"\"}", "jwt[0].claimMappings.username"},
		{"people without a name", "jwt:", "anonymous: {enabled: true}\njwt:", "anonymous: nobody is anonymous on a hub"},
		{"another kind", "kind: AuthenticationConfiguration", "kind: AuthorizationConfiguration", ""},
		{"another API", "apiserver.config.k8s.io/v1", "v1", "AuthenticationConfiguration"},
		{"not YAML", "jwt:", "jwt: [", ""},
	} {
		path := filepath.Join(t.TempDir(), "authentication.yaml")
		if err := os.WriteFile(path, []byte(strings.Replace(good, c.old, c.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Check(path)
		if c.reason == "as it should be" || c.reason == "nobody yet" {
			if err != nil {
				t.Errorf("%s: %v", c.reason, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want that it names the file and says %q", c.reason, err, c.want)
		}
	}
}

func TestATokenIsNotRepeated(t *testing.T) {
	token := "eyJhbGciOiJub25lIn0.eyJpc3MiOiJhIn0.c2lnbmF0dXJl"
	for _, said := range []string{token, "cannot parse eyJpc3MiOiJhIn0", "c2lnbmF0dXJl is no signature"} {
		if got := withoutToken(os.NewSyscallError(said, os.ErrInvalid), token).Error(); got != "it cannot be read" {
			t.Errorf("%q became %q", said, got)
		}
	}
	if got := withoutToken(os.ErrInvalid, token); got != os.ErrInvalid {
		t.Errorf("an error that repeats nothing became %v", got)
	}
}
