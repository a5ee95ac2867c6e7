package enrol

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// TestKeyOf: an agent whose key is not known is not one that has none, or the key that it has would be revoked.
func TestKeyOf(t *testing.T) {
	target, err := client.New(kubetest.Start(t), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AgentNamespace}}
	if err := target.Create(t.Context(), namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	if key, err := keyOf(t.Context(), target); key != "" || err != nil {
		t.Errorf("no Secret: %q, %v", key, err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: identity.MemberSecret}}
	if err := target.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Delete(context.Background(), secret) })
	if key, err := keyOf(t.Context(), target); err == nil || !strings.Contains(err.Error(), identity.FingerprintAnnotation) {
		t.Errorf("a Secret of which it is not said whose key it has: %q, %v", key, err)
	}
	secret.Annotations = map[string]string{identity.FingerprintAnnotation: "sha256:ab"}
	if err := target.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if key, err := keyOf(t.Context(), target); key != "sha256:ab" || err != nil {
		t.Errorf("got %q, %v", key, err)
	}
}
