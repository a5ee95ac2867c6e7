package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"umbel.dev/umbel/internal/identity/signin"
)

// consolePath is below which the console is.
const consolePath = "/console/"

// serveBrowser answers what is the console's, and says whether that was so. To whatever else a browser asks for by itself it says how to show it.
func (g *Gateway) serveBrowser(w http.ResponseWriter, r *http.Request) bool {
	path := r.URL.Path
	switch {
	case strings.HasPrefix(path, consolePath):
		g.Console.ServeHTTP(w, r)
		return true
	case path+"/" == consolePath, path == "/" && looks(r):
		http.Redirect(w, r, consolePath, http.StatusFound)
		return true
	}
	confine(w, r)
	return false
}

// confine says to a browser how to show what members and their pods answer, which has this origin. Shown by a browser that somebody brought
// here with nothing but a client certificate, it could ask the console for what that person has open there: so it is shown as of no origin.
// Who comes with a token, such as a browser before `kubectl proxy`, is at an origin of their own.
func confine(w http.ResponseWriter, r *http.Request) {
	if looks(r) && r.Header.Get("Authorization") == "" {
		w.Header().Set("Content-Security-Policy", "sandbox; frame-ancestors 'none'")
	}
}

// looks says whether a browser asks by itself, to show something, and not a script for its page.
func looks(r *http.Request) bool {
	if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" {
		return dest != "empty"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// knownKey is where the context of a request has who makes it, when that is known already.
type knownKey struct{}

// ServeAs answers a request as it answers this person, who is known already: what the request says of who somebody is does not count.
func (g *Gateway) ServeAs(w http.ResponseWriter, r *http.Request, who user.Info) {
	g.dispatch(w, r.WithContext(context.WithValue(r.Context(), knownKey{}, who)))
}

// Knows returns who has a bearer token; code is how to answer where nobody is known.
func (g *Gateway) Knows(r *http.Request, token string) (who user.Info, code int, err error) {
	asks := &http.Request{Method: r.Method, URL: r.URL, Header: http.Header{"Authorization": {"Bearer " + token}}, RemoteAddr: r.RemoteAddr}
	who, err = g.people.who(asks.WithContext(r.Context()))
	switch {
	case errors.Is(err, errAttempts):
		return nil, http.StatusTooManyRequests, err
	case err != nil:
		return nil, http.StatusUnauthorized, err
	}
	return who, 0, nil
}

// Can says whether somebody may do something with our kinds in the hub's API.
func (g *Gateway) Can(ctx context.Context, what authorizer.AttributesRecord) (bool, error) {
	return g.people.can(ctx, what)
}

// Issuers are the identity providers that people may sign in with.
func (g *Gateway) Issuers() []signin.Issuer {
	if g.people.signIn == nil {
		return nil
	}
	return g.people.signIn.Issuers()
}

// Attempt counts a sign-in from an address, and says whether it may go on; good takes it back.
func (g *Gateway) Attempt(r *http.Request) (good func(), ok bool) {
	from := host(r.RemoteAddr)
	return func() { g.signIns.give(from) }, g.signIns.take(from)
}
