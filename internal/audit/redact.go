package audit

import (
	"net/url"
	"slices"
	"strings"
)

const (
	redacted = "REDACTED"
	// maxURI and maxAgent bound what a client may have us write; a header may be larger.
	maxURI   = 4 << 10
	maxAgent = 1 << 10
	// maxHops is how many addresses of X-Forwarded-For are kept, the last ones.
	maxHops = 8
)

// secretWords are parts of the names of query parameters whose values are credentials.
var secretWords = []string{
	"token", "password", "passwd", "secret", "authorization", "bearer", "credential", "apikey", "api_key", "api-key", "assertion", "signature", "jwt", "session",
}

// secretNames are whole names of such parameters: OAuth's and signed URLs'.
var secretNames = []string{"code", "sig", "key", "auth", "pass", "pwd"}

// redactURI returns the URI of a request without the values of parameters that are credentials, and without any value when
// none is to be kept. Names and order stay.
func redactURI(path, query string, keep keepValues) string {
	var b strings.Builder
	b.WriteString(path)
	for i, pair := range strings.Split(query, "&") {
		if query == "" {
			break
		}
		if i == 0 {
			b.WriteByte('?')
		} else {
			b.WriteByte('&')
		}
		name, value, has := strings.Cut(pair, "=")
		switch {
		case !has && pair != "" && keep == keepNone:
			pair = redacted
		case has && value != "" && (keep == keepNone || secret(name)):
			pair = name + "=" + redacted
		}
		b.WriteString(pair)
	}
	return clip(b.String(), maxURI)
}

// keepValues says which values of a query are kept.
type keepValues int

const (
	keepHarmless keepValues = iota
	keepNone
)

func secret(name string) bool {
	plain, err := url.QueryUnescape(name)
	if err != nil {
		return true // nobody can say what it is
	}
	plain = strings.ToLower(plain)
	return slices.Contains(secretNames, plain) || slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(plain, word) })
}

func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return text[:most] + "...TRUNCATED"
}
