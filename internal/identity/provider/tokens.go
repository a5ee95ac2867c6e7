package provider

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// claims are those of an ID token that are looked at.
type claims struct {
	Issuer   string   `json:"iss"`
	Audience audience `json:"aud"`
	Expires  float64  `json:"exp"`
	Nonce    string   `json:"nonce"`
}

// audience is one name or several.
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(a))
}

// tokens takes what the provider gave, if it is what was asked for. nonce is empty when none went out.
func (p *Provider) tokens(got *oauth2.Token, nonce string) (Tokens, error) {
	id, _ := got.Extra("id_token").(string)
	if id == "" {
		return Tokens{}, fmt.Errorf("%s gave no ID token: is it an OpenID Connect provider?", p.issuer.URL)
	}
	said, err := parseClaims(id)
	switch {
	case err != nil:
		return Tokens{}, fmt.Errorf("the ID token of %s: %w", p.issuer.URL, err)
	case said.Issuer != p.issuer.URL:
		return Tokens{}, fmt.Errorf("%s gave an ID token of %q", p.issuer.URL, said.Issuer)
	case !slices.Contains(said.Audience, p.issuer.ClientID):
		return Tokens{}, fmt.Errorf("%s gave an ID token for %q, not for %q", p.issuer.URL, []string(said.Audience), p.issuer.ClientID)
	case nonce != "" && said.Nonce != nonce:
		return Tokens{}, fmt.Errorf("%s gave an ID token of another sign-in: try again", p.issuer.URL)
	}
	return Tokens{ID: id, Expires: time.Unix(int64(said.Expires), 0), Refresh: got.RefreshToken}, nil
}

// parseClaims reads the claims of an ID token, and does not look at its signature.
func parseClaims(token string) (claims, error) {
	var said claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return said, errors.New("it is no JSON web token")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(raw, &said)
	}
	if err != nil || said.Expires <= 0 {
		return said, errors.New("its claims cannot be read") // the error would have repeated them
	}
	return said, nil
}
