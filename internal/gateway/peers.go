package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/gateway/lobby"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

const (
	// replicaPath is below which a replica of the hub serves the others, and peerPrefix where it serves them the members that
	// are in session with it.
	replicaPath = "/replica/"
	peerPrefix  = replicaPath + "clusters/"
	// replicaTTL is how long the certificate is valid with which a replica dials the others.
	replicaTTL = 24 * time.Hour
)

// newSessionID draws what tells a session from all others, of other replicas too.
func newSessionID() string {
	var random [8]byte
	rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}

// way returns how a member's API server is reached: through its session here, or through the replica of the hub that has
// it. Nil says that the member is connected to none.
func (g *Gateway) way(ctx context.Context, cluster v1alpha1.ClusterName) http.RoundTripper {
	if here := g.members.Kube(cluster); here != nil || g.Replicas == nil {
		return here
	}
	var member v1alpha1.MemberCluster
	if err := g.client.Get(ctx, client.ObjectKey{Name: string(cluster)}, &member); err != nil || member.Status.Session == nil {
		return nil
	}
	address, alive := g.Replicas.Address(member.Status.Session.Replica)
	if !alive {
		return nil
	}
	return throughPeer{g.peers, address, cluster}
}

// authority is by what the hub's replicas know each other.
type authority interface {
	// Issuer is the CA that issues now, Roots are those that count.
	Issuer() *identity.CA
	Roots() *x509.CertPool
}

// peers are the hub's other replicas, as this one dials them.
type peers struct {
	authority authority
	name      string // of this replica
	key       *ecdsa.PrivateKey
	transport *http.Transport

	mu     sync.Mutex
	cert   *tls.Certificate
	issued time.Time
	issuer *identity.CA // of cert
}

func newPeers(authority authority, name string, key *ecdsa.PrivateKey) *peers {
	p := &peers{authority: authority, name: name, key: key}
	p.transport = &http.Transport{
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, // an upgrade needs a connection of its own
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.certificate() },
			// Verified below, against the authority as it is then.
			InsecureSkipVerify: true,
			VerifyConnection:   p.verify,
		},
		DisableCompression: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 5 * time.Second,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 10 * time.Second}).DialContext,
		MaxResponseHeaderBytes: 256 << 10, WriteBufferSize: 32 << 10, ReadBufferSize: 32 << 10,
	}
	return p
}

// certificate returns the one with which this replica dials, and issues it when it is a third through its life, or when
// another CA issues.
func (p *peers) certificate() (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	issuer := p.authority.Issuer()
	now := issuer.Now()
	if p.cert != nil && p.issuer.Certificate().Equal(issuer.Certificate()) && now.Sub(p.issued) < replicaTTL/3 {
		return p.cert, nil
	}
	certPEM, err := issuer.SignReplica(p.name, p.key.Public(), replicaTTL)
	if err != nil {
		return nil, fmt.Errorf("issuing the certificate of replica %s: %w", p.name, err)
	}
	leaf, err := identity.ParseCert(certPEM)
	if err != nil {
		return nil, err
	}
	cert := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: p.key, Leaf: leaf}
	p.cert, p.issued, p.issuer = &cert, now, issuer
	return p.cert, nil
}

// verify says whether the other end is a gateway of this hub.
func (p *peers) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return identity.ErrNoCertificate
	}
	through := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		through.AddCert(cert)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: p.authority.Roots(), Intermediates: through, DNSName: identity.ReplicaHost, CurrentTime: p.authority.Issuer().Now(),
	})
	return err
}

func (p *peers) close() {
	if p != nil {
		p.transport.CloseIdleConnections()
	}
}

// throughPeer sends requests to a member by way of the replica at address.
type throughPeer struct {
	peers   *peers
	address string
	cluster v1alpha1.ClusterName
}

// RoundTrip implements http.RoundTripper.
func (t throughPeer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	prefix := peerPrefix + url.PathEscape(string(t.cluster))
	r.URL.RawPath, r.URL.Path = prefix+r.URL.EscapedPath(), prefix+r.URL.Path
	r.URL.Scheme, r.URL.Host, r.Host = "https", t.address, t.address
	return t.peers.transport.RoundTrip(r)
}

// reasonNoReplica is the reason of a refusal of who is no replica of the hub.
const reasonNoReplica = "NoReplica"

// servePeer serves another replica of the hub: one with a certificate of its CA, of the key that the Lease of a replica which
// is alive names. The CA's key alone opens nothing here, were it stolen: for the identity of a person is believed.
func (g *Gateway) servePeer(w http.ResponseWriter, r *http.Request) {
	log := g.Log.With("peer", r.RemoteAddr, "path", r.URL.Path)
	if g.Replicas == nil {
		kubeproxy.WriteError(w, http.StatusNotFound, "this hub is one process: it has no replicas")
		return
	}
	refuse := func(code int, why, answer string) {
		log.Warn("a request that says it is from a replica of the hub was refused", "why", why)
		g.turnedAway(&refused{reason: reasonNoReplica, text: why}, r.RemoteAddr)
		kubeproxy.WriteError(w, code, answer)
	}
	from, err := g.Authority.VerifyReplica(r.Context(), r.TLS.PeerCertificates)
	if err != nil {
		refuse(http.StatusUnauthorized, err.Error(), "this path is for replicas of the hub")
		return
	}
	if !g.Replicas.Has(from, identity.CertificateFingerprint(r.TLS.PeerCertificates[0])) {
		// Of a replica that has just begun the Lease may not be known here: who asked through it is to try again.
		refuse(http.StatusServiceUnavailable, fmt.Sprintf("it has a certificate of replica %q, with a key that the Lease of no living replica of that name has", from),
			"the replica of the hub that sends this is not known to the other one; try again")
		return
	}
	lobby.Recognised(r.Context())
	if r.URL.Path == peerAudit {
		g.servePeerAudit(w, r)
		return
	}
	if r.URL.Path == peerMetrics {
		g.take(w, r)
		return
	}
	g.passOn(w, r, log.With("replica", from))
}

// passOn sends a request to a member that is in session here. The replica that it comes from has authenticated and
// authorised the person whose identity it carries, and has it in its audit log: no second line is written here.
func (g *Gateway) passOn(w http.ResponseWriter, r *http.Request, log *slog.Logger) {
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), peerPrefix), "/")
	cluster := v1alpha1.ClusterName(name)
	who, err := kubeproxy.ParseIdentity(r.Header)
	if err != nil {
		kubeproxy.WriteError(w, http.StatusBadRequest, err.Error())
		return
	}
	through := g.members.Kube(cluster)
	if through == nil { // it has moved, and the status that says so is on its way to who asked
		kubeproxy.WriteError(w, http.StatusServiceUnavailable, fmt.Sprintf("cluster %q is changing over to another replica of the hub; try again", cluster))
		return
	}
	if why := g.unread.full(who.User, cluster); why != "" {
		log.Warn("a request to a member was refused", "member", cluster, "user", who.User, "why", why)
		w.Header().Set("Retry-After", "1")
		kubeproxy.WriteError(w, http.StatusTooManyRequests, why)
		return
	}
	r.Header.Del(kubeproxy.IdentityHeader)
	answer := g.unread.answering(w, who.User, cluster, func() {
		log.Warn("an answer was cut off: it waits for its reader, as too many do", "member", cluster, "user", who.User)
	})
	err = kubeproxy.Forward(answer, r, through, who, "/"+rest)
	if err != nil {
		log.Warn("a request to a member failed", "member", cluster, "user", who.User, "error", err)
		kubeproxy.WriteError(w, http.StatusBadGateway, fmt.Sprintf("the connection to cluster %q failed: %v", cluster, err))
	}
}
