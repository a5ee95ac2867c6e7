package provider

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"umbel.dev/umbel/internal/identity/oidctest"
	"umbel.dev/umbel/internal/identity/signin"
)

func issuerOf(p *oidctest.Provider) signin.Issuer {
	return signin.Issuer{URL: p.Issuer, ClientID: oidctest.ClientID, CA: p.CA}
}

// Whatever comes to the port of loopback without the state of this sign-in is turned away, and the sign-in goes on.
func TestOnlyThisSignInEndsIt(t *testing.T) {
	dex := oidctest.Start(t)
	provider, err := Discover(t.Context(), issuerOf(dex))
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := provider.Browser(t.Context(), 0, func(address string) {
		asked, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		back := asked.Query().Get("redirect_uri")
		for _, forged := range []string{
			back, back + "?code=theirs", back + "?code=theirs&state=" + strings.Repeat("A", 26), back + "?error=access_denied&state=x",
			strings.TrimSuffix(back, callbackPath), back + "?state=" + url.QueryEscape(asked.Query().Get("state")),
		} {
			answer, err := http.Get(forged)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: answered %s", forged, answer.Status)
			}
		}
		go func() {
			if _, _, err := dex.Browse(oidctest.Alice, address); err != nil {
				t.Errorf("in the browser: %v", err)
			}
		}()
	})
	if err != nil || tokens.ID == "" || tokens.Refresh == "" || tokens.Expires.Before(time.Now()) {
		t.Errorf("got tokens until %s, %v", tokens.Expires, err)
	}
}

func TestTheProviderRefuses(t *testing.T) {
	dex := oidctest.Start(t)
	provider, err := Discover(t.Context(), issuerOf(dex))
	if err != nil {
		t.Fatal(err)
	}
	_, err = provider.Browser(t.Context(), 0, func(address string) {
		asked, _ := url.Parse(address) // it was ours
		answer, err := http.Get(asked.Query().Get("redirect_uri") + "?error=access_denied&error_description=ask+your+boss&state=" + asked.Query().Get("state"))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	})
	want := dex.Issuer + " refused: access_denied: ask your boss"
	if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := provider.Browser(ctx, 0, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: got %v", err)
	}
	_, err = provider.Refresh(t.Context(), "a-refresh-token-that-was-made-up")
	if _, ok := errors.AsType[*RefusedError](err); !ok || strings.Contains(err.Error(), "made-up") {
		t.Errorf("a refresh token that was made up: got %v, want a refusal that does not repeat it", err)
	}
}

func TestDiscoverTakesOnlyTheIssuerThatTheHubNames(t *testing.T) {
	dex := oidctest.Start(t)
	for _, c := range []struct {
		reason string
		change func(*signin.Issuer)
		want   string
	}{
		{"another provider answers", func(i *signin.Issuer) {
			i.DiscoveryURL, i.URL = i.URL+"/.well-known/openid-configuration", "https://elsewhere.example.com"
		}, `calls itself "` + dex.Issuer + `"`},
		{"its certificate is not known", func(i *signin.Issuer) { i.CA = "" }, "certificate"},
		{"its CA cannot be read", func(i *signin.Issuer) { i.CA = "PEM" }, "cannot be read"},
		{"nothing is there", func(i *signin.Issuer) { i.URL += "/nothing" }, "404"},
	} {
		issuer := issuerOf(dex)
		c.change(&issuer)
		if _, err := Discover(t.Context(), issuer); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want that it says %q", c.reason, err, c.want)
		}
	}
}

func TestScopes(t *testing.T) {
	for _, c := range []struct {
		reason      string
		known, want []string
	}{
		{"it does not say what it knows", nil, wanted},
		{"it knows no groups, as Google", []string{"openid", "email", "profile"}, []string{"openid", "email", "profile"}},
		{"it knows more than is wanted", []string{"groups", "phone", "offline_access"}, []string{"openid", "offline_access", "groups"}},
	} {
		if diff := cmp.Diff(c.want, scopes(c.known)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
	if !slices.Equal(wanted, []string{"openid", "offline_access", "email", "profile", "groups"}) {
		t.Errorf("choosing has changed what is wanted: %v", wanted)
	}
}

func TestTokensThatAreNotTaken(t *testing.T) {
	provider := &Provider{issuer: signin.Issuer{URL: "https://issuer.example.com", ClientID: "umbel"}}
	good := map[string]any{"iss": "https://issuer.example.com", "aud": "umbel", "exp": 2e9, "nonce": "n"}
	for _, c := range []struct {
		reason string
		change map[string]any
		want   string
	}{
		{reason: "as it should be"},
		{reason: "several audiences", change: map[string]any{"aud": []string{"other", "umbel"}}},
		{"another issuer", map[string]any{"iss": "https://evil.example.com"}, `gave an ID token of "https://evil.example.com"`},
		{"another client", map[string]any{"aud": "other"}, `gave an ID token for ["other"]`},
		{"another sign-in", map[string]any{"nonce": "m"}, "of another sign-in"},
		{"no end", map[string]any{"exp": 0}, "its claims cannot be read"},
		{"an audience that is none", map[string]any{"aud": 7}, "its claims cannot be read"},
	} {
		said := map[string]any{}
		for _, from := range []map[string]any{good, c.change} {
			for key, value := range from {
				said[key] = value
			}
		}
		raw, err := json.Marshal(said)
		if err != nil {
			t.Fatal(err)
		}
		token := "e30." + base64.RawURLEncoding.EncodeToString(raw) + ".c2ln"
		got, err := provider.tokens((&oauth2.Token{}).WithExtra(map[string]any{"id_token": token}), "n")
		if c.want == "" {
			if err != nil || got.ID != token || !got.Expires.Equal(time.Unix(2e9, 0)) {
				t.Errorf("%s: got %v, %v", c.reason, got, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: got %v, want that it says %q", c.reason, err, c.want)
		}
	}
	for _, token := range []string{"", "no-token", "a.b", "a.?.c", "a.e30.c"} {
		if _, err := provider.tokens((&oauth2.Token{}).WithExtra(map[string]any{"id_token": token}), ""); err == nil {
			t.Errorf("%q was taken", token)
		}
	}
}

func FuzzParseClaims(f *testing.F) {
	f.Add("e30.eyJpc3MiOiJhIiwiYXVkIjoiYiIsImV4cCI6Mn0.c")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		said, err := parseClaims(token)
		if err == nil && said.Expires <= 0 {
			t.Errorf("%q never ends", token)
		}
		if err != nil && len(token) > 60 && strings.Contains(err.Error(), token) {
			t.Errorf("the error repeats the token: %v", err)
		}
	})
}

// The page at the end says what is ours to say, and nothing that came with the request.
func TestThePageRepeatsNothing(t *testing.T) {
	back := &callback{state: "s", came: make(chan came, 1)}
	for _, query := range []string{"?code=<script>&state=<script>", "?error=<script>&error_description=<script>&state=s", "?code=<script>&state=s"} {
		answer := httptest.NewRecorder()
		back.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, callbackPath+query, nil))
		if strings.Contains(answer.Body.String(), "script") || answer.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: answered %v %s", query, answer.Header(), answer.Body)
		}
	}
}
