package git_test

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// TestAServerOfSSHIsKnownOrNotTalkedTo: nothing is said to one whose key is not known, not even who we are.
func TestAServerOfSSHIsKnownOrNotTalkedTo(t *testing.T) {
	repo := sourcetest.New(t)
	commit := repo.Commit(map[string]string{"a.yaml": "a"})
	server, other := repo.ServeSSH(""), repo.ServeSSH("")
	swapped := strings.ReplaceAll(string(other.KnownHosts), portOf(t, other.Address), portOf(t, server.Address))
	for _, tc := range []struct {
		reason string
		change func(*source.Ref, *source.Credentials)
		as     string // the reason of the error; empty for SecretInvalid
		want   string // empty: it works
	}{
		{reason: "all is right", change: func(*source.Ref, *source.Credentials) {}},
		{reason: "no Secret", change: func(r *source.Ref, _ *source.Credentials) { r.Secret = "" }, want: "spec.source.git.secretRef has to name a Secret"},
		{reason: "no known hosts", change: func(_ *source.Ref, c *source.Credentials) { c.KnownHosts = nil }, want: "secret team/git has no known_hosts"},
		{reason: "another key than it takes", change: func(_ *source.Ref, c *source.Credentials) { c.Key, _ = sourcetest.NewKey(t, "") }, as: v1alpha1.ReasonUnauthorized, want: "refuses the credentials of secret team/git"},
		{reason: "a user that it has not", change: func(r *source.Ref, _ *source.Credentials) {
			r.URL = "ssh://nobody-known@" + server.Address + "/x.git"
		}, as: v1alpha1.ReasonUnauthorized, want: "refuses the credentials of secret team/git"},
		{reason: "known hosts of others", change: func(_ *source.Ref, c *source.Credentials) { c.KnownHosts = other.KnownHosts }, want: "known_hosts has no key of " + server.Address},
		{reason: "another key than is known", change: func(_ *source.Ref, c *source.Credentials) { c.KnownHosts = []byte(swapped) }, want: "is not the one that known_hosts of secret team/git has"},
		{reason: "known hosts that are none", change: func(_ *source.Ref, c *source.Credentials) { c.KnownHosts = []byte("x y z\n") }, want: "known_hosts"},
		{reason: "a key that is none", change: func(_ *source.Ref, c *source.Credentials) { c.Key = []byte(sourcetest.Canary) }, want: "ssh-privatekey cannot be read"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			ref := source.Ref{Kind: source.Git, URL: server.URL(repo), Name: "main", Secret: "team/git"}
			with := source.Credentials{Key: server.Key, KnownHosts: server.KnownHosts}
			tc.change(&ref, &with)
			at, err := newReader(t, source.DefaultLimits).Resolve(t.Context(), ref, with)
			if tc.want == "" {
				if err != nil || at.ID != commit {
					t.Errorf("got %+v, %v; want %s", at, err, commit)
				}
				return
			}
			as := cmp.Or(tc.as, v1alpha1.ReasonSecretInvalid)
			if reason(err) != as || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), sourcetest.Canary) {
				t.Errorf("got %q, %v; want %s that says %q", reason(err), err, as, tc.want)
			}
		})
	}
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestAKeyWithAPassphrase: of its own key of the Secret, or where Flux has it.
func TestAKeyWithAPassphrase(t *testing.T) {
	repo := sourcetest.New(t)
	commit := repo.Commit(map[string]string{"a.yaml": "a"})
	server := repo.ServeSSH(sourcetest.Canary)
	ref := source.Ref{Kind: source.Git, URL: server.URL(repo), Name: "main", Secret: "team/git"}
	reader := newReader(t, source.DefaultLimits)
	for _, with := range []source.Credentials{{Passphrase: []byte(sourcetest.Canary)}, {Password: sourcetest.Canary}} {
		with.Key, with.KnownHosts = server.Key, server.KnownHosts
		if at, err := reader.Resolve(t.Context(), ref, with); err != nil || at.ID != commit {
			t.Errorf("got %+v, %v; want %s", at, err, commit)
		}
	}
	for _, kind := range [][]string{{"-t", "rsa", "-b", "2048", "-m", "PEM"}, {"-t", "ecdsa"}} {
		other := repo.ServeSSH(sourcetest.Canary, kind...)
		ref := source.Ref{Kind: source.Git, URL: other.URL(repo), Name: "main", Secret: "team/git"}
		at, err := reader.Resolve(t.Context(), ref, source.Credentials{Key: other.Key, KnownHosts: other.KnownHosts, Passphrase: []byte(sourcetest.Canary)})
		if err != nil || at.ID != commit {
			t.Errorf("a key made by ssh-keygen %q: got %+v, %v", kind, at, err)
		}
	}
	_, err := reader.Resolve(t.Context(), ref, source.Credentials{Key: server.Key, KnownHosts: server.KnownHosts, Passphrase: []byte(sourcetest.Canary + "x")})
	if reason(err) != v1alpha1.ReasonSecretInvalid || strings.Contains(err.Error(), sourcetest.Canary) {
		t.Errorf("a wrong passphrase: got %v", err)
	}
}

// TestSSHThatHangs: a server that takes a connection and says nothing costs the time of its fetch, and no more.
func TestSSHThatHangs(t *testing.T) {
	repo := sourcetest.New(t)
	known := repo.ServeSSH("")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	lines := strings.ReplaceAll(string(known.KnownHosts), portOf(t, known.Address), portOf(t, silent.Addr().String()))
	ref := source.Ref{Kind: source.Git, URL: "ssh://git@" + silent.Addr().String() + "/x.git", Name: "main", Secret: "team/git"}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := newReader(t, source.DefaultLimits).Resolve(ctx, ref, source.Credentials{Key: known.Key, KnownHosts: []byte(lines)}); err == nil || ctx.Err() == nil {
		t.Errorf("got %v before its time was over", err)
	}
}

// TestCredentialsStayWithTheirServer: they go along neither with a redirect to another host nor over a line that others read.
func TestCredentialsStayWithTheirServer(t *testing.T) {
	var heard []string
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		heard = append(heard, r.Header.Get("Authorization")+r.URL.String())
	}))
	defer thief.Close()
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": "a"})
	server, url := repo.ServeTLS(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, strings.Replace(thief.URL, "127.0.0.1", "localhost", 1)+r.URL.Path+"?"+r.URL.RawQuery, http.StatusFound)
		})
	})
	ref := source.Ref{Kind: source.Git, URL: url, Name: "main", Secret: "team/git"}
	with := source.Credentials{Username: "ada", Password: sourcetest.Canary, CA: sourcetest.CA(server)}
	_, err := newReader(t, source.DefaultLimits).Resolve(t.Context(), ref, with)
	if err == nil {
		t.Error("a server that is none was read")
	}
	if said := strings.Join(heard, " "); strings.Contains(said, sourcetest.Basic("ada", sourcetest.Canary)) || strings.Contains(said, sourcetest.Canary) {
		t.Errorf("another server was told %q", said)
	}
	ref.URL = "http://git.example.com/fleet.git"
	if _, err := newReader(t, source.DefaultLimits).Resolve(t.Context(), ref, with); reason(err) != v1alpha1.ReasonSecretInvalid || !strings.Contains(err.Error(), "not sent over plain HTTP") {
		t.Errorf("plain HTTP: got %v", err)
	}
}
