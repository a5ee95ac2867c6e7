package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/gateway/members"
	"umbel.dev/umbel/internal/gateway/trust"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/session"
)

// reasonBadRequest is the reason of a refusal that names no member.
const reasonBadRequest = "BadRequest"

// code is the status of HTTP that goes with a refusal.
func (r *refused) code() int {
	switch r.reason {
	case reasonBadRequest:
		return http.StatusBadRequest
	case reasonTooMany:
		return http.StatusTooManyRequests
	}
	return http.StatusForbidden
}

// join issues a certificate to an agent: over HTTP, before it has a session.
func (g *Gateway) join(w http.ResponseWriter, r *http.Request) {
	log := g.Log.With("peer", r.RemoteAddr)
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		writeJSON(w, http.StatusMethodNotAllowed, session.JoinRefusal{Reason: reasonBadRequest, Message: "a join is a POST"})
		return
	}
	if !g.joins.allowed(r.RemoteAddr) {
		log.Warn("a join was refused", "why", "too many failed attempts from this address")
		w.Header().Set("Retry-After", "10")
		writeJSON(w, http.StatusTooManyRequests, session.JoinRefusal{Reason: "TooManyAttempts", Message: "too many failed attempts from this address; wait ten seconds"})
		return
	}
	// Who asks is not known: it has no time to send its request drop by drop.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(handshakeTimeout))
	response, err := g.issue(r.Context(), http.MaxBytesReader(w, r.Body, session.MaxJoinBytes), r.RemoteAddr)
	var no *refused
	if errors.As(err, &no) {
		if !no.proven {
			g.joins.failed(r.RemoteAddr)
		}
		log.Warn("a join was refused", "member", no.cluster, "reason", no.reason, "why", no.text)
		g.turnedAway(no, r.RemoteAddr)
		g.note(r.Context(), no)
		writeJSON(w, no.code(), session.JoinRefusal{Reason: no.reason, Message: no.text})
		return
	}
	if err != nil {
		log.Error("a join failed", "error", err)
		writeJSON(w, http.StatusServiceUnavailable, session.JoinRefusal{Reason: "HubUnavailable", Message: "the hub cannot issue certificates now; its log says why"})
		return
	}
	writeJSON(w, http.StatusOK, response)
}

// issue decides about a request and, when it is granted, pins the key and signs.
func (g *Gateway) issue(ctx context.Context, body io.Reader, peer string) (session.JoinResponse, error) {
	var ask session.JoinRequest
	if err := json.NewDecoder(body).Decode(&ask); err != nil {
		return session.JoinResponse{}, &refused{reason: reasonBadRequest, text: "the request is not a JSON object with cluster, token and csr"}
	}
	request, err := identity.ParseMemberRequest(ask.CSR)
	if err != nil {
		return session.JoinResponse{}, &refused{reason: reasonBadRequest, text: "csr: " + err.Error()}
	}
	if request.Cluster != ask.Cluster {
		return session.JoinResponse{}, &refused{
			reason: v1alpha1.ReasonTokenRefused,
			text:   fmt.Sprintf("cluster is %.63q and the certificate request is for %.63q; they have to be the same", ask.Cluster, request.Cluster),
		}
	}
	for {
		granted, err := g.grant(ctx, ask, request)
		if apierrors.IsConflict(err) {
			continue // somebody else wrote the MemberCluster: decide again
		}
		if err != nil {
			return session.JoinResponse{}, err
		}
		g.issued(request.Cluster, request.Fingerprint, peer, granted.paper.NotAfter)
		g.members.Issued(request.Cluster, granted.uid, granted.paper)
		g.Log.Info("a certificate was issued", "member", request.Cluster, "key", request.Fingerprint[:12], "notAfter", granted.paper.NotAfter)
		return session.JoinResponse{Certificate: string(granted.certificate), Trust: string(g.Authority.Bundle())}, nil
	}
}

// granted is a certificate for the agent of a MemberCluster.
type granted struct {
	uid         types.UID
	certificate []byte
	paper       members.Paper
}

// grant decides on what the API says now. The key is pinned before the certificate is handed out.
func (g *Gateway) grant(ctx context.Context, ask session.JoinRequest, request identity.MemberRequest) (granted, error) {
	var member v1alpha1.MemberCluster
	err := g.live.Get(ctx, client.ObjectKey{Name: string(request.Cluster)}, &member)
	if apierrors.IsNotFound(err) {
		if err := g.register(ctx, ask, request); err != nil {
			return granted{}, err
		}
		err = g.live.Get(ctx, client.ObjectKey{Name: string(request.Cluster)}, &member)
	}
	if err != nil {
		return granted{}, fmt.Errorf("reading MemberCluster %q: %w", request.Cluster, err)
	}
	if no := objection(&member, request.Fingerprint); no != nil && no.reason != v1alpha1.ReasonPendingApproval {
		return granted{}, no
	}
	if member.Status.Identity == nil {
		if err := g.pin(ctx, &member, ask, request); err != nil {
			return granted{}, err
		}
	}
	if no := objection(&member, request.Fingerprint); no != nil {
		return granted{}, no
	}
	certificate, notAfter, issuer, err := g.Authority.SignMember(request, g.CertificateTTL)
	return granted{member.UID, certificate, members.Paper{NotAfter: notAfter, Issuer: trust.Fingerprint(issuer)}}, err
}

// pin makes the key that asks the member's one, if it may: the one that registered the cluster, or who has its token. Then
// the token goes: from now on the pinned key is enough. Where that fails, or the hub dies in between, it goes with the first
// session or when the key is revoked (package members), before another key could be pinned. A refusal shows in the status,
// whoever asked: the member waits for its first agent, and whoever runs `umbel join` looks there.
func (g *Gateway) pin(ctx context.Context, member *v1alpha1.MemberCluster, ask session.JoinRequest, request identity.MemberRequest) error {
	var err error
	if name, fleet := identity.FleetTokenName(ask.Token); fleet && registeredBy(member, request.Fingerprint) {
		err = g.settle(ctx, name, ask, request)
	} else {
		err = g.checkToken(ctx, ask)
	}
	var no *refused
	if errors.As(err, &no) {
		no.shows = true
	}
	if err != nil {
		return err
	}
	g.members.Pinning(request.Cluster, member.UID)
	before := member.DeepCopy()
	member.Status.Identity = &v1alpha1.MemberIdentity{KeyFingerprint: request.Fingerprint}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := g.client.Status().Patch(ctx, member, patch); err != nil {
		return fmt.Errorf("pinning the key of %q: %w", request.Cluster, err)
	}
	return members.DeleteToken(ctx, g.client, request.Cluster)
}

// objection says why the agent that has proved a key does not get what it wants, as the MemberCluster has it; nil when it
// does. Where no key is pinned yet that is the token's to decide.
func objection(member *v1alpha1.MemberCluster, fingerprint string) *refused {
	no := &refused{cluster: v1alpha1.ClusterName(member.Name)}
	pinned, hold := member.Status.Identity, members.Held(member)
	switch {
	case members.Revoked(member, fingerprint):
		no.reason = v1alpha1.ReasonKeyRevoked
		no.text = fmt.Sprintf("the agent's key was revoked on the hub; `umbel join %s` lets the cluster in again, with a new key", member.Name)
		return no
	case pinned != nil && pinned.KeyFingerprint != fingerprint:
		no.reason = session.ReasonNoMember
		no.text = fmt.Sprintf("the agent's key is not the one that is pinned for %q: its join token has been used by another key; "+
			"if this is the right cluster, run `umbel leave %s --force`, then `umbel join %s`", member.Name, member.Name, member.Name)
		return no
	case hold != nil && hold.Reason != v1alpha1.ReasonKeyRevoked:
		no.reason, no.text, no.proven = hold.Reason, hold.Message, pinned != nil
		return no
	}
	return nil
}

// checkToken says whether the token of a request is the one that was made for the member.
func (g *Gateway) checkToken(ctx context.Context, ask session.JoinRequest) error {
	no := &refused{reason: v1alpha1.ReasonTokenRefused, cluster: ask.Cluster}
	again := fmt.Sprintf("; run `umbel join %s` again for a new one", ask.Cluster)
	key := client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret(ask.Cluster)}
	var secret corev1.Secret
	err := g.live.Get(ctx, key, &secret)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading the join token %s: %w", key, err)
	}
	expires, parseErr := time.Parse(time.RFC3339, string(secret.Data[v1alpha1.JoinTokenExpires]))
	switch {
	case err != nil || secret.Type != v1alpha1.JoinTokenType:
		no.text = "there is no join token for the cluster: it was used, or never made" + again
	case !identity.TokenMatches(ask.Token, string(secret.Data[v1alpha1.JoinTokenHash])):
		no.text = "the join token is wrong" + again
	case parseErr != nil || time.Now().After(expires):
		no.text = "the join token has expired" + again
	default:
		return nil
	}
	return no
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(body)
}

// attempts counts failed joins by address: twenty at once, then one a second.
type attempts struct {
	now func() time.Time

	mu   sync.Mutex
	from map[string]*rate.Limiter
}

func newAttempts(now func() time.Time) *attempts {
	return &attempts{now: now, from: map[string]*rate.Limiter{}}
}

// maxAddresses is how many addresses with failures are remembered.
const maxAddresses = 10_000

func (a *attempts) allowed(peer string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	limiter := a.from[host(peer)]
	return limiter == nil || limiter.TokensAt(a.now()) >= 1
}

func (a *attempts) failed(peer string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	limiter := a.from[host(peer)]
	if limiter == nil {
		a.forget()
		limiter = rate.NewLimiter(1, 20)
		a.from[host(peer)] = limiter
	}
	limiter.AllowN(a.now(), 1)
}

// forget drops addresses that have paid, and everything when that is not enough.
func (a *attempts) forget() {
	if len(a.from) < maxAddresses {
		return
	}
	for peer, limiter := range a.from {
		if limiter.TokensAt(a.now()) >= 20 {
			delete(a.from, peer)
		}
	}
	if len(a.from) >= maxAddresses {
		clear(a.from)
	}
}

func host(peer string) string {
	h, _, err := net.SplitHostPort(peer)
	if err != nil {
		return peer
	}
	// One customer has a whole /64 of IPv6.
	if ip := net.ParseIP(strings.Split(h, "%")[0]); ip != nil && ip.To4() == nil {
		return ip.Mask(net.CIDRMask(64, 128)).String()
	}
	return h
}
