package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

const (
	memberCASecret = "umbel-member-ca"
	servingSecret  = "umbel-gateway"

	memberCATTL = 10 * 365 * 24 * time.Hour
	servingTTL  = 90 * 24 * time.Hour
)

// Authority is what makes a hub this hub: the CA of its members' certificates and of its own.
type Authority struct {
	// CA issues the agents' certificates and the gateway's.
	CA *identity.CA

	client client.Client
	hosts  []string
}

// LoadAuthority reads the authority from the API and makes it at the hub's first start. hosts are the names and
// addresses that agents and people dial, without ports. The client must not read from a cache.
func LoadAuthority(ctx context.Context, c client.Client, hosts []string) (*Authority, error) {
	pair, err := loadOrCreate(ctx, c, memberCASecret, func() (identity.KeyPair, error) {
		ca, err := identity.NewCA("umbel members", memberCATTL)
		if err != nil {
			return identity.KeyPair{}, err
		}
		return ca.KeyPair()
	})
	if err != nil {
		return nil, err
	}
	ca, err := identity.ParseCA(pair)
	if err != nil {
		return nil, fmt.Errorf("secret %s/%s: %w; restore it from a backup, every member trusts it", v1alpha1.SystemNamespace, memberCASecret, err)
	}
	return &Authority{CA: ca, client: c, hosts: withLoopback(hosts)}, nil
}

// withLoopback adds the names under which the hub's own machine and its other replicas reach it.
func withLoopback(hosts []string) []string {
	hosts = append(slices.Clone(hosts), identity.ReplicaHost, "localhost", "127.0.0.1", "::1")
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// Serving returns the gateway's certificate, and issues a new one when there is none, when two thirds of its life are
// over, or when it lacks one of the hosts.
func (a *Authority) Serving(ctx context.Context) (*tls.Certificate, error) {
	issue := func() (identity.KeyPair, error) {
		return a.CA.IssueServer(identity.Request{CommonName: "umbel gateway", Hosts: a.hosts, TTL: servingTTL})
	}
	pair, err := loadOrCreate(ctx, a.client, servingSecret, issue)
	if err != nil {
		return nil, err
	}
	if why := a.stale(pair); why != nil {
		if pair, err = issue(); err != nil {
			return nil, err
		}
		if err := a.client.Update(ctx, tlsSecret(servingSecret, pair)); err != nil {
			return nil, fmt.Errorf("renewing secret %s/%s: %w", v1alpha1.SystemNamespace, servingSecret, err)
		}
	}
	cert, err := pair.TLS()
	if err != nil {
		return nil, fmt.Errorf("secret %s/%s: %w", v1alpha1.SystemNamespace, servingSecret, err)
	}
	return &cert, nil
}

// stale says why a serving certificate is not to be used any more.
func (a *Authority) stale(pair identity.KeyPair) error {
	cert, err := identity.ParseCert(pair.CertPEM)
	if err != nil {
		return err
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: a.CA.Pool(), CurrentTime: a.CA.Now()}); err != nil {
		return err
	}
	if renew := cert.NotBefore.Add(cert.NotAfter.Sub(cert.NotBefore) * 2 / 3); a.CA.Now().After(renew) {
		return errors.New("two thirds of its life are over")
	}
	for _, host := range a.hosts {
		if err := cert.VerifyHostname(host); err != nil {
			return err
		}
	}
	return nil
}

// loadOrCreate returns the key pair in a Secret. Of two hubs that start at once the first one's stays.
func loadOrCreate(ctx context.Context, c client.Client, name string, create func() (identity.KeyPair, error)) (identity.KeyPair, error) {
	key := client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: name}
	for {
		var secret corev1.Secret
		err := c.Get(ctx, key, &secret)
		if err == nil {
			return identity.KeyPair{CertPEM: secret.Data[corev1.TLSCertKey], KeyPEM: secret.Data[corev1.TLSPrivateKeyKey]}, nil
		}
		if !apierrors.IsNotFound(err) {
			return identity.KeyPair{}, fmt.Errorf("reading secret %s: %w", key, err)
		}
		pair, err := create()
		if err != nil {
			return identity.KeyPair{}, err
		}
		err = c.Create(ctx, tlsSecret(name, pair))
		if err == nil {
			return pair, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return identity.KeyPair{}, fmt.Errorf("creating secret %s: %w", key, err)
		}
	}
}

func tlsSecret(name string, pair identity.KeyPair) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: name},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{corev1.TLSCertKey: pair.CertPEM, corev1.TLSPrivateKeyKey: pair.KeyPEM},
	}
}

// PublishInfo tells `umbel join` how members reach the hub: address is HOST:PORT of the gateway, agentImage the agent's
// image as members pull it. It writes when that changed.
func (a *Authority) PublishInfo(ctx context.Context, address, agentImage string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("the gateway's address %q is not HOST:PORT: %w", address, err)
	}
	info := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap},
		Data: map[string]string{
			v1alpha1.HubInfoAddress:    address,
			v1alpha1.HubInfoCA:         string(a.CA.CertPEM()),
			v1alpha1.HubInfoAgentImage: agentImage,
		},
	}
	err := a.client.Create(ctx, info.DeepCopy())
	if apierrors.IsAlreadyExists(err) {
		err = a.client.Update(ctx, info)
	}
	if err != nil {
		return fmt.Errorf("publishing how members reach the hub (configmap %s/%s): %w", info.Namespace, info.Name, err)
	}
	return nil
}
