package provider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"umbel.dev/umbel/internal/identity/signin"
)

const (
	// answerTime is how long a provider may take for one answer, and maxAnswer how long that may be.
	answerTime = 30 * time.Second
	maxAnswer  = 1 << 20
)

// Provider is an identity provider that has said what it offers.
type Provider struct {
	issuer signin.Issuer
	client *http.Client
	config oauth2.Config
}

// Tokens are what a provider gives.
type Tokens struct {
	// ID is the ID token, which the hub takes, and Expires when it is worth nothing any more.
	ID      string
	Expires time.Time
	// Refresh gets the next one. It is empty when the provider gives none.
	Refresh string
}

// RefusedError is the provider's no: asking again does not help, signing in again may.
type RefusedError struct {
	Issuer string
	// Why is what the provider says, in its words.
	Why string
}

func (e *RefusedError) Error() string { return e.Issuer + " refused: " + e.Why }

// wanted are the scopes that are asked for where the provider knows them. The first is what makes it OpenID Connect.
var wanted = []string{"openid", "offline_access", "email", "profile", "groups"}

// description is what a provider says of itself.
type description struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	DeviceEndpoint        string   `json:"device_authorization_endpoint"`
	Scopes                []string `json:"scopes_supported"`
}

// Discover asks the issuer what it offers.
func Discover(ctx context.Context, issuer signin.Issuer) (*Provider, error) {
	client, err := clientFor(issuer)
	if err != nil {
		return nil, err
	}
	where := issuer.DiscoveryURL
	if where == "" {
		where = strings.TrimSuffix(issuer.URL, "/") + "/.well-known/openid-configuration"
	}
	said, err := describe(ctx, client, where)
	if err != nil {
		return nil, fmt.Errorf("asking the identity provider at %s what it offers: %w", where, err)
	}
	if said.Issuer != issuer.URL {
		return nil, fmt.Errorf("the identity provider at %s calls itself %q, and the hub calls it %q", where, said.Issuer, issuer.URL)
	}
	if said.TokenEndpoint == "" {
		return nil, fmt.Errorf("the identity provider at %s does not say where it gives tokens (token_endpoint)", where)
	}
	return &Provider{issuer: issuer, client: client, config: oauth2.Config{
		ClientID: issuer.ClientID,
		Endpoint: oauth2.Endpoint{
			AuthURL: said.AuthorizationEndpoint, TokenURL: said.TokenEndpoint, DeviceAuthURL: said.DeviceEndpoint,
			AuthStyle: oauth2.AuthStyleInParams, // a public client has no secret to show in a header
		},
		Scopes: scopes(said.Scopes),
	}}, nil
}

// scopes are those of wanted that the provider knows; all of them when it does not say.
func scopes(known []string) []string {
	if len(known) == 0 {
		return wanted
	}
	asked := wanted[:1:1]
	for _, scope := range wanted[1:] {
		if slices.Contains(known, scope) {
			asked = append(asked, scope)
		}
	}
	return asked
}

func clientFor(issuer signin.Issuer) (*http.Client, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if issuer.CA != "" {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM([]byte(issuer.CA)) {
			return nil, fmt.Errorf("the hub's CA for the identity provider %s cannot be read", issuer.URL)
		}
	}
	return &http.Client{Timeout: answerTime, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: settings, ForceAttemptHTTP2: true}}, nil
}

func describe(ctx context.Context, client *http.Client, where string) (description, error) {
	var said description
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return said, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return said, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return said, errors.New(answer.Status)
	}
	return said, json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&said)
}

// Refresh gets the next tokens. The error is a *RefusedError when the session has ended at the provider.
func (p *Provider) Refresh(ctx context.Context, refresh string) (Tokens, error) {
	got, err := p.config.TokenSource(p.with(ctx), &oauth2.Token{RefreshToken: refresh}).Token()
	if err != nil {
		return Tokens{}, p.explain(err)
	}
	return p.tokens(got, "")
}

// with has oauth2 use the client that knows the provider.
func (p *Provider) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, p.client) // oauth2 has no other way
}

// explain says what went wrong, without the request or its answer: tokens may be in them.
func (p *Provider) explain(err error) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return fmt.Errorf("asking %s for tokens: %w", p.issuer.URL, err)
	}
	why := refused.ErrorCode
	if why == "" {
		why = refused.Response.Status
	}
	if refused.ErrorDescription != "" {
		why += ": " + refused.ErrorDescription
	}
	if refused.Response != nil && refused.Response.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("asking %s for tokens: %s", p.issuer.URL, why)
	}
	return &RefusedError{Issuer: p.issuer.URL, Why: why}
}
