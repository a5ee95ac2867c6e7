package kubeproxy

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// IdentityHeader carries the Identity from the hub to the agent, as JSON in base64.
const IdentityHeader = "Umbel-Identity"

// maxIdentity is the most bytes that the header may take.
const maxIdentity = 32 << 10

// Identity is a person or a program that the hub has authenticated.
type Identity struct {
	User   string              `json:"user"`
	Groups []string            `json:"groups,omitempty"`
	Extra  map[string][]string `json:"extra,omitempty"`
}

// ErrNoIdentity: a request came through the tunnel without saying for whom.
var ErrNoIdentity = errors.New("the request does not say for whom it is made")

func (i Identity) encode() (string, error) {
	raw, err := json.Marshal(i)
	if err != nil {
		return "", err
	}
	text := base64.StdEncoding.EncodeToString(raw)
	if len(text) > maxIdentity {
		return "", fmt.Errorf("user %.80q has more groups and attributes than fit into %d bytes", i.User, maxIdentity)
	}
	return text, nil
}

// ParseIdentity reads IdentityHeader from a request that came through the tunnel.
func ParseIdentity(header http.Header) (Identity, error) {
	values := header.Values(IdentityHeader)
	if len(values) != 1 || len(values[0]) > maxIdentity {
		return Identity{}, ErrNoIdentity
	}
	raw, err := base64.StdEncoding.DecodeString(values[0])
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %s is not base64", ErrNoIdentity, IdentityHeader)
	}
	var identity Identity
	if err := json.Unmarshal(raw, &identity); err != nil {
		return Identity{}, fmt.Errorf("%w: %s is not JSON", ErrNoIdentity, IdentityHeader)
	}
	if identity.User == "" {
		return Identity{}, ErrNoIdentity
	}
	return identity, nil
}

// OnMember returns the identity under which a member sees one of the hub.
func (i Identity) OnMember() Identity {
	seen := Identity{User: marked(i.User), Extra: i.Extra}
	for _, group := range i.Groups {
		seen.Groups = append(seen.Groups, marked(group))
	}
	return seen
}

// hubMark begins the names by which members know users and groups of the hub that are others there.
const hubMark = "hub:"

// marked returns the name by which a member knows a user or a group of the hub. No two have the same one: what looks marked
// already is marked once more.
func marked(name string) string {
	if strings.HasPrefix(name, hubMark) || strings.HasPrefix(name, "system:") && name != "system:authenticated" {
		return hubMark + name
	}
	return name
}

// impersonate sets the headers by which the member's API server acts as the identity.
func (i Identity) impersonate(header http.Header) {
	header.Set("Impersonate-User", i.User)
	for _, group := range i.Groups {
		header.Add("Impersonate-Group", group)
	}
	for _, key := range slices.Sorted(maps.Keys(i.Extra)) {
		for _, value := range i.Extra[key] {
			header.Add("Impersonate-Extra-"+escapeKey(key), value)
		}
	}
}

// escapeKey writes a key of Extra so that it may stand in a header's name: lower case, and percent-encoded where it is
// no token (RFC 7230, 3.2.6), as the API server decodes it.
func escapeKey(key string) string {
	var b strings.Builder
	for _, c := range []byte(strings.ToLower(key)) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$&'*+-.^_`|~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// Smuggled returns the first header by which a client tries to say who it is, other than by its credentials.
func Smuggled(header http.Header) (name string, found bool) {
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if speaksOfIdentity(name) {
			return name, true
		}
	}
	return "", false
}

func speaksOfIdentity(name string) bool {
	name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	return strings.HasPrefix(name, "impersonate-") || strings.HasPrefix(name, "x-remote-") || strings.HasPrefix(name, "umbel-")
}

// strip removes whatever in header says who somebody is, credentials included.
func strip(header http.Header) {
	for name := range header {
		if speaksOfIdentity(name) {
			delete(header, name)
		}
	}
	header.Del("Authorization")
	header.Del("Proxy-Authorization")
	header.Del("Cookie")
	stripProtocols(header)
}

// bearerProtocol is how a browser gives a token with a WebSocket: as one of the protocols that it offers
// (k8s.io/apiserver/pkg/authentication/request/websocket).
const bearerProtocol = "base64url.bearer.authorization.k8s.io."

// protocols is the header in which a client offers the protocols of a WebSocket.
const protocols = "Sec-Websocket-Protocol"

// OfferedTokens returns the bearer tokens among the protocols of a WebSocket that is asked for.
func OfferedTokens(header http.Header) []string {
	if !strings.EqualFold(header.Get("Upgrade"), "websocket") {
		return nil
	}
	var tokens []string
	for _, line := range header.Values(protocols) {
		for protocol := range strings.SplitSeq(line, ",") {
			text, found := strings.CutPrefix(strings.TrimSpace(protocol), bearerProtocol)
			if token, err := base64.RawURLEncoding.DecodeString(text); found && err == nil && len(token) > 0 {
				tokens = append(tokens, string(token))
			}
		}
	}
	return tokens
}

// stripProtocols removes tokens from among the protocols of a WebSocket.
func stripProtocols(header http.Header) {
	offered := header.Values(protocols)
	header.Del(protocols)
	for _, line := range offered {
		var left []string
		for protocol := range strings.SplitSeq(line, ",") {
			if protocol = strings.TrimSpace(protocol); protocol != "" && !strings.HasPrefix(protocol, bearerProtocol) {
				left = append(left, protocol)
			}
		}
		if len(left) > 0 {
			header.Add(protocols, strings.Join(left, ", "))
		}
	}
}
