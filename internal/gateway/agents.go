package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/gateway/lobby"
	"umbel.dev/umbel/internal/gateway/members"
	"umbel.dev/umbel/internal/gateway/trust"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/identity/seal"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/internal/tunnel"
)

// refused is why an agent does not get what it wants: reason for programs and conditions, text for people.
type refused struct {
	reason string
	text   string
	// cluster is whose agent it says it is.
	cluster v1alpha1.ClusterName
	// shows says that the refusal may show in the cluster's status: a certificate of this hub proves whose agent it is or
	// was. What a stranger does shows in the log alone.
	shows bool
	// proven says that the agent has the key that is pinned: it guesses nothing when it asks again.
	proven bool
}

func (r *refused) Error() string { return r.text }

// agent leads the session of one agent, from its first stream to the end.
func (g *Gateway) agent(ctx context.Context, conn *tls.Conn, guest *lobby.Guest) {
	log := g.Log.With("peer", conn.RemoteAddr().String())
	session, err := tunnel.Server(conn, tunnel.Config{MaxStreams: maxAgentStreams})
	if err != nil {
		log.Error("starting a tunnel", "error", err)
		conn.Close()
		return
	}
	defer cutOffLate(ctx, session, conn, log)()
	defer session.Close()
	first, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	// Before its certificate was looked at nothing is accepted: a stranger fills no windows.
	member, admission := g.admit(first, session.PeerCertificates())
	switch {
	case admission == nil:
		guest.Known()
	case member.ours:
		guest.Allow(bytesOfRefused)
	}
	var kind tunnel.Kind
	control, err := session.Accept(first)
	if err == nil {
		kind, err = control.Kind()
	}
	if err == nil && kind != tunnel.Control && kind != tunnel.Rehearsal {
		err = fmt.Errorf("the first stream is %s, not %s", kind, tunnel.Control)
	}
	if err != nil {
		log.Warn("an agent did not begin a session", "error", err)
		return
	}
	var no *refused
	if errors.As(admission, &no) {
		g.turnAway(ctx, session, control, no, log)
		return
	}
	if admission != nil {
		log.Error("an agent was not looked at: it comes again", "member", member.Cluster, "error", admission)
		return
	}
	log = log.With("member", member.Cluster)
	if kind == tunnel.Rehearsal {
		g.rehearse(ctx, session, control, log)
		return
	}
	g.converse(ctx, session, control, member, log)
}

// cutOffLate cuts an agent's connection off that has not ended a moment after the hub was told to end: on a line that takes nothing any
// more a goodbye would wait for as long as a frame may, and the hub, and whoever is to lead after it, with it.
func cutOffLate(ctx context.Context, tun *tunnel.Session, conn *tls.Conn, log *slog.Logger) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		late := time.NewTimer(parting)
		defer late.Stop()
		select {
		case <-tun.Done():
		case <-late.C:
			log.Warn("an agent's connection was cut off: the hub ends, and nothing gets through")
			conn.NetConn().Close()
		}
	})
}

// rehearse lets an agent that may come in find out whether it could be in session. The member's session goes on.
func (g *Gateway) rehearse(ctx context.Context, tun *tunnel.Session, stream *tunnel.Stream, log *slog.Logger) {
	if err := session.HostRehearsal(ctx, stream, g.Version, log); err != nil {
		log.Warn("an agent's rehearsal went wrong", "error", err)
	}
	awaitEnd(ctx, tun)
}

// admitted is an agent that may come in.
type admitted struct {
	identity.Member
	// UID of its MemberCluster.
	UID types.UID
	// profile is what it is to measure.
	profile v1alpha1.MetricsProfile
	// level is how far it is to go.
	level v1alpha1.Level
	// ours says that its certificate is one of this hub, also when it may not come in.
	ours bool
}

// admit says whose agent it is and whether it may come in.
func (g *Gateway) admit(ctx context.Context, chain []*x509.Certificate) (admitted, error) {
	member, err := g.Authority.VerifyMember(ctx, chain)
	no := &refused{reason: v1alpha1.ReasonCertificateRefused, cluster: member.Cluster}
	var outdated *trust.Outdated
	switch {
	case errors.As(err, &outdated):
		// What a stolen key has signed proves nothing.
		no.text, no.shows = outdated.Error(), outdated.Role != v1alpha1.CADistrusted
		g.Log.Warn("a certificate of an authority that was given up", "member", member.Cluster, "authority", outdated.Authority,
			"role", outdated.Role, "refusedSoFar", outdated.Refused)
	case errors.Is(err, identity.ErrNoCertificate):
		no.text = "the agent presented no certificate; it gets one with the token of `umbel join`"
	case errors.Is(err, identity.ErrExpired):
		no.text, no.shows = "the agent's certificate is expired; it asks for a new one by itself, with its pinned key", true
	case errors.Is(err, identity.ErrForeign):
		no.text = "the agent's certificate is not from this hub; to move the cluster to this hub, run `umbel leave` on the other one, then `umbel join` here"
	case errors.Is(err, identity.ErrNotAMember):
		no.text = "the certificate is not one of an agent; run `umbel join`"
	case err != nil:
		return admitted{Member: member}, err
	}
	if err != nil {
		return admitted{Member: member}, no
	}
	pinned, err := g.pinned(ctx, member.Cluster, member.Fingerprint)
	if err != nil {
		return admitted{Member: member, ours: true}, err
	}
	if pinned == nil {
		no.reason = session.ReasonNoMember
		no.text = fmt.Sprintf("the hub has no MemberCluster %q any more, so the agent's certificate is revoked; to come back, run `umbel join %s`", member.Cluster, member.Cluster)
		return admitted{Member: member, ours: true}, no
	}
	if no := objection(pinned, member.Fingerprint); no != nil {
		// What the hub's people decided shows by itself.
		no.shows = no.reason == session.ReasonNoMember
		return admitted{Member: member, ours: true}, no
	}
	if pinned.Status.Identity == nil {
		no.reason, no.shows = session.ReasonNoMember, true
		no.text = fmt.Sprintf("no key is pinned for %q, so the agent's certificate is worth nothing; run `umbel join %s`", member.Cluster, member.Cluster)
		return admitted{Member: member, ours: true}, no
	}
	return admitted{member, pinned.UID, pinned.Spec.Measures(), pinned.Spec.Stands(), true}, nil
}

// pinned returns the MemberCluster, or nil when there is none. It asks the cache first, which a storm of agents is
// served from, and the API when the cache speaks against the agent.
func (g *Gateway) pinned(ctx context.Context, cluster v1alpha1.ClusterName, fingerprint string) (*v1alpha1.MemberCluster, error) {
	var member v1alpha1.MemberCluster
	for _, reader := range []client.Reader{g.client, g.live} {
		err := reader.Get(ctx, client.ObjectKey{Name: string(cluster)}, &member)
		if apierrors.IsNotFound(err) {
			member = v1alpha1.MemberCluster{}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading MemberCluster %q: %w", cluster, err)
		}
		// The cache may have the MemberCluster before this one, of the same name and key.
		known := g.members.UID(cluster)
		settled := known == "" || known == member.UID || reader == g.live
		if settled && member.Status.Identity != nil && objection(&member, fingerprint) == nil {
			return &member, nil
		}
	}
	if member.Name == "" {
		return nil, nil
	}
	return &member, nil
}

// turnAway tells an agent why it is not let in, and waits a moment for it to hear.
func (g *Gateway) turnAway(ctx context.Context, tun *tunnel.Session, control *tunnel.Stream, no *refused, log *slog.Logger) {
	log.Warn("an agent was refused", "member", no.cluster, "reason", no.reason, "why", no.text)
	g.turnedAway(no, tun.RemoteAddr().String())
	g.note(ctx, no)
	if err := session.Refuse(control, no.reason, no.text); err != nil {
		log.Debug("an agent did not hear why", "error", err)
		return
	}
	awaitEnd(ctx, tun)
}

// note shows a refusal in the status of the member that it is about, if there is such a member.
func (g *Gateway) note(ctx context.Context, no *refused) {
	if !no.shows {
		return
	}
	var member v1alpha1.MemberCluster
	if err := g.client.Get(ctx, client.ObjectKey{Name: string(no.cluster)}, &member); err != nil {
		return // a name that nobody has: the log has it
	}
	reason := no.reason
	if reason == session.ReasonNoMember {
		reason = v1alpha1.ReasonCertificateRefused // of a member that is there: the key is not its
	}
	g.members.Refuse(no.cluster, member.UID, members.Refusal{Reason: reason, Message: no.text})
}

// converse runs an admitted agent's session.
func (g *Gateway) converse(ctx context.Context, tun *tunnel.Session, control *tunnel.Stream, member admitted, log *slog.Logger) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	kube := tun.Transport(tunnel.Kube)
	defer kube.CloseIdleConnections()
	presence := g.members.Begin(members.Session{
		ID: newSessionID(), Cluster: member.Cluster, UID: member.UID, Fingerprint: member.Fingerprint, End: end, Kube: kube,
		Profile: member.profile, Level: member.level,
	})
	changed, cancel := g.Desired.Subscribe(member.Cluster)
	defer cancel()

	var accepting sync.WaitGroup
	accepting.Go(func() { g.acceptStreams(ctx, tun, member.Cluster) })
	log.Info("an agent is in session", "key", member.Fingerprint[:12])
	trusted := &trusted{g.Authority, member.Issuer, member.Cluster}
	presence.Presented(trust.Fingerprint(member.Issuer))
	err := session.RunHub(ctx, control, session.HubConfig{
		Version: g.Version, Fleet: g.Fleet,
		Pace:    g.pace,
		Desired: presence.Desired,
		Changed: changed,
		Listed:  presence.Listed(),
		Orders:  presence.Orders(),
		Telling: g.telling(member.Cluster),
		Upgrade: presence.Upgrade(),
		Metrics: presence.Metrics, Measures: presence.Measures(), Level: presence.Stands,
		Issue: func(csr []byte) ([]byte, []byte, error) {
			certificate, notAfter, issuer, err := g.renew(member.Member, csr)
			var no *refused
			if errors.As(err, &no) {
				g.turnedAway(no, tun.RemoteAddr().String())
			}
			if err != nil {
				return nil, nil, err
			}
			g.issued(member.Cluster, member.Fingerprint, tun.RemoteAddr().String(), notAfter)
			trusted.issuer = issuer
			presence.Renewed(members.Paper{NotAfter: notAfter, Issuer: trust.Fingerprint(issuer)})
			return certificate, g.Authority.Bundle(), nil
		},
		Trust:    trusted,
		Observer: presence,
		Log:      log,
	})
	presence.Over(err)
	log.Info("an agent's session ended", "why", err)
	var no *session.Refused
	if errors.As(err, &no) || errors.Is(err, session.ErrNoCommonProtocol) || errors.Is(err, session.ErrSuperseded) || errors.Is(err, session.ErrBadHello) {
		awaitEnd(ctx, tun)
	}
	tun.Close()
	accepting.Wait()
}

// awaitEnd lets the agent read the last message before the connection goes.
func awaitEnd(ctx context.Context, tun *tunnel.Session) {
	read := time.NewTimer(handshakeTimeout)
	defer read.Stop()
	select {
	case <-tun.Done():
	case <-read.C:
	case <-ctx.Done():
	}
}

// acceptStreams hands the agent's streams for content to their server.
func (g *Gateway) acceptStreams(ctx context.Context, tun *tunnel.Session, cluster v1alpha1.ClusterName) {
	for {
		stream, err := tun.Accept(ctx)
		if err != nil {
			return
		}
		// There is one control stream, and a Kube stream is the hub's to open.
		g.content.Deliver(memberConn{stream.Only(tunnel.Content), cluster})
	}
}

// renew issues a certificate in a session: for the same member and the same key.
func (g *Gateway) renew(member identity.Member, csr []byte) (certificatePEM []byte, notAfter time.Time, issuer *x509.Certificate, err error) {
	request, err := identity.ParseMemberRequest(csr)
	if err != nil {
		return nil, time.Time{}, nil, err
	}
	if request.Cluster != member.Cluster || request.Fingerprint != member.Fingerprint {
		return nil, time.Time{}, nil, fmt.Errorf("the agent of %q asked for a certificate of another member or key", member.Cluster)
	}
	return g.sign(request)
}

// trusted is the authority as the session of one agent sees it. All of it happens in the goroutine of the session.
type trusted struct {
	authority *trust.Authority
	issuer    *x509.Certificate // of the certificate that the agent has
	cluster   v1alpha1.ClusterName
}

// Seal implements session.Trust.
func (t *trusted) Seal(word seal.Word) (*seal.Seal, error) {
	word.Cluster = string(t.cluster)
	return t.authority.Sign(&word)
}

// Bundle implements session.Trust.
func (t *trusted) Bundle() (*wire.TrustBundle, string) { return t.authority.For(t.issuer) }

// Changed implements session.Trust.
func (t *trusted) Changed() <-chan struct{} { return t.authority.Changed() }
