package v1alpha1

import (
	"fmt"
	"slices"
)

// Orders says which Release each cluster is told by a Rollout.
type Orders struct {
	listed    map[ClusterName]string
	otherwise string
}

// Orders returns what the Rollout has clusters told. Its status has begun.
func (r *Rollout) Orders() Orders {
	o := Orders{listed: map[ClusterName]string{}, otherwise: r.Spec.Previous}
	if r.Status.Completed != nil && r.Spec.Kubernetes == nil {
		o.otherwise = r.Spec.Release
	}
	if r.Spec.Kubernetes != nil { // who was moved when it is complete is listed nowhere else, and who comes later is not its business
		for _, group := range r.Status.Moving {
			for _, name := range group.Clusters {
				o.listed[name] = r.Spec.Release
			}
		}
	}
	for _, stage := range r.Status.Stages {
		for _, name := range stage.Moved {
			o.listed[name] = r.Spec.Release
		}
	}
	for _, held := range r.Status.From {
		for _, name := range held.Clusters {
			o.listed[name] = held.Release
		}
	}
	return o
}

// For returns the Release that a cluster is told; empty when it is told nothing, and keeps what it holds.
func (o Orders) For(cluster ClusterName) string {
	if release, listed := o.listed[cluster]; listed {
		return release
	}
	return o.otherwise
}

// Releases are the names of those that some cluster is told, or may be told because it is selected only now.
func (o Orders) Releases() []string {
	names := []string{o.otherwise}
	for _, release := range o.listed {
		if !slices.Contains(names, release) {
			names = append(names, release)
		}
	}
	slices.Sort(names)
	if names[0] == "" {
		names = names[1:]
	}
	return names
}

// Same says whether two orders tell every cluster the same.
func (o Orders) Same(other Orders) bool {
	if o.otherwise != other.otherwise || len(o.listed) != len(other.listed) {
		return false
	}
	for name, release := range o.listed {
		if was, listed := other.listed[name]; !listed || was != release {
			return false
		}
	}
	return true
}

// Has says whether the status names a cluster, wherever that is.
func (s *RolloutStatus) Has(cluster ClusterName) bool {
	return s.BlockedBy(cluster) != "" || slices.ContainsFunc(s.Stages, func(stage StageStatus) bool {
		return slices.Contains(stage.Waiting, cluster) || slices.Contains(stage.Moved, cluster)
	})
}

// BlockedBy says what a cluster waits for that would not take the release now; empty when it waits for nothing of that kind.
func (s *RolloutStatus) BlockedBy(cluster ClusterName) string {
	for _, group := range s.Blocked {
		if slices.Contains(group.Clusters, cluster) {
			return group.Message
		}
	}
	return ""
}

// Over says whether the Rollout never does anything any more.
func (r *Rollout) Over() bool {
	s := &r.Status
	return s.Successor != "" || s.Phase == RolloutAborted || s.Phase == RolloutRolledBack || s.Phase == RolloutSuperseded
}

// About is what a Rollout brings to clusters: the name of a Package, or Kubernetes.
func (r *Rollout) About() string {
	if r.Spec.Kubernetes != nil {
		return "Kubernetes"
	}
	return r.Spec.PackageRef.Name
}

// RolloutName is the name of a Rollout of a Package.
func RolloutName(pkg string, number int64) string { return fmt.Sprintf("%s-%d", pkg, number) }

// Stage returns what the strategy says of a stage. The rest is as careful as the last one.
func (s *RolloutStrategy) Stage(name string) RolloutStage {
	for _, stage := range s.Stages {
		if stage.Name == name {
			return stage
		}
	}
	rest := s.Stages[len(s.Stages)-1]
	rest.Name = name
	return rest
}

// Refers says whether the Rollout has something to do with a Release, which is kept for its sake.
func (r *Rollout) Refers(release string) bool {
	return release == r.Spec.Release || release == r.Spec.Previous || release == r.Spec.BackTo ||
		slices.ContainsFunc(r.Status.From, func(held HeldRelease) bool { return held.Release == release })
}

// Widens says whether a Release has every variant of another one, to the digest: who holds the other one would get the
// very same content. Variants are sorted by their values.
func (r *ReleaseSpec) Widens(other *ReleaseSpec) bool {
	if !slices.Equal(r.Variables, other.Variables) {
		return false
	}
	return !slices.ContainsFunc(other.Variants, func(was Variant) bool {
		at, found := slices.BinarySearchFunc(r.Variants, was.Values, func(v Variant, values []string) int {
			return slices.Compare(v.Values, values)
		})
		return !found || r.Variants[at].Digest != was.Digest
	})
}
