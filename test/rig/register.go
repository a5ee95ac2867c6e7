package rig

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

// Register makes a cluster a member as `umbel join` does, and returns the bootstrap that an agent begins with.
func Register(ctx context.Context, api kube.Client, name v1alpha1.ClusterName, labels map[string]string) (v1alpha1.Bootstrap, error) {
	var info corev1.ConfigMap
	if err := api.Get(ctx, kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}, &info); err != nil {
		return v1alpha1.Bootstrap{}, err
	}
	boot := v1alpha1.Bootstrap{Cluster: name, Address: info.Data[v1alpha1.HubInfoAddress], CA: info.Data[v1alpha1.HubInfoCA]}
	var err error
	if boot.Token, err = identity.NewToken(); err != nil {
		return boot, err
	}
	if err := api.Create(ctx, &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: string(name), Labels: labels}}); err != nil {
		return boot, err
	}
	return boot, api.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret(name)},
		Type:       v1alpha1.JoinTokenType,
		StringData: map[string]string{
			v1alpha1.JoinTokenHash:    identity.HashToken(boot.Token),
			v1alpha1.JoinTokenExpires: time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		},
	})
}
