package console

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"umbel.dev/umbel/internal/identity/oidctest"
	"umbel.dev/umbel/internal/identity/signin"
	"umbel.dev/umbel/internal/programtest"
)

// TestSignInAtTheProvider: somebody signs in where their company knows them, and comes back as who they are there.
func TestSignInAtTheProvider(t *testing.T) {
	address := programtest.FreeAddress(t)
	provider := oidctest.StartFor(t, "https://"+address+"/console/callback")
	people, err := signin.New(t.Context(), provider.WriteConfiguration(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h := newHubAt(t, address, people)
	b := h.browser()
	b.want("how people sign in", b.ask(http.MethodGet, "/console/api/ways", ""), http.StatusOK, provider.Issuer)
	b.want("a provider that the hub does not trust", b.ask(http.MethodGet, "/console/login?issuer=https://evil.example", ""), http.StatusBadRequest, "does not know this identity provider")
	b.want("who did not begin here", b.ask(http.MethodGet, "/console/callback?state=x&code=y", ""), http.StatusBadRequest, "did not begin a sign-in here")

	back := b.visits(provider, "/console/clusters?f.health=NotReady")
	if set := b.cookies[visitCookie]; set == nil || !set.HttpOnly || !set.Secure || set.SameSite != http.SameSiteLaxMode {
		t.Errorf("what a browser keeps while somebody signs in is %v", set)
	}
	kept := b.cookies[visitCookie]
	wrong := url.Values{"code": {back.Query().Get("code")}, "state": {"of another sign-in"}}
	b.want("the end of another sign-in", b.ask(http.MethodGet, "/console/callback?"+wrong.Encode(), ""), http.StatusBadRequest, "the end of another sign-in")
	if b.cookies[sessionCookie] != nil {
		t.Error("it began a session")
	}
	b.cookies[visitCookie] = kept
	in := b.ask(http.MethodGet, back.RequestURI(), "")
	b.want("coming back", in, http.StatusOK, `url=/console/clusters?f.health=NotReady"`)
	if b.cookies[sessionCookie] == nil || b.cookies[sessionCookie].SameSite != http.SameSiteStrictMode || b.cookies[visitCookie] != nil {
		t.Errorf("the browser keeps %v", b.cookies)
	}
	b.want("who it is", b.ask(http.MethodGet, "/console/api/me", ""), http.StatusOK, oidctest.Alice.Email)
	b.want("and of which group", b.ask(http.MethodGet, "/console/api/me", ""), http.StatusOK, "oidc:"+oidctest.Alice.Groups[0])

	other := h.browser()
	other.cookies[visitCookie] = kept
	other.want("a code that was used", other.ask(http.MethodGet, back.RequestURI(), ""), http.StatusUnauthorized, "Nobody was signed in")
	if other.cookies[sessionCookie] != nil {
		t.Error("a code that was used began a session")
	}
	elsewhere := other.visits(provider, "https://evil.example/")
	other.want("who would go on elsewhere", other.ask(http.MethodGet, elsewhere.RequestURI(), ""), http.StatusOK, `url=/console/"`)
	refused := h.browser()
	refused.visits(provider, "")
	no := url.Values{"error": {"access_denied"}, "error_description": {"<script>"}, "state": {stateOf(t, h, refused)}}
	got := refused.ask(http.MethodGet, "/console/callback?"+no.Encode(), "")
	refused.want("whom the provider refuses", got, http.StatusUnauthorized, "access_denied &lt;script&gt;")
}

// visits begins a sign-in, has Alice sign in at the provider, and returns where it sends her back to.
func (b *browser) visits(provider *oidctest.Provider, to string) *url.URL {
	b.Helper()
	began := b.ask(http.MethodGet, "/console/login?"+url.Values{"issuer": {provider.Issuer}, "to": {to}}.Encode(), "")
	at := began.header.Get("Location")
	if began.code != http.StatusFound || !strings.HasPrefix(at, provider.Issuer) || !strings.Contains(at, "code_challenge_method=S256") || strings.Contains(at, "offline_access") {
		b.Fatalf("a sign-in begins with %d %q", began.code, at)
	}
	_, _, err := provider.Browse(oidctest.Alice, at)
	stopped, ok := errors.AsType[*url.Error](err) // the provider's people do not know the hub's certificate
	if !ok {
		b.Fatalf("the provider did not send her back: %v", err)
	}
	back, err := url.Parse(stopped.URL)
	if err != nil || back.Host != b.address || back.Path != "/console/callback" {
		b.Fatalf("the provider sent her to %q", stopped.URL)
	}
	return back
}

// stateOf is the state that a browser waits for.
func stateOf(t *testing.T, h *hub, b *browser) string {
	t.Helper()
	var v visit
	if err := unseal(h.console.keys.aead(), forVisit, b.cookies[visitCookie].Value, &v); err != nil {
		t.Fatal(err)
	}
	return v.State
}
