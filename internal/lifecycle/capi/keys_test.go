package capi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestWhichSecretsMakeAKeyOutdated(t *testing.T) {
	const group = "infrastructure.cluster.x-k8s.io"
	secret := func(apiVersion, kind string, data map[string][]byte) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind}}}, Data: data}
	}
	old, other := map[string][]byte{"AccessKeyID": []byte("A"), "SecretAccessKey": []byte("B")}, map[string][]byte{"AccessKeyID": []byte("A"), "SecretAccessKey": []byte("C")}
	kept := secret(group+"/v1beta2", "AWSClusterStaticIdentity", old)
	labelled := kept.DeepCopy()
	labelled.Labels = map[string]string{"a": "b"}
	for _, c := range []struct {
		reason      string
		before, now any
		want        bool
	}{
		{"another key", kept, secret(group+"/v1beta2", "AWSClusterStaticIdentity", other), true},
		{"another key, that the provider has not read yet", kept, secret("", "", other), true},
		{"a key of an identity in another version", secret(group+"/v1", "AWSClusterStaticIdentity", old), secret(group+"/v1", "AWSClusterStaticIdentity", other), true},
		{"a key that is gone", kept, nil, true},
		{"the same key, with a label", kept, labelled, false},
		{"a key that the provider had not read", secret("", "", old), kept, false},
		{"another key in the place of one that it had not read", secret("", "", old), secret(group+"/v1beta2", "AWSClusterStaticIdentity", other), false},
		{"what a control plane owns", secret("controlplane.cluster.x-k8s.io/v1beta2", "KubeadmControlPlane", old), nil, false},
		{"an identity of somebody else's", secret("example.com/v1", "AWSClusterStaticIdentity", old), nil, false},
		{"what is no Secret", nil, kept, false},
	} {
		if got := outdates(c.before, c.now); got != c.want {
			t.Errorf("%s: got %t", c.reason, got)
		}
	}
}

// identityKind is the kind by which a provider says that it keeps what a Secret said.
const identityKind = `
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: awsclusterstaticidentities.infrastructure.cluster.x-k8s.io, labels: {cluster.x-k8s.io/v1beta2: v1beta2}}
spec:
  group: infrastructure.cluster.x-k8s.io
  names: {kind: AWSClusterStaticIdentity, listKind: AWSClusterStaticIdentityList, plural: awsclusterstaticidentities, singular: awsclusterstaticidentity}
  scope: Cluster
  versions: [{name: v1beta2, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`

// TestAProviderIsStartedAnewForAKey has a provider that keeps an access key be another process when that is changed, and when it is deleted. The one
// beside it, which keeps none, stays.
func TestAProviderIsStartedAnewForAKey(t *testing.T) {
	w := newWorld(t)
	hub := w.hub()
	manifests, err := os.ReadFile(filepath.Join(w.programs, "capd.yaml"))
	folder := FolderOf(hub.dir, "keeper")
	if err := errors.Join(
		err, os.MkdirAll(string(folder), 0o700), os.Symlink(filepath.Join(w.programs, "capd"), folder.Program()),
		os.WriteFile(folder.Components(), append(manifests, identityKind...), 0o600),
		w.Create(t.Context(), &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: "keeper"}, Spec: v1alpha1.ProviderSpec{Args: []string{"--feature-gates=ClusterTopology=true"}}}),
	); err != nil {
		t.Fatal(err)
	}
	w.eventually("it serves", busy, w.reason("keeper", v1alpha1.ReasonServing))
	core, first := hub.runs(w, v1alpha1.CoreProvider), hub.runs(w, "keeper")

	identity := &unstructured.Unstructured{}
	identity.SetAPIVersion("infrastructure.cluster.x-k8s.io/v1beta2")
	identity.SetKind("AWSClusterStaticIdentity")
	identity.SetName("keys")
	w.eventually("there is an identity", busy, func(ctx context.Context) error { return w.Create(ctx, identity) })
	_ = w.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}}) // it may be there
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "keys", OwnerReferences: []metav1.OwnerReference{
			{APIVersion: identity.GetAPIVersion(), Kind: identity.GetKind(), Name: identity.GetName(), UID: identity.GetUID()},
		}},
		StringData: map[string]string{"AccessKeyID": "A", "SecretAccessKey": "wrong"},
	}
	if err := w.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if err := w.Patch(t.Context(), secret, client.RawPatch(types.MergePatchType, []byte(`{"stringData":{"SecretAccessKey":"right"}}`))); err != nil {
		t.Fatal(err)
	}
	second := w.isAnother(hub, "keeper", first)
	w.eventually("it serves again", busy, w.reason("keeper", v1alpha1.ReasonServing))
	if err := w.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	w.isAnother(hub, "keeper", second)
	if now := hub.runs(w, v1alpha1.CoreProvider); now != core {
		t.Errorf("Cluster API itself, which keeps no key, was process %d, and is %d", core, now)
	}
}

// isAnother waits until a provider is another process than before, and returns that.
func (w *world) isAnother(hub *replica, provider string, before int) (now int) {
	w.Helper()
	w.eventually("it is another process", busy, func(context.Context) error {
		if now = hub.runs(w, provider); now == 0 || now == before {
			return fmt.Errorf("it is process %d", now)
		}
		return nil
	})
	return now
}
