package provider

import (
	"context"
	"errors"
	"fmt"
)

// Device has the person sign in on another machine. show is told the address to open there, and the code to enter.
func (p *Provider) Device(ctx context.Context, show func(address, code string)) (Tokens, error) {
	if p.config.Endpoint.DeviceAuthURL == "" {
		return Tokens{}, fmt.Errorf("%s has no sign-in from another machine (device_authorization_endpoint): leave --device out", p.issuer.URL)
	}
	ctx = p.with(ctx)
	asked, err := p.config.DeviceAuth(ctx)
	if err != nil {
		return Tokens{}, p.explain(err)
	}
	address := asked.VerificationURIComplete
	if address == "" {
		address = asked.VerificationURI
	}
	show(address, asked.UserCode)
	token, err := p.config.DeviceAccessToken(ctx, asked)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Tokens{}, fmt.Errorf("nobody signed in with the code: %w", err)
	}
	if err != nil {
		return Tokens{}, p.explain(err)
	}
	return p.tokens(token, "")
}
