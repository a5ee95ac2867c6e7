package source

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Credentials are what a Secret holds for a source. The zero value is none.
type Credentials struct {
	// Username and Password for basic authentication; a registry's account.
	Username, Password string
	// Token is sent as a bearer token.
	Token string
	// Key is a private key of ssh as PEM, Passphrase what it is encrypted with, and KnownHosts lines as in ssh's file of that name.
	Key, Passphrase, KnownHosts []byte
	// CA are certificates, as PEM, of which one has issued the server's.
	CA []byte
}

// The keys of a Secret. Of those in one line the first that is there counts: ours and Kubernetes', then those that others use.
var (
	keysOfToken      = []string{"token", "bearerToken"}
	keysOfKey        = []string{"ssh-privatekey", "identity"}
	keysOfKnownHosts = []string{"known_hosts"}
	keysOfCA         = []string{"ca.crt", "caFile"}
	keysOfDocker     = []string{".dockerconfigjson"}
)

// ReadSecret takes the credentials for an address out of what a Secret holds. name is the Secret's, for errors, which name
// keys and never what is in them.
func ReadSecret(name string, data map[string][]byte, address string) (Credentials, error) {
	get := func(keys ...string) []byte {
		for _, key := range keys {
			if len(data[key]) > 0 {
				return data[key]
			}
		}
		return nil
	}
	text := func(keys ...string) string { return strings.TrimRight(string(get(keys...)), "\r\n") }
	c := Credentials{
		Username: text("username"), Password: text("password"), Token: text(keysOfToken...),
		Key: get(keysOfKey...), Passphrase: []byte(text("passphrase")), KnownHosts: get(keysOfKnownHosts...), CA: get(keysOfCA...),
	}
	if accounts := get(keysOfDocker...); accounts != nil {
		if err := c.fromDocker(accounts, address); err != nil {
			return Credentials{}, NoSecret("secret %s: %w", name, err)
		}
	}
	if c.Username+c.Password+c.Token == "" && len(c.Key) == 0 && len(c.CA) == 0 && len(c.KnownHosts) == 0 {
		return Credentials{}, NoSecret("secret %s has none of the keys username and password, token, ssh-privatekey, ca.crt, and no account of %s in .dockerconfigjson", name, hostOf(address))
	}
	if c.Token != "" && c.Password != "" && len(c.Key) == 0 {
		return Credentials{}, NoSecret("secret %s has a token and a password: one of them has to go", name)
	}
	return c, nil
}

// fromDocker takes the account of an address out of a configuration file of Docker.
func (c *Credentials) fromDocker(raw []byte, address string) error {
	var file struct {
		Auths map[string]struct{ Username, Password, Auth string }
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return fmt.Errorf("key %s is no JSON of Docker's configuration", keysOfDocker[0])
	}
	for name, account := range file.Auths {
		host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(name, "https://"), "http://"), "/")
		if strings.TrimPrefix(host, "index.") != hostOf(address) { // Docker's own is index.docker.io there
			continue
		}
		c.Username, c.Password = account.Username, account.Password
		if both, err := base64.StdEncoding.DecodeString(account.Auth); err == nil && len(both) > 0 {
			c.Username, c.Password, _ = strings.Cut(string(both), ":")
		}
	}
	return nil
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Host
}

// MayGoTo says whether credentials may be sent to an address at all, for a Secret that may say where: prefix is an address, of
// which the scheme and the host have to be the same and the path has to lead to it; empty allows every address.
func MayGoTo(prefix, address string) bool {
	if prefix == "" {
		return true
	}
	want, err := url.Parse(prefix)
	if err != nil {
		return false
	}
	got, err := url.Parse(address)
	if err != nil || want.Scheme != got.Scheme || !strings.EqualFold(want.Host, got.Host) || strings.Contains(got.Path, "/../") || strings.HasSuffix(got.Path, "/..") {
		return false
	}
	path := strings.TrimRight(want.Path, "/")
	return got.Path == path || strings.HasPrefix(got.Path, path+"/")
}

// scrub takes out of a text what must not be told.
func (c Credentials) scrub(text string) string {
	secrets := []string{c.Password, c.Token, string(c.Passphrase)}
	if c.Password != "" {
		secrets = append(secrets, base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password)))
	}
	for line := range strings.Lines(string(c.Key)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
			secrets = append(secrets, line)
		}
	}
	return Scrub(text, secrets)
}

// Scrub takes secrets out of a text, the longest first, also where the text quotes them as Go, JSON or a URL does, has them in one line, or
// has one of their lines alone. What is shorter than four characters, or a line shorter than eight, would be found in any text.
func Scrub(text string, secrets []string) string {
	var all []string
	for _, secret := range secrets {
		if len(secret) >= 4 {
			all = append(all, forms(secret)...)
		}
	}
	secrets = all
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, secret := range secrets {
		if len(secret) >= 4 {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return text
}

// forms are how a secret reads where it is quoted, or taken apart.
func forms(secret string) []string {
	all := []string{secret, strings.TrimSpace(secret), strings.Join(strings.Fields(secret), " "), url.QueryEscape(secret), url.PathEscape(secret)}
	for line := range strings.Lines(secret) {
		if line = strings.TrimSpace(line); len(line) >= 8 {
			all = append(all, line)
		}
	}
	for _, quoted := range []string{strconv.Quote(secret), strconv.QuoteToASCII(secret)} {
		all = append(all, quoted[1:len(quoted)-1])
	}
	if quoted, err := json.Marshal(secret); err == nil { // a text always can be
		all = append(all, string(quoted[1:len(quoted)-1]))
	}
	return all
}
