package join

import (
	"context"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

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
