package provider

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// callbackPath is where the browser comes back to.
const callbackPath = "/callback"

// page is what the person sees at the end; %s is a sentence of ours.
const page = "<!doctype html><meta charset=utf-8><title>umbel login</title><p>%s Return to your terminal; this window can be closed.</p>\n"

// Browser has the person sign in in a browser. port is that of loopback to which the provider sends them back, 0 for any
// that is free; show is told the address to open.
func (p *Provider) Browser(ctx context.Context, port int, show func(address string)) (Tokens, error) {
	if p.config.Endpoint.AuthURL == "" {
		return Tokens{}, fmt.Errorf("%s does not say where people sign in (authorization_endpoint): try --device", p.issuer.URL)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return Tokens{}, fmt.Errorf("waiting for the browser to come back: %w", err)
	}
	config := p.config
	// By name, not 127.0.0.1: that is what providers allow with any port.
	config.RedirectURL = "http://" + net.JoinHostPort("localhost", strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)) + callbackPath
	state, nonce, verifier := rand.Text(), rand.Text(), oauth2.GenerateVerifier()
	back := &callback{state: state, came: make(chan came, 1)}
	server := &http.Server{Handler: back, ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // it ends because it is told to
	defer serving.Wait()
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second) // for the last page to be read
		defer cancel()
		if server.Shutdown(end) != nil {
			_ = server.Close()
		}
	}()
	show(config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("nonce", nonce)))
	select {
	case <-ctx.Done():
		return Tokens{}, fmt.Errorf("nobody signed in: %w", context.Cause(ctx))
	case got := <-back.came:
		if got.err != "" {
			return Tokens{}, &RefusedError{Issuer: p.issuer.URL, Why: got.err}
		}
		token, err := config.Exchange(p.with(ctx), got.code, oauth2.VerifierOption(verifier))
		if err != nil {
			return Tokens{}, p.explain(err)
		}
		return p.tokens(token, nonce)
	}
}

// came is what the browser came back with.
type came struct{ code, err string }

// callback is where it comes back to.
type callback struct {
	state string
	came  chan came
}

// ServeHTTP implements http.Handler. What does not know the state is turned away, and waited on for no longer.
func (c *callback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Referrer-Policy", "no-referrer") // the code is in the address
	w.Header().Set("Cache-Control", "no-store")
	got, wrong := c.read(r)
	if wrong != "" {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, page, wrong)
		return
	}
	select {
	case c.came <- got:
	default: // it came before
	}
	if got.err != "" {
		fmt.Fprintf(w, page, "The identity provider has refused.")
		return
	}
	fmt.Fprintf(w, page, "The identity provider knows you.")
}

// read returns what the browser came back with, or what is wrong with it.
func (c *callback) read(r *http.Request) (got came, wrong string) {
	query := r.URL.Query()
	if r.URL.Path != callbackPath || r.Method != http.MethodGet {
		return came{}, "Nothing is here."
	}
	if subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(c.state)) != 1 {
		return came{}, "This is the end of another sign-in."
	}
	if why := query.Get("error"); why != "" {
		if more := query.Get("error_description"); more != "" {
			why += ": " + more
		}
		return came{err: why}, ""
	}
	if query.Get("code") == "" {
		return came{}, "The identity provider sent no code."
	}
	return came{code: query.Get("code")}, ""
}
