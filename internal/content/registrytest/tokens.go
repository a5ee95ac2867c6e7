package registrytest

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Whom the registry believes, and who it is to them.
const (
	tokenIssuer  = "a-company"
	tokenService = "its-registry"
)

// tokens gives tokens of a registry to whoever has its password, by Docker's protocol: there is one such server for each
// company, and none that is everybody's.
type tokens struct {
	url string

	key ed25519.PrivateKey
}

func newTokens(t testing.TB, pair pair) *tokens {
	t.Helper()
	certificate, err := tls.X509KeyPair(pair.certPEM, pair.keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	s := &tokens{}
	if _, s.key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(s)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)
	s.url = server.URL + "/token"
	return s
}

// keys are what the registry verifies tokens with.
func (s *tokens) keys() []byte {
	public := base64.RawURLEncoding.EncodeToString(s.key.Public().(ed25519.PublicKey))
	return []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"one","x":"` + public + `"}]}`)
}

// ServeHTTP gives a token for what the scopes of the request name.
func (s *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if username, password, _ := r.BasicAuth(); username != Username || password != Secret {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	type access struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	}
	var allowed []access
	for _, scope := range r.URL.Query()["scope"] {
		if part := strings.Split(scope, ":"); len(part) == 3 {
			allowed = append(allowed, access{part[0], part[1], strings.Split(part[2], ",")})
		}
	}
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": tokenIssuer, "sub": Username, "aud": r.URL.Query().Get("service"), "access": allowed,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"EdDSA","typ":"JWT","kid":"one"}`)) + "." + encode(claims)
	_ = json.NewEncoder(w).Encode(map[string]string{"token": signed + "." + encode(ed25519.Sign(s.key, []byte(signed)))})
}
