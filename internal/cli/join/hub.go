package join

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/word"
)

// register makes the cluster known to the hub, or sets the labels and the level of a member that it knows, and says what is to be done, and
// for which level.
func (o *Options) register(ctx context.Context, hub kube.Client, here found) (course, v1alpha1.Level, error) {
	for {
		member := &v1alpha1.MemberCluster{}
		err := hub.Get(ctx, kube.ObjectKey{Name: string(o.Name)}, member)
		if apierrors.IsNotFound(err) {
			member = nil
		} else if err != nil {
			return "", "", err
		}
		todo, err := decide(o.Name, member, here)
		if err != nil {
			return "", "", err
		}
		if member != nil {
			err := o.describe(ctx, hub, member)
			return todo, member.Spec.Stands(), err
		}
		member = &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: string(o.Name), Labels: o.Labels, Annotations: o.Annotations}}
		if o.Level != nil {
			member.Spec.Level = *o.Level
		}
		err = hub.Create(ctx, member)
		if !apierrors.IsAlreadyExists(err) {
			return todo, member.Spec.Stands(), err
		}
		// Somebody else made it just now: decide again.
	}
}

// describe sets the labels, the annotations and the level that were given.
func (o *Options) describe(ctx context.Context, hub kube.Client, member *v1alpha1.MemberCluster) error {
	patch := kube.MergeFrom(member.DeepCopy())
	for k, v := range o.Labels {
		metav1.SetMetaDataLabel(&member.ObjectMeta, k, v)
	}
	for k, v := range o.Annotations {
		metav1.SetMetaDataAnnotation(&member.ObjectMeta, k, v)
	}
	if o.Level != nil {
		if err := word.SetLevel(member, *o.Level); err != nil && !errors.Is(err, word.ErrAlreadySo) {
			return err
		}
	}
	return hub.Patch(ctx, member, patch)
}
