package enrol

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

// afterRestore has the agent of a cluster that was restored come back that is not connected. With the key that the hub has pinned it comes
// by itself, however old its certificate is. Of a time before it had that key, or had any, it cannot: then that key is taken back, and with
// the next pass it is given a token.
func (c *controller) afterRestore(ctx context.Context, cluster *unstructured.Unstructured, member *v1alpha1.MemberCluster) (ctrl.Result, error) {
	if !away(member) {
		return ctrl.Result{}, nil
	}
	restored, err := c.restored(ctx, cluster)
	if err != nil || !restored {
		return ctrl.Result{}, err
	}
	if _, image, err := HubInfo(ctx, c.client); err != nil || image == "" { // an agent that is no pod has its key elsewhere
		return ctrl.Result{}, err
	}
	target, err := c.reach(ctx, cluster)
	if err != nil || target == nil {
		return ctrl.Result{RequeueAfter: again}, err
	}
	key, err := keyOf(ctx, target)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("looking for the key of the agent of cluster %s, which was restored: %w", cluster.GetName(), err)
	}
	pinned := member.Status.Identity.KeyFingerprint
	if key == pinned || slices.Contains(member.Spec.RevokedKeys, pinned) { // it comes by itself, or the hub has yet to let go of its key
		return ctrl.Result{RequeueAfter: again}, nil
	}
	if len(member.Spec.RevokedKeys) >= v1alpha1.MaxRevokedKeys {
		c.events.Eventf(cluster, nil, corev1.EventTypeWarning, "TooManyKeys", "Join",
			"the cluster was restored to a time before its agent had its key, and %d of its keys were revoked, which is as many as are kept: `umbel leave %s --force` has it join anew", v1alpha1.MaxRevokedKeys, member.Name)
		return ctrl.Result{RequeueAfter: again}, nil
	}
	before := member.DeepCopy()
	member.Spec.RevokedKeys = append(member.Spec.RevokedKeys, pinned)
	if err := c.client.Patch(ctx, member, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return ctrl.Result{}, fmt.Errorf("taking back the key of the agent of cluster %s, which has it no more: %w", cluster.GetName(), err)
	}
	c.events.Eventf(cluster, nil, corev1.EventTypeNormal, "AgentAnew", "Join", "The cluster was restored to a time before its agent had its key: that is revoked, and the agent installed anew")
	return ctrl.Result{RequeueAfter: again}, nil
}

// restored says whether the control plane of a Cluster is one of ours that was restored from a snapshot.
func (c *controller) restored(ctx context.Context, cluster *unstructured.Unstructured) (bool, error) {
	ref, _, _ := unstructured.NestedStringMap(cluster.Object, "spec", "controlPlaneRef")
	if ref["kind"] != infra.HostedControlPlaneKind.Kind || ref["apiGroup"] != infra.HostedControlPlaneKind.Group {
		return false, nil
	}
	plane := &unstructured.Unstructured{}
	plane.SetGroupVersionKind(infra.HostedControlPlaneKind)
	if err := c.client.Get(ctx, client.ObjectKey{Namespace: cluster.GetNamespace(), Name: ref["name"]}, plane); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	request, _, _ := unstructured.NestedString(plane.Object, "status", "restored")
	return request != "", nil
}

// keyOf returns the fingerprint of the key that the agent of a cluster has, empty when it has none.
func keyOf(ctx context.Context, target client.Client) (string, error) {
	secret := &corev1.Secret{}
	err := target.Get(ctx, client.ObjectKey{Namespace: v1alpha1.AgentNamespace, Name: identity.MemberSecret}, secret)
	if err != nil {
		return "", client.IgnoreNotFound(err)
	}
	key := secret.Annotations[identity.FingerprintAnnotation]
	if key == "" { // it has one, and which is not known: that is not none
		return "", fmt.Errorf("the cluster's Secret %s/%s has no annotation %s, by which its key is known: delete it there, and the agent is installed anew", secret.Namespace, secret.Name, identity.FingerprintAnnotation)
	}
	return key, nil
}
