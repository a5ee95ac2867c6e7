package console

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/gateway/lobby"
	"umbel.dev/umbel/internal/identity/provider"
	"umbel.dev/umbel/internal/identity/signin"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

const (
	// visitLife is how long a sign-in at a provider may take.
	visitLife = 10 * time.Minute
	// maxToken bounds what is pasted.
	maxToken = 32 << 10
	// tooMany is what is said then.
	tooMany = "too many sign-ins from this address failed; wait ten seconds"
)

// Ways says how people sign in here. It is asked by nobody in particular, and tells no secret.
type Ways struct {
	// Issuers are the URLs of identity providers.
	Issuers []string `json:"issuers"`
	Version string   `json:"version"`
}

func (c *Console) serveWays(w http.ResponseWriter, r *http.Request) {
	ways := Ways{Issuers: []string{}, Version: c.Version}
	for _, issuer := range c.Door.Issuers() {
		ways.Issuers = append(ways.Issuers, issuer.URL)
	}
	writeJSON(w, r, ways)
}

// Me is who is signed in.
type Me struct {
	User    string    `json:"user"`
	Groups  []string  `json:"groups"`
	Since   time.Time `json:"since"`
	Ends    time.Time `json:"ends"`
	Version string    `json:"version"`
}

func (c *Console) me(s *session) Me {
	return Me{User: s.User, Groups: append([]string{}, s.Groups...), Since: time.UnixMilli(s.Born).UTC(), Ends: time.UnixMilli(s.Ends).UTC(), Version: c.Version}
}

func (c *Console) serveMe(w http.ResponseWriter, r *http.Request, s *session) {
	writeJSON(w, r, c.me(s))
}

// serveSignIn begins a session for a token.
func (c *Console) serveSignIn(w http.ResponseWriter, r *http.Request) {
	c.Audit.Serve(w, r, audit.Target{Path: r.URL.Path}, func(w http.ResponseWriter, r *http.Request) {
		var said struct {
			Token string `json:"token"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxToken)).Decode(&said); err != nil || strings.TrimSpace(said.Token) == "" {
			c.refuse(w, r, http.StatusBadRequest, `what signs in is JSON with one field: {"token": "…"}`)
			return
		}
		s, code, err := c.signIn(w, r, strings.TrimSpace(said.Token))
		if err != nil {
			c.refuse(w, r, code, err.Error())
			return
		}
		writeJSON(w, r, c.me(s))
	})
}

// refuse answers with an error, and has it recorded.
func (c *Console) refuse(w http.ResponseWriter, r *http.Request, code int, why string) {
	c.Log.Warn("a sign-in to the console was refused", "peer", r.RemoteAddr, "why", why)
	audit.From(r.Context()).Refused(why)
	if code == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "10")
	}
	kubeproxy.WriteError(w, code, why)
}

// signIn begins a session for whoever a token is of. Tokens that are wrong are counted by address.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request, token string) (*session, int, error) {
	good, ok := c.Door.Attempt(r)
	if !ok {
		return nil, http.StatusTooManyRequests, fmt.Errorf("%s", tooMany)
	}
	who, code, err := c.Door.Knows(r, token)
	if err != nil {
		return nil, code, err
	}
	good()
	audit.From(r.Context()).Known(who)
	s, err := c.begin(w, who, endOf(token))
	if err != nil {
		return nil, http.StatusUnprocessableEntity, err
	}
	audit.From(r.Context()).Allowed("")
	lobby.Recognised(r.Context())
	return &s, 0, nil
}

// endOf is when a token ends, by its own word: whoever verified it believes that. Zero when it does not say.
func endOf(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Expires float64 `json:"exp"`
	}
	if json.Unmarshal(raw, &claims) != nil || claims.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Expires), 0)
}

// serveSignOut ends a session in this browser, or all sessions of the person everywhere.
func (c *Console) serveSignOut(w http.ResponseWriter, r *http.Request, s *session) {
	c.Audit.Serve(w, r, audit.Target{Path: r.URL.Path}, func(w http.ResponseWriter, r *http.Request) {
		audit.From(r.Context()).Known(s.who())
		var said struct {
			Everywhere bool `json:"everywhere"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&said); err != nil {
			kubeproxy.WriteError(w, http.StatusBadRequest, `what signs out is JSON with one field: {"everywhere": true}`)
			return
		}
		if said.Everywhere {
			if err := c.keys.end(r.Context(), s.User); err != nil {
				c.answer(w, r, nil, fmt.Errorf("ending your sessions: %w", err))
				return
			}
		}
		audit.From(r.Context()).Allowed("")
		setCookie(w, sessionCookie, "", 0, http.SameSiteStrictMode)
		w.Header().Set("Clear-Site-Data", `"cache"`)
		writeJSON(w, r, struct{}{})
	})
}

// providers are the identity providers that have said what they offer.
type providers struct {
	mu    sync.Mutex
	known map[string]*heard // by URL
}

type heard struct {
	provider *provider.Provider
	issuer   signin.Issuer
	at       time.Time
}

// heardFor is how long what a provider offers is believed.
const heardFor = 5 * time.Minute

func (p *providers) of(ctx context.Context, issuer signin.Issuer, now time.Time) (*provider.Provider, error) {
	p.mu.Lock()
	known := p.known[issuer.URL]
	p.mu.Unlock()
	if known != nil && known.issuer == issuer && now.Sub(known.at) < heardFor {
		return known.provider, nil
	}
	found, err := provider.Discover(ctx, issuer)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = map[string]*heard{}
	}
	p.known[issuer.URL] = &heard{found, issuer, now}
	return found, nil
}

// visit is what a browser keeps while somebody signs in at a provider.
type visit struct {
	provider.Visit
	Issuer string `json:"issuer"`
	// To is the page that they go on to.
	To   string `json:"to"`
	Ends int64  `json:"ends"`
}

func (c *Console) issuer(url string) (signin.Issuer, bool) {
	for _, issuer := range c.Door.Issuers() {
		if issuer.URL == url {
			return issuer, true
		}
	}
	return signin.Issuer{}, false
}

func redirectOf(r *http.Request) string { return "https://" + r.Host + "/console/callback" }

// page is the place in the console that somebody wants to go on to; its beginning when that is elsewhere.
func page(to string) string {
	at, err := url.Parse(to)
	if err != nil || at.IsAbs() || at.Host != "" || !strings.HasPrefix(at.Path, Prefix) || strings.ContainsAny(to, "\\\r\n") || strings.Contains(at.Path, "..") {
		return Prefix
	}
	return at.String()
}

// serveLogin sends a browser to an identity provider.
func (c *Console) serveLogin(w http.ResponseWriter, r *http.Request) {
	good, ok := c.Door.Attempt(r)
	if !ok {
		c.refuse(w, r, http.StatusTooManyRequests, tooMany)
		return
	}
	issuer, ok := c.issuer(r.URL.Query().Get("issuer"))
	if !ok || !hosts.MatchString(r.Host) {
		c.refuse(w, r, http.StatusBadRequest, "the hub does not know this identity provider (any more): go back to /console/ and choose again")
		return
	}
	p, err := c.providers.of(r.Context(), issuer, c.Now())
	if err != nil {
		c.refuse(w, r, http.StatusBadGateway, err.Error())
		return
	}
	begun, address, err := p.Visit(redirectOf(r))
	if err != nil {
		c.refuse(w, r, http.StatusBadGateway, err.Error())
		return
	}
	sealed, err := seal(c.keys.aead(), forVisit, visit{begun, issuer.URL, page(r.URL.Query().Get("to")), c.Now().Add(visitLife).UnixMilli()})
	if err != nil {
		c.answer(w, r, nil, err)
		return
	}
	good()
	setCookie(w, visitCookie, sealed, visitLife, http.SameSiteLaxMode) // the provider's page sends the browser back
	http.Redirect(w, r, address, http.StatusFound)
}

// onward is a page that goes on by itself: the browser that comes from a provider sends no strict cookie with what it is redirected to.
const onward = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Umbel</title><meta http-equiv="refresh" content="0;url=%s"><p>You are signed in: <a href="%[1]s">go on</a>.</p></html>
`

// serveCallback begins a session for whoever comes back from a provider.
func (c *Console) serveCallback(w http.ResponseWriter, r *http.Request) {
	c.Audit.Serve(w, r, audit.Target{Path: r.URL.Path}, func(w http.ResponseWriter, r *http.Request) {
		setCookie(w, visitCookie, "", 0, http.SameSiteLaxMode)
		to, code, err := c.comesBack(w, r)
		if err != nil {
			c.Log.Warn("a sign-in to the console was refused", "peer", r.RemoteAddr, "why", err)
			audit.From(r.Context()).Refused(err.Error())
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(code)
			fmt.Fprintf(w, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Umbel</title><p>Nobody was signed in: %s.</p><p><a href=\"%s\">Try again</a></p></html>\n",
				html.EscapeString(err.Error()), Prefix)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, onward, html.EscapeString(to))
	})
}

func (c *Console) comesBack(w http.ResponseWriter, r *http.Request) (to string, code int, err error) {
	var v visit
	cookie, err := r.Cookie(visitCookie)
	if err == nil {
		err = unseal(c.keys.aead(), forVisit, cookie.Value, &v)
	}
	query := r.URL.Query()
	switch {
	case err != nil || c.Now().UnixMilli() > v.Ends:
		return "", http.StatusBadRequest, fmt.Errorf("this browser did not begin a sign-in here in the last ten minutes")
	case subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(v.State)) != 1:
		return "", http.StatusBadRequest, fmt.Errorf("this is the end of another sign-in")
	case query.Get("error") != "":
		return "", http.StatusUnauthorized, fmt.Errorf("%s refused: %s", v.Issuer, strings.TrimSpace(query.Get("error")+" "+query.Get("error_description")))
	}
	issuer, ok := c.issuer(v.Issuer)
	if !ok {
		return "", http.StatusBadRequest, fmt.Errorf("the hub does not trust %s any more", v.Issuer)
	}
	p, err := c.providers.of(r.Context(), issuer, c.Now())
	if err != nil {
		return "", http.StatusBadGateway, err
	}
	tokens, err := p.Exchange(r.Context(), v.Visit, redirectOf(r), query.Get("code"))
	if err != nil {
		return "", http.StatusUnauthorized, err
	}
	if _, code, err := c.signIn(w, r, tokens.ID); err != nil {
		return "", code, err
	}
	return page(v.To), 0, nil
}
