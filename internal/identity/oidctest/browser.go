package oidctest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// maxPages bounds how many forms a sign-in may have.
const maxPages = 10

// Browse opens a page of the provider, as the person would in a browser: it follows redirects and fills in forms until
// a page has none, and returns the text of that page and where it is.
func (p *Provider) Browse(who Person, address string) (text, at string, err error) {
	client := p.Client()
	if client.Jar, err = cookiejar.New(nil); err != nil {
		return "", "", err
	}
	answer, err := client.Get(address)
	for range maxPages {
		if err != nil {
			return "", "", err
		}
		form, text, err := read(answer)
		if err != nil || form == nil {
			return text, answer.Request.URL.String(), err
		}
		answer, err = form.submit(client, answer.Request.URL, who)
		if err != nil {
			return "", "", err
		}
	}
	return "", "", fmt.Errorf("after %d pages there is still a form: is the password of %s right?", maxPages, who.Email)
}

// form is the first of a page.
type form struct {
	method, action string
	fields         url.Values
}

// read returns the form of an answer, nil when there is none, and the text of the page.
func read(answer *http.Response) (*form, string, error) {
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, "", err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("%s: %s: %s", answer.Request.URL, answer.Status, raw)
	}
	root, err := html.Parse(strings.NewReader(string(raw)))
	if err != nil {
		return nil, "", err
	}
	var found *form
	for node := range root.Descendants() {
		switch {
		case node.Type != html.ElementNode:
		case node.Data == "form" && found == nil:
			found = &form{method: strings.ToUpper(attribute(node, "method")), action: attribute(node, "action"), fields: url.Values{}}
		case node.Data == "form":
			return found, string(raw), nil
		case node.Data == "input" && found != nil && attribute(node, "name") != "":
			found.fields.Set(attribute(node, "name"), attribute(node, "value"))
		}
	}
	return found, string(raw), nil
}

func attribute(node *html.Node, key string) string {
	for _, a := range node.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// submit fills the form in and sends it.
func (f *form) submit(client *http.Client, page *url.URL, who Person) (*http.Response, error) {
	for field, value := range map[string]string{"login": who.Email, "password": who.Password} {
		if f.fields.Has(field) {
			f.fields.Set(field, value)
		}
	}
	target, err := page.Parse(f.action)
	if err != nil {
		return nil, err
	}
	if f.method == http.MethodPost {
		return client.PostForm(target.String(), f.fields)
	}
	target.RawQuery = f.fields.Encode()
	return client.Get(target.String())
}

// Token signs a person in and returns an ID token for ClientID, without any program of ours.
func (p *Provider) Token(who Person) string {
	p.t.Helper()
	return p.TokenFor(who, ClientID)
}

// TokenFor is Token for another audience. The provider has to know it as a client.
func (p *Provider) TokenFor(who Person, client string) string {
	p.t.Helper()
	verifier := rand.Text() + rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	// Nobody listens there: the browser stops where the provider sends it to.
	redirect := "http://localhost:1/callback"
	query := url.Values{
		"client_id": {client}, "response_type": {"code"}, "scope": {"openid email profile groups"}, "redirect_uri": {redirect},
		"state": {"s"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	_, _, err := p.Browse(who, p.Issuer+"/auth?"+query.Encode())
	stopped, ok := err.(*url.Error)
	if !ok || !strings.HasPrefix(stopped.URL, redirect) {
		p.t.Fatalf("the provider did not send %s back: %v", who.Email, err)
	}
	at, err := url.Parse(stopped.URL)
	if err != nil {
		p.t.Fatal(err)
	}
	answer, err := p.Client().PostForm(p.Issuer+"/token", url.Values{
		"client_id": {client}, "grant_type": {"authorization_code"}, "code": {at.Query().Get("code")},
		"redirect_uri": {redirect}, "code_verifier": {verifier},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	var said struct {
		IDToken string `json:"id_token"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil || said.IDToken == "" {
		p.t.Fatalf("the provider gave no token: %s, %v", answer.Status, err)
	}
	return said.IDToken
}
