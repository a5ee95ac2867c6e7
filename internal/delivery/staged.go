package delivery

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
)

// stage reads which Release each cluster is told, when the Package has a strategy.
func (c *Controller) stage(ctx context.Context, v *visit) error {
	v.seen.Staged, v.rollout = nil, nil
	if v.pkg.Spec.Rollout == nil || v.seen.Deleting {
		return nil
	}
	var err error
	if v.rollout, err = c.rollout(ctx, v); err != nil {
		return err
	}
	releases, err := c.ordered(ctx, v, v.rollout)
	if err != nil {
		return err
	}
	v.seen.Staged = decide.StagedOf(v.rollout, releases, v.seen.Release)
	return nil
}

// ordered are the Releases that a rollout names and that are there, by their names.
func (c *Controller) ordered(ctx context.Context, v *visit, rollout *v1alpha1.Rollout) (map[string]*v1alpha1.Release, error) {
	releases := map[string]*v1alpha1.Release{}
	if rollout == nil {
		return releases, nil
	}
	for _, name := range rollout.Orders().Releases() {
		release, err := c.staged(ctx, v, name)
		if err != nil {
			return nil, err
		}
		if release != nil {
			releases[name] = release
		}
	}
	return releases, nil
}

// rollout returns the newest Rollout that has begun; nil when there is none. One that came out of a backup says how things
// were at another time.
func (c *Controller) rollout(ctx context.Context, v *visit) (*v1alpha1.Rollout, error) {
	var list v1alpha1.RolloutList
	err := c.client.List(ctx, &list, client.InNamespace(v.pkg.Namespace), client.MatchingFields{rolloutByPackage: v.pkg.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing the rollouts of package %s: %w", v.key, err)
	}
	var newest *v1alpha1.Rollout
	for i := range list.Items {
		r := &list.Items[i]
		_, restored := r.Annotations[v1alpha1.RestoredAnnotation]
		if r.Status.Phase == "" || restored || !metav1.IsControlledBy(r, v.pkg) {
			continue
		}
		if newest == nil || r.Spec.Number > newest.Spec.Number {
			newest = r
		}
	}
	return newest, nil
}

// staged returns a Release that a rollout names, or the current one when that is the same with variants for more clusters;
// nil when it is not there.
func (c *Controller) staged(ctx context.Context, v *visit, name string) (*v1alpha1.Release, error) {
	if v.seen.Release != nil && v.seen.Release.Name == name {
		return v.seen.Release, nil
	}
	var release v1alpha1.Release
	err := c.client.Get(ctx, client.ObjectKey{Namespace: v.pkg.Namespace, Name: name}, &release, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading release %q of package %s: %w", name, v.key, err)
	}
	if !c.believes(v, &release) {
		return nil, nil
	}
	if v.seen.Release != nil && v.seen.Release.Spec.Widens(&release.Spec) {
		return v.seen.Release, nil
	}
	return &release, nil
}

// referred says which Releases a rollout of the Package needs that is not over.
func (c *Controller) referred(ctx context.Context, v *visit) (func(release string) bool, error) {
	var list v1alpha1.RolloutList
	err := c.client.List(ctx, &list, client.InNamespace(v.pkg.Namespace), client.MatchingFields{rolloutByPackage: v.pkg.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing the rollouts of package %s: %w", v.key, err)
	}
	return func(release string) bool {
		return slices.ContainsFunc(list.Items, func(r v1alpha1.Rollout) bool { return r.Refers(release) })
	}, nil
}
