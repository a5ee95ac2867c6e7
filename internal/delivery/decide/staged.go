package decide

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// StagedOf is what a Rollout says; nil is one that has not begun. Releases are those of its orders that are there, by their names, and
// current is the newest one of the Package.
func StagedOf(rollout *v1alpha1.Rollout, releases map[string]*v1alpha1.Release, current *v1alpha1.Release) *Staged {
	if rollout == nil {
		return &Staged{Reason: v1alpha1.ReasonRollingOut, Message: "a rollout is about to begin; clusters keep what they hold"}
	}
	staged := &Staged{Orders: rollout.Orders(), Releases: releases, Back: rollout.Spec.Purpose == v1alpha1.RolloutBack}
	staged.where(rollout, current)
	return staged
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

// releaseFor returns the Release that a cluster is to hold; nil when it is told nothing.
func (s *Seen) releaseFor(cluster v1alpha1.ClusterName) *v1alpha1.Release {
	release := s.Release
	if s.Staged != nil {
		release = s.Staged.Releases[s.Staged.Orders.For(cluster)]
	}
	if !s.Verified(release) {
		return nil
	}
	return release
}

// Toward is what would be seen if a rollout told every cluster a Release.
func (s Seen) Toward(release *v1alpha1.Release, purpose v1alpha1.RolloutPurpose) Seen {
	everyone := v1alpha1.Rollout{Spec: v1alpha1.RolloutSpec{Previous: release.Name}}
	s.Staged = &Staged{
		Orders: everyone.Orders(), Releases: map[string]*v1alpha1.Release{release.Name: release}, Back: purpose == v1alpha1.RolloutBack,
	}
	return s
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
