package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity/seal"
	"umbel.dev/umbel/internal/tunnel"
)

// JoinPath is where a hub issues certificates: POST, a JoinRequest in JSON. It answers 200 with a JoinResponse, or
// another code with a JoinRefusal.
const JoinPath = "/v1/join"

// MaxJoinBytes is the most that a JoinRequest or its answer may take.
const MaxJoinBytes = 64 << 10

// JoinRequest asks for a certificate. The hub grants it to the pinned key of the member, and, where none is pinned
// yet, to who has the token; it may be repeated.
type JoinRequest struct {
	Cluster v1alpha1.ClusterName `json:"cluster"`
	// Token of `umbel join`; not needed for the pinned key.
	Token string `json:"token,omitempty"`
	// CSR is a PKCS #10 request in DER.
	CSR []byte `json:"csr"`
}

// JoinResponse carries the certificate, leaf first, and the bundle of the hub's CAs, both in PEM.
type JoinResponse struct {
	Certificate string `json:"certificate"`
	Trust       string `json:"trust"`
	// Seal is the hub's: who knows its CA already takes no other bundle from somebody who stands between.
	Seal *seal.Seal `json:"seal,omitempty"`
}

// word is what is sealed of an answer. A request is signed with new random numbers each time, so no answer is one to two requests.
func (r JoinResponse) word(csr []byte) seal.Word {
	nonce := sha256.Sum256(csr)
	return seal.Word{Nonce: nonce[:], Message: []byte(r.Certificate + "\n" + r.Trust)}
}

// Sealed is the answer with the hub's seal.
func (r JoinResponse) Sealed(by Trust, csr []byte) (JoinResponse, error) {
	var err error
	r.Seal, err = by.Seal(r.word(csr))
	return r, err
}

// JoinRefusal says why there is none.
type JoinRefusal struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// join asks the hub for a certificate.
func join(ctx context.Context, hub tunnel.DialConfig, request JoinRequest) (JoinResponse, error) {
	address := hub.Address
	const timeout = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return JoinResponse{}, err
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+JoinPath, bytes.NewReader(body))
	if err != nil {
		return JoinResponse{}, fmt.Errorf("the hub's address %q is not HOST:PORT: %w", address, err)
	}
	post.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{
		TLSClientConfig: hub.TLS, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return hub.Connect(ctx) },
	}
	answer, err := transport.RoundTrip(post)
	if err != nil {
		return JoinResponse{}, fmt.Errorf("asking hub %s for a certificate: %w", address, tunnel.ExplainTrust(err, hub.TLS.Time))
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, MaxJoinBytes))
	if err != nil {
		return JoinResponse{}, fmt.Errorf("asking hub %s for a certificate: %w", address, err)
	}
	if answer.StatusCode != http.StatusOK {
		var refusal JoinRefusal
		if err := json.Unmarshal(raw, &refusal); err != nil || refusal.Message == "" {
			return JoinResponse{}, fmt.Errorf("asking hub %s for a certificate: it answered %s; is this the address of a hub's gateway?", address, answer.Status)
		}
		return JoinResponse{}, &Refused{Reason: refusal.Reason, Message: refusal.Message}
	}
	var response JoinResponse
	if err := json.Unmarshal(raw, &response); err != nil {
		return JoinResponse{}, fmt.Errorf("asking hub %s for a certificate: its answer is not JSON: %w", address, err)
	}
	return response, nil
}
