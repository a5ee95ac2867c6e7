package scrape

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"umbel.dev/umbel/internal/metrics/edge"
)

const (
	// tokenLasts is how long a token is used at most, and beforeEnd how long before its end no more.
	tokenLasts, beforeEnd = time.Hour, 10 * time.Second
	// tokensKept is how many are kept.
	tokensKept = 1000
)

// tokens are those that were asked for, in memory alone, by what they were asked for with. It is safe for concurrent use.
type tokens struct {
	mu sync.Mutex
	of map[string]token
}

type token struct {
	header string
	until  time.Time
}

func (t *tokens) get(key string, now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if it := t.of[key]; now.Before(it.until) {
		return it.header
	}
	return ""
}

func (t *tokens) keep(key string, it token, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = map[string]token{}
	}
	for other, kept := range t.of {
		if !now.Before(kept.until) {
			delete(t.of, other)
		}
	}
	if len(t.of) < tokensKept {
		t.of[key] = it
	}
}

// forget has a token be asked for anew that a pod does not take.
func (t *tokens) forget(header string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, it := range t.of {
		if it.header == header {
			delete(t.of, key)
		}
	}
}

// token is what a pod is shown as a client of the monitor's token endpoint. One that does not answer, or refuses, is asked once for all pods that are asked together.
func (v *vault) token(ctx context.Context, a *edge.Access) (string, error) {
	id, err := v.source(ctx, a, "oauth2.clientId", a.OAuth2.ClientID)
	if err != nil {
		return "", err
	}
	secret, err := v.value(ctx, a, "oauth2.clientSecret", "Secret", &a.OAuth2.ClientSecret)
	if err != nil {
		return "", err
	}
	c := clientcredentials.Config{
		ClientID: string(id), ClientSecret: string(secret), TokenURL: a.OAuth2.TokenURL, Scopes: a.OAuth2.Scopes, EndpointParams: url.Values{},
	}
	for name, value := range a.OAuth2.EndpointParams {
		c.EndpointParams.Set(name, value)
	}
	raw, err := json.Marshal([]any{a.Of, c.ClientID, c.ClientSecret, a.OAuth2})
	if err != nil {
		return "", err
	}
	key := fmt.Sprintf("%x", sha256.Sum256(raw))
	if header := v.tokens.get(key, time.Now()); header != "" {
		return header, nil
	}
	return v.asked.get(ctx, key, func(ctx context.Context) (string, error) {
		header, until, err := v.ask(ctx, a, &c)
		if err == nil {
			v.tokens.keep(key, token{header, until}, time.Now())
		}
		return header, err
	})
}

// ask asks a token endpoint. It does not follow where that leads, and nothing of what it answers is in the error: it was told a secret.
func (v *vault) ask(ctx context.Context, a *edge.Access, c *clientcredentials.Config) (header string, until time.Time, err error) {
	secured, err := v.tls(ctx, a, "oauth2.tlsConfig", a.OAuth2.TLSConfig)
	if err != nil {
		return "", until, err
	}
	way := &http.Transport{TLSClientConfig: secured, DisableKeepAlives: true}
	if proxy, err := url.Parse(a.OAuth2.ProxyURL); err == nil && proxy.Host != "" {
		way.Proxy = http.ProxyURL(proxy)
	}
	web := &http.Client{
		Transport:     way,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	got, err := c.Token(context.WithValue(ctx, oauth2.HTTPClient, web))
	var refused *oauth2.RetrieveError
	var unheard *url.Error
	switch {
	case err == nil:
	case errors.As(err, &refused) && refused.Response != nil:
		return "", until, fmt.Errorf("%s: oauth2: %s answered %s", a.Of, c.TokenURL, status(refused.Response))
	case errors.As(err, &unheard):
		return "", until, fmt.Errorf("%s: oauth2: asking %s for a token: %w", a.Of, c.TokenURL, unheard.Err)
	default:
		return "", until, fmt.Errorf("%s: oauth2: %s: %w", a.Of, c.TokenURL, errNoToken)
	}
	if until = time.Now().Add(tokenLasts); !got.Expiry.IsZero() && got.Expiry.Before(until) {
		until = got.Expiry.Add(-beforeEnd)
	}
	return got.Type() + " " + got.AccessToken, until, nil
}

var errNoToken = errors.New("it answers without a token that can be read")

// status is what an answer says of how it went, without what the other side adds to it.
func status(answer *http.Response) string {
	return fmt.Sprintf("%d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
}
