package join

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

// tokenLife is how long the agent has to present its token.
const tokenLife = time.Hour

// hubInfo reads how members reach the hub, and the image of its agent.
func hubInfo(ctx context.Context, hub kube.Client) (v1alpha1.Bootstrap, string, error) {
	var info corev1.ConfigMap
	err := hub.Get(ctx, kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}, &info)
	if apierrors.IsNotFound(err) {
		return v1alpha1.Bootstrap{}, "", errors.New("the hub has not said yet how members reach it: is `umbel hub` running?")
	}
	if err != nil {
		return v1alpha1.Bootstrap{}, "", err
	}
	return v1alpha1.Bootstrap{Address: info.Data[v1alpha1.HubInfoAddress], CA: info.Data[v1alpha1.HubInfoCA]}, info.Data[v1alpha1.HubInfoAgentImage], nil
}

// register makes the cluster known to the hub, or sets the labels of a member that it knows, and says what is to be done.
func (o *Options) register(ctx context.Context, hub kube.Client, here found) (course, error) {
	for {
		member := &v1alpha1.MemberCluster{}
		err := hub.Get(ctx, kube.ObjectKey{Name: string(o.Name)}, member)
		if apierrors.IsNotFound(err) {
			member = nil
		} else if err != nil {
			return "", err
		}
		todo, err := decide(o.Name, member, here)
		if err != nil {
			return "", err
		}
		if member != nil {
			return todo, o.setLabels(ctx, hub, member)
		}
		err = hub.Create(ctx, &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: string(o.Name), Labels: o.Labels}})
		if !apierrors.IsAlreadyExists(err) {
			return todo, err
		}
		// Somebody else made it just now: decide again.
	}
}

func (o *Options) setLabels(ctx context.Context, hub kube.Client, member *v1alpha1.MemberCluster) error {
	patch := kube.MergeFrom(member.DeepCopy())
	if member.Labels == nil {
		member.Labels = map[string]string{}
	}
	for k, v := range o.Labels {
		member.Labels[k] = v
	}
	return hub.Patch(ctx, member, patch)
}

// token returns the one-time token of a cluster and keeps its hash on the hub. One that the cluster was given before and
// that has not been used is given again: an agent that has it need not be started anew.
func (o *Options) token(ctx context.Context, hub kube.Client, given string) (string, error) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret(o.Name)}}
	err := hub.Get(ctx, kube.ObjectKeyFromObject(secret), secret)
	if err != nil && !apierrors.IsNotFound(err) {
		return "", err
	}
	token := given
	if err != nil || !identity.TokenMatches(given, string(secret.Data[v1alpha1.JoinTokenHash])) {
		if token, err = identity.NewToken(); err != nil {
			return "", err
		}
	}
	if err := kube.IgnoreNotFound(hub.Delete(ctx, secret)); err != nil {
		return "", fmt.Errorf("taking back the join token of before: %w", err)
	}
	return token, hub.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: secret.Namespace, Name: secret.Name},
		Type:       v1alpha1.JoinTokenType,
		StringData: map[string]string{
			v1alpha1.JoinTokenHash:    identity.HashToken(token),
			v1alpha1.JoinTokenExpires: o.Now().Add(tokenLife).UTC().Format(time.RFC3339),
		},
	})
}
