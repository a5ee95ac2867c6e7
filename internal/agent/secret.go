package agent

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

// What the Secret calls the papers.
const (
	secretKey         = "key.pem"
	secretCertificate = "cert.pem"
	secretTrust       = "trust.pem"
	secretOrders      = "orders"
)

// secretHome is an identity.Home in a Secret of the member, for an agent that runs as a pod: a node may vanish, the
// Secret stays. The namespace owns it.
type secretHome struct {
	life   context.Context // of the agent: requests end with it
	client kubernetes.Interface
	log    *slog.Logger
}

// String implements identity.Home.
func (h *secretHome) String() string {
	return "secret " + v1alpha1.AgentNamespace + "/" + identity.MemberSecret
}

// Load implements identity.Home. It blocks until the API server answers, or the agent ends.
func (h *secretHome) Load() (papers identity.Papers, err error) {
	err = insist(h.life, h.log, "reading the agent's key", func(ctx context.Context) error {
		secret, err := h.get(ctx)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			papers = identity.Papers{Key: secret.Data[secretKey], Certificate: secret.Data[secretCertificate], Trust: secret.Data[secretTrust], Orders: secret.Data[secretOrders]}
		}
		return err
	})
	return papers, err
}

// Save implements identity.Home: one write of one object, on what was read just before.
func (h *secretHome) Save(papers identity.Papers) error {
	ctx, cancel := context.WithTimeout(h.life, requestTimeout)
	defer cancel()
	for {
		err := h.save(ctx, papers)
		if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
			continue // somebody else wrote it: look again
		}
		if err != nil {
			return fmt.Errorf("keeping the agent's identity in %s: %w", h, err)
		}
		return nil
	}
}

func (h *secretHome) save(ctx context.Context, papers identity.Papers) error {
	secret, err := h.get(ctx)
	if apierrors.IsNotFound(err) {
		return h.create(ctx, papers)
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(secret.Data[secretKey], papers.Key) {
		return identity.ErrOtherKey
	}
	if !fill(secret, papers) {
		return nil
	}
	_, err = h.client.CoreV1().Secrets(v1alpha1.AgentNamespace).Update(ctx, secret, metav1.UpdateOptions{})
	return err
}

func (h *secretHome) create(ctx context.Context, papers identity.Papers) error {
	key, err := identity.ParseKey(papers.Key)
	if err != nil {
		return err
	}
	fingerprint, err := identity.KeyFingerprint(key.Public())
	if err != nil {
		return err
	}
	namespace, err := h.client.CoreV1().Namespaces().Get(ctx, v1alpha1.AgentNamespace, metav1.GetOptions{})
	if err != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: v1alpha1.AgentNamespace, Name: identity.MemberSecret,
			Labels:          map[string]string{"app.kubernetes.io/part-of": "umbel"},
			Annotations:     map[string]string{identity.FingerprintAnnotation: fingerprint},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Namespace", Name: namespace.Name, UID: namespace.UID}},
		},
		Data: map[string][]byte{secretKey: papers.Key},
	}
	fill(secret, papers)
	_, err = h.client.CoreV1().Secrets(v1alpha1.AgentNamespace).Create(ctx, secret, metav1.CreateOptions{})
	return err
}

// fill puts certificate and trust into the Secret, those that papers have, and says whether that changed it.
func fill(secret *corev1.Secret, papers identity.Papers) (changed bool) {
	for name, part := range map[string][]byte{secretCertificate: papers.Certificate, secretTrust: papers.Trust, secretOrders: papers.Orders} {
		if len(part) > 0 && !bytes.Equal(secret.Data[name], part) {
			secret.Data[name], changed = part, true
		}
	}
	return changed
}

func (h *secretHome) get(ctx context.Context) (*corev1.Secret, error) {
	return h.client.CoreV1().Secrets(v1alpha1.AgentNamespace).Get(ctx, identity.MemberSecret, metav1.GetOptions{})
}
