package provider

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"golang.org/x/oauth2"
)

// Visit is one sign-in in somebody's browser that comes back to a page of the hub. Who began it keeps it until then, where nobody else reads it.
type Visit struct {
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"`
}

// Visit begins a sign-in that comes back to redirect, and returns the address that the browser is to open.
func (p *Provider) Visit(redirect string) (Visit, string, error) {
	if p.config.Endpoint.AuthURL == "" {
		return Visit{}, "", fmt.Errorf("%s does not say where people sign in (authorization_endpoint)", p.issuer.URL)
	}
	v := Visit{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier()}
	config := p.returning(redirect)
	return v, config.AuthCodeURL(v.State, oauth2.S256ChallengeOption(v.Verifier), oauth2.SetAuthURLParam("nonce", v.Nonce)), nil
}

// Exchange gets the tokens for the code with which a Visit came back to redirect. Whoever calls has compared its state.
func (p *Provider) Exchange(ctx context.Context, v Visit, redirect, code string) (Tokens, error) {
	config := p.returning(redirect)
	token, err := config.Exchange(p.with(ctx), code, oauth2.VerifierOption(v.Verifier))
	if err != nil {
		return Tokens{}, p.explain(err)
	}
	return p.tokens(token, v.Nonce)
}

// returning is how tokens are asked for that serve once: nobody keeps a session at the provider.
func (p *Provider) returning(redirect string) oauth2.Config {
	config := p.config
	config.RedirectURL = redirect
	config.Scopes = slices.DeleteFunc(slices.Clone(config.Scopes), func(scope string) bool { return scope == "offline_access" })
	return config
}
