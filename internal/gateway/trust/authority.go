package trust

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/identity"
)

// CASecret is where the authority is kept, in SystemNamespace of the hub.
const CASecret = "umbel-member-ca"

const (
	caTTL      = 10 * 365 * 24 * time.Hour
	servingTTL = 90 * 24 * time.Hour
)

// Authority is what makes a hub this hub, as one replica knows it: who issues, who is trusted, and with which certificate
// the gateway serves. It is safe for concurrent use.
type Authority struct {
	client client.Client
	hosts  []string
	now    func() time.Time
	pace   Pace
	reread *rate.Limiter // of the Secret, on behalf of strangers

	mu      sync.Mutex
	state   *state
	version string // of the Secret
	changed chan struct{}
	serving *tls.Certificate
	refused map[string]int64 // agents, by the fingerprint of the CA of their certificate
}

// Config is what an Authority needs.
type Config struct {
	// Client must not read from a cache.
	Client client.Client
	// Hosts are the names and addresses that agents and people dial, without ports.
	Hosts []string
	// Now is the hub's clock; the default is time.Now.
	Now func() time.Time
	// Pace of rotations; the default is DefaultPace.
	Pace Pace
}

// Load reads the authority from the API and makes it at the hub's first start.
func Load(ctx context.Context, config Config) (*Authority, error) {
	a := &Authority{
		client: config.Client, hosts: withLoopback(config.Hosts), now: config.Now, pace: config.Pace,
		reread: rate.NewLimiter(1, 5), changed: make(chan struct{}), refused: map[string]int64{},
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.pace == (Pace{}) {
		a.pace = DefaultPace
	}
	secret, err := a.loadOrCreate(ctx)
	if err != nil {
		return nil, err
	}
	return a, a.take(secret)
}

// withLoopback adds the names under which the hub's own machine and its other replicas reach it.
func withLoopback(hosts []string) []string {
	hosts = append(slices.Clone(hosts), identity.ReplicaHost, v1alpha1.MembersDomain, "*."+v1alpha1.MembersDomain, "localhost", "127.0.0.1", "::1")
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// loadOrCreate returns the Secret. Of two hubs that start at once the first one's stays.
func (a *Authority) loadOrCreate(ctx context.Context) (*corev1.Secret, error) {
	for {
		secret, err := a.read(ctx)
		if !apierrors.IsNotFound(err) {
			return secret, err
		}
		ca, err := identity.NewCAAt(a.now(), caName(1), caTTL)
		if err != nil {
			return nil, err
		}
		first, err := (&state{issuer: ca, rotation: rotation{Number: 1, Phase: v1alpha1.CASettled}}).signing(a.now())
		if err != nil {
			return nil, err
		}
		secret = &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: CASecret}, Type: corev1.SecretTypeTLS,
		}
		if secret.Data, err = first.data(); err != nil {
			return nil, err
		}
		err = a.client.Create(ctx, secret)
		if err == nil {
			return secret, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("creating secret %s/%s: %w", v1alpha1.SystemNamespace, CASecret, err)
		}
	}
}

func (a *Authority) read(ctx context.Context) (*corev1.Secret, error) {
	var secret corev1.Secret
	if err := a.client.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: CASecret}, &secret); err != nil {
		return nil, fmt.Errorf("reading secret %s/%s: %w", v1alpha1.SystemNamespace, CASecret, err)
	}
	return &secret, nil
}

// take takes up what the Secret says. What cannot be used changes nothing: the hub goes on with what it knows.
func (a *Authority) take(secret *corev1.Secret) error {
	fresh, err := parse(secret)
	if err != nil {
		return fmt.Errorf("secret %s/%s: %w; restore it from a backup, every member trusts it", v1alpha1.SystemNamespace, CASecret, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if secret.ResourceVersion == a.version {
		return nil
	}
	// What a read brought must not be undone by a watch that is behind it.
	if order, err := resourceversion.CompareResourceVersion(secret.ResourceVersion, a.version); err == nil && order < 0 {
		return nil
	}
	for _, ca := range []*identity.CA{fresh.issuer, fresh.next} {
		if ca != nil {
			ca.Now = a.now
		}
	}
	before := a.state
	if fresh.signer == nil { // the driver writes one
		if fresh, err = fresh.signing(a.now()); err != nil {
			return err
		}
	}
	a.state, a.version = fresh, secret.ResourceVersion
	if before == nil || !before.issuer.Certificate().Equal(fresh.issuer.Certificate()) {
		if err := a.serve(); err != nil {
			return err
		}
	}
	close(a.changed)
	a.changed = make(chan struct{})
	return nil
}

// refresh reads the Secret.
func (a *Authority) refresh(ctx context.Context) (*corev1.Secret, error) {
	secret, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	return secret, a.take(secret)
}

func (a *Authority) current() *state {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state
}

// Changed returns a channel that is closed when the authority is another one than now.
func (a *Authority) Changed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

// Issuer returns the CA that issues now.
func (a *Authority) Issuer() *identity.CA { return a.current().issuer }

// Roots are the CAs by which the hub's replicas know each other: all whose certificates are accepted.
func (a *Authority) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, ca := range a.current().issuers() {
		pool.AddCert(ca)
	}
	return pool
}

// VerifyReplica returns which replica of the hub presented chain. One that seems foreign may be a step ahead: the API knows.
func (a *Authority) VerifyReplica(ctx context.Context, chain []*x509.Certificate) (string, error) {
	name, err := identity.VerifyReplica(a.Roots(), chain, a.now())
	if !errors.Is(err, identity.ErrForeign) || !a.reread.Allow() {
		return name, err
	}
	if _, err := a.refresh(ctx); err != nil {
		return "", err
	}
	return identity.VerifyReplica(a.Roots(), chain, a.now())
}

// CAs returns, in PEM, the CAs by which people know the hub.
func (a *Authority) CAs() []byte { return identity.EncodeCerts(a.current().issuers()) }

// Bundle returns, in PEM, by what members know the hub: the same, and whom they are not to trust.
func (a *Authority) Bundle() []byte { return a.current().trust().PEM() }

// renewalAtLast is within which time agents renew that have not when the authority of their certificate is given up.
const renewalAtLast = 10 * time.Second

// For returns what an agent is to be told whose certificate a CA issued; nil when that is not known.
func (a *Authority) For(issuer *x509.Certificate) (*wire.TrustBundle, string) {
	s := a.current()
	bundle := &wire.TrustBundle{TrustPem: s.trust().PEM()}
	if issuer != nil && !issuer.Equal(s.issuer.Certificate()) {
		within := a.pace.Renewal
		if !slices.ContainsFunc(s.issuers(), issuer.Equal) {
			within = min(within, renewalAtLast) // what it issued counts for nothing but the session that is there
		}
		bundle.RenewWithinMillis = uint32(within.Milliseconds())
	}
	return bundle, identity.TrustDigest(bundle.TrustPem)
}

// SignMember issues the certificate that request asks for, and returns the CA that did. Whether the sender may have it is
// the caller's to decide.
func (a *Authority) SignMember(request identity.MemberRequest, ttl time.Duration) (certPEM []byte, notAfter time.Time, issuer *x509.Certificate, err error) {
	ca := a.Issuer()
	certPEM, notAfter, err = ca.SignMember(request, ttl)
	return certPEM, notAfter, ca.Certificate(), err
}

// VerifyMember says whose agent presented chain, as identity.VerifyMember does. A certificate that seems foreign is looked
// at again with what the API says now; one of an authority that was given up is an *Outdated, and counted.
func (a *Authority) VerifyMember(ctx context.Context, chain []*x509.Certificate) (identity.Member, error) {
	member, err := identity.VerifyMember(a.current().issuers(), chain, a.now())
	if errors.Is(err, identity.ErrForeign) && a.reread.Allow() {
		if _, err := a.refresh(ctx); err != nil {
			return member, err
		}
		member, err = identity.VerifyMember(a.current().issuers(), chain, a.now())
	}
	if !errors.Is(err, identity.ErrForeign) {
		return member, err
	}
	s := a.current()
	former, formerErr := identity.VerifyMember(slices.Concat(s.retired, s.distrusted), chain, a.now())
	if former.Issuer == nil {
		return member, err
	}
	outdated := &Outdated{Authority: former.Issuer.Subject.CommonName, Role: s.role(former.Issuer), Refused: a.count(former.Issuer)}
	if formerErr != nil && !errors.Is(formerErr, identity.ErrExpired) {
		return member, err // not one of an agent
	}
	return member, outdated
}

// Outdated is identity.ErrForeign of a certificate whose authority is one of this hub that is retired or distrusted.
type Outdated struct {
	Authority string
	// Role is CARetired or CADistrusted.
	Role v1alpha1.CARole
	// Refused is how many agents this replica has refused because of that authority.
	Refused int64
}

func (o *Outdated) Error() string {
	if o.Role == v1alpha1.CADistrusted {
		return fmt.Sprintf("the agent's certificate is of authority %q, whose key was stolen; it asks for a new one by itself, with its pinned key", o.Authority)
	}
	return fmt.Sprintf("the agent's certificate is of authority %q, which is retired; it asks for a new one by itself, with its pinned key", o.Authority)
}

// Is implements errors.Is.
func (o *Outdated) Is(target error) bool {
	return target == identity.ErrForeign
}

func (a *Authority) count(ca *x509.Certificate) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused[Fingerprint(ca)]++
	return a.refused[Fingerprint(ca)]
}

// Serving returns the certificate that the gateway serves with, and the endorsements behind it. It is this replica's own:
// made when there is none, when two thirds of its life are over, and when another CA issues.
func (a *Authority) Serving() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	leaf := a.serving.Leaf
	begin := leaf.NotBefore.Add(identity.LongSkew)
	if now := a.now(); now.After(begin.Add(leaf.NotAfter.Sub(begin)*2/3)) || now.Before(leaf.NotBefore) {
		// The one that is there serves on when no other can be made.
		if err := a.serve(); err != nil && now.After(leaf.NotAfter) {
			return nil, err
		}
	}
	return a.serving, nil
}

// serve makes the certificate. The caller holds the lock.
func (a *Authority) serve() error {
	pair, err := a.state.issuer.IssueServer(identity.Request{
		CommonName: "umbel gateway", Hosts: a.hosts, TTL: servingTTL, Skew: identity.LongSkew,
	})
	if err != nil {
		return err
	}
	cert, err := pair.TLS()
	if err != nil {
		return err
	}
	for _, endorsement := range a.state.endorsements {
		cert.Certificate = append(cert.Certificate, endorsement.Raw)
	}
	a.serving = &cert
	return nil
}

// PublishInfo tells `umbel join` how members reach the hub: address is HOST:PORT of the gateway, agentImage the agent's
// image as members pull it.
func (a *Authority) PublishInfo(ctx context.Context, address, agentImage string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("the gateway's address %q is not HOST:PORT: %w", address, err)
	}
	return a.publish(ctx, v1alpha1.HubInfoConfigMap, map[string]string{
		v1alpha1.HubInfoAddress:    address,
		v1alpha1.HubInfoCA:         string(a.CAs()),
		v1alpha1.HubInfoAgentImage: agentImage,
	})
}

// publish sets keys of a ConfigMap, and leaves its others as they are.
func (a *Authority) publish(ctx context.Context, name string, data map[string]string) error {
	wanted := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: name}, Data: data}
	err := a.client.Create(ctx, wanted.DeepCopy())
	if apierrors.IsAlreadyExists(err) {
		empty := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: name}}
		err = a.client.Patch(ctx, wanted, client.MergeFrom(empty))
	}
	if err != nil {
		return fmt.Errorf("publishing configmap %s/%s: %w", v1alpha1.SystemNamespace, name, err)
	}
	return nil
}

// refusals is how many agents this replica has refused because of an authority.
func (a *Authority) refusals(fingerprint string) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused[fingerprint]
}
