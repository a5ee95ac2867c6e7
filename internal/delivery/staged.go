package delivery

import (
	"context"
	"fmt"
	"iter"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// Staged is what the newest Rollout of a Package says. The zero value has no cluster told anything: there is a strategy,
// and no rollout has begun.
type Staged struct {
	// Orders say which Release each cluster is told, and Releases are those that are there, by their names.
	Orders   v1alpha1.Orders
	Releases map[string]*v1alpha1.Release
	// Back: it brings the clusters back to a release that they had.
	Back bool
	// Reason and Message say where the rollout is; they are empty when it is complete.
	Reason, Message string
}

// releaseFor returns the Release that a cluster is to hold; nil when it is told nothing.
func (s *Seen) releaseFor(cluster v1alpha1.ClusterName) *v1alpha1.Release {
	release := s.Release
	if s.Staged != nil {
		release = s.Staged.Releases[s.Staged.Orders.For(cluster)]
	}
	if !s.verified(release) {
		return nil
	}
	return release
}

// releases are all that some cluster may be told.
func (s *Seen) releases() iter.Seq[*v1alpha1.Release] {
	return func(yield func(*v1alpha1.Release) bool) {
		if s.Release != nil && !yield(s.Release) || s.Staged == nil {
			return
		}
		for _, release := range s.Staged.Releases {
			if !yield(release) {
				return
			}
		}
	}
}

// replace puts others in the place of the Releases.
func (s *Seen) replace(with func(*v1alpha1.Release) *v1alpha1.Release) {
	if s.Release != nil {
		s.Release = with(s.Release)
	}
	if s.Staged == nil {
		return
	}
	staged := *s.Staged
	staged.Releases = make(map[string]*v1alpha1.Release, len(s.Staged.Releases))
	for name, release := range s.Staged.Releases {
		staged.Releases[name] = with(release)
	}
	s.Staged = &staged
}

// same says whether every cluster is told the same. The Releases of both are the very same ones where they are the same.
func (s *Staged) same(other *Staged) bool {
	if s == nil || other == nil {
		return s == other
	}
	if s.Back != other.Back || len(s.Releases) != len(other.Releases) || !s.Orders.Same(other.Orders) {
		return false
	}
	for name, release := range s.Releases {
		if other.Releases[name] != release {
			return false
		}
	}
	return true
}

// stage reads which Release each cluster is told, when the Package has a strategy.
func (c *Controller) stage(ctx context.Context, v *visit) error {
	v.seen.Staged, v.rollout = nil, nil
	if v.pkg.Spec.Rollout == nil || v.seen.Deleting {
		return nil
	}
	v.seen.Staged = &Staged{Reason: v1alpha1.ReasonRollingOut, Message: "a rollout is about to begin; clusters keep what they hold"}
	rollout, err := c.rollout(ctx, v)
	if err != nil || rollout == nil {
		return err
	}
	v.rollout = rollout
	v.seen.Staged = &Staged{
		Orders: rollout.Orders(), Releases: map[string]*v1alpha1.Release{}, Back: rollout.Spec.Purpose == v1alpha1.RolloutBack,
	}
	for _, name := range v.seen.Staged.Orders.Releases() {
		release, err := c.staged(ctx, v, name)
		if err != nil {
			return err
		}
		if release != nil {
			v.seen.Staged.Releases[name] = release
		}
	}
	v.seen.Staged.where(rollout, v.seen.Release)
	return nil
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

// where says where a rollout is, for the condition of the Package.
func (s *Staged) where(rollout *v1alpha1.Rollout, current *v1alpha1.Release) {
	progressing := meta.FindStatusCondition(rollout.Status.Conditions, v1alpha1.ConditionProgressing)
	if progressing == nil {
		progressing = &metav1.Condition{}
	}
	s.Reason = v1alpha1.ReasonRollingOut
	s.Message = fmt.Sprintf("rollout %s of %s: %s", rollout.Name, rollout.Spec.Release, progressing.Message)
	switch {
	case rollout.Status.Phase == v1alpha1.RolloutHalted:
		s.Reason = v1alpha1.ReasonRolloutHalted
	case rollout.Status.Completed == nil:
	case rollout.Spec.Purpose == v1alpha1.RolloutBack:
		s.Reason = v1alpha1.ReasonRolledBack
		s.Message = fmt.Sprintf("the clusters are back on %s (rollout %s), and not on %s", rollout.Spec.Release, rollout.Name, rollout.Spec.Newest)
	case current != nil && s.Releases[rollout.Spec.Release] == current:
		s.Reason, s.Message = "", ""
	}
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
