package gateway

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

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

const (
	// reasonBadRequest is the reason of a refusal that names no member.
	reasonBadRequest = "BadRequest"
	// reasonAttempts and reasonCertificates are those of refusals for now.
	reasonAttempts     = "TooManyAttempts"
	reasonCertificates = "TooManyCertificates"

	// certificateBurst is how many certificates an agent gets at once, and certificateRest how long another one takes after
	// that, at the longest. One that is well gets a few in the life of one.
	certificateBurst = 10
	certificateRest  = time.Minute
)

// code is the status of HTTP that goes with a refusal.
func (r *refused) code() int {
	switch r.reason {
	case reasonBadRequest:
		return http.StatusBadRequest
	case reasonTooMany, reasonAttempts, reasonCertificates:
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
	// Who asks is not known: it has no time to send its request drop by drop.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(handshakeTimeout))
	response, err := g.issue(r.Context(), http.MaxBytesReader(w, r.Body, session.MaxJoinBytes), r.RemoteAddr)
	var no *refused
	if errors.As(err, &no) {
		if !no.proven {
			g.joins.take(host(r.RemoteAddr))
		}
		if no.code() == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "10")
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
	if !g.joins.left(host(peer)) && !g.isPinned(ctx, request) {
		return session.JoinResponse{}, &refused{
			reason: reasonAttempts, cluster: request.Cluster, text: "too many failed attempts from this address; wait ten seconds",
		}
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
		response := session.JoinResponse{Certificate: string(granted.certificate), Trust: string(g.Authority.Bundle())}
		return response.Sealed(&trusted{authority: g.Authority, cluster: request.Cluster}, ask.CSR)
	}
}

// isPinned says whether the key of a request is a member's, as the cache has it. It has nothing to guess, and may share its
// address with somebody who does.
func (g *Gateway) isPinned(ctx context.Context, request identity.MemberRequest) bool {
	var member v1alpha1.MemberCluster
	err := g.client.Get(ctx, client.ObjectKey{Name: string(request.Cluster)}, &member)
	return err == nil && member.Status.Identity != nil && member.Status.Identity.KeyFingerprint == request.Fingerprint
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
	certificate, notAfter, issuer, err := g.sign(request)
	if err != nil {
		return granted{}, err
	}
	return granted{member.UID, certificate, members.Paper{NotAfter: notAfter, Issuer: trust.Fingerprint(issuer)}}, nil
}

// sign issues a certificate for a member's pinned key, unless it has had very many: each is in the audit log, and what one
// member does must not push everything else out of it.
func (g *Gateway) sign(request identity.MemberRequest) (certificatePEM []byte, notAfter time.Time, issuer *x509.Certificate, err error) {
	if !g.certificates.take(string(request.Cluster)) {
		return nil, time.Time{}, nil, &refused{
			reason: reasonCertificates, cluster: request.Cluster, proven: true,
			text: "the agent has got very many certificates by now; it gets another one in a minute",
		}
	}
	return g.Authority.SignMember(request, g.CertificateTTL)
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
