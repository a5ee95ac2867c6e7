package decide

import (
	"iter"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	"umbel.dev/umbel/api/v1alpha1"
)

// Seen is what a decision needs to know of a Package. What is nil is not known.
type Seen struct {
	// Deleting: the Package is being deleted.
	Deleting  bool
	Placement *v1alpha1.Placement
	Release   *v1alpha1.Release
	// Policy is how agents are to treat it.
	Policy Policy
	// Rule is the one under which a Release has to be verified; empty when it need not be.
	Rule string
	// Withheld are clusters that are not selected any more and keep it all the same.
	Withheld Withheld
	// Staged is what a Rollout says, for a Package that has a strategy; nil when all clusters get the Release at once.
	Staged *Staged
	// Doubt: the Package was restored from a backup, so that what is known of it is of an earlier time.
	Doubt Doubt
	// Bar is why it is not delivered at all.
	Bar Bar
	// Plans are what people have seen of changes, for a Package that changes nothing else.
	Plans Plans
	// Waits says which clusters wait, for another Package or for a Plan, and why.
	Waits map[v1alpha1.ClusterName]string
}

// Doubt says what of a Package may have changed since the hub knew it.
type Doubt int

const (
	// NoDoubt: the hub knows what it knows.
	NoDoubt Doubt = iota
	// DoubtSelection: its source was read again. Which clusters it is on may have changed since the backup, so none removes.
	DoubtSelection
	// DoubtAll: its source was not read again either. Clusters may hold a newer Release, so none goes back.
	DoubtAll
)

// DoubtOf says what of a Package is in doubt. A restore leaves out how the Package was: what says that it is rendered was
// said since.
func DoubtOf(pkg *v1alpha1.Package) Doubt {
	_, restored := pkg.Annotations[v1alpha1.RestoredAnnotation]
	switch {
	case !restored:
		return NoDoubt
	case meta.IsStatusConditionTrue(pkg.Status.Conditions, v1alpha1.ConditionRendered):
		return DoubtSelection
	}
	return DoubtAll
}

// Selects says whether the last decision of the Placement names the cluster.
func (s *Seen) Selects(cluster v1alpha1.ClusterName) bool {
	return s.Placement != nil && selects(s.Placement, cluster)
}

// Verified says whether clusters may be told a Release.
func (s *Seen) Verified(release *v1alpha1.Release) bool {
	return release == nil || s.Rule == "" || release.VerifiedUnder(s.Rule)
}

// Releases are all that some cluster may be told.
func (s *Seen) Releases() iter.Seq[*v1alpha1.Release] {
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

// Replace puts others in the place of the Releases. A Staged that others have too is not written to.
func (s *Seen) Replace(with func(*v1alpha1.Release) *v1alpha1.Release) {
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

// Same says whether both tell every cluster the same. Releases are the same ones where they are one object.
func (s *Seen) Same(other *Seen) bool {
	return s.Release == other.Release && s.Deleting == other.Deleting && s.Doubt == other.Doubt && s.Bar == other.Bar &&
		s.Policy.Equal(other.Policy) && s.Rule == other.Rule && s.Withheld.equal(other.Withheld) && s.Staged.same(other.Staged) &&
		maps.Equal(s.Waits, other.Waits) && s.Plans.Equal(other.Plans) && samePlacement(s.Placement, other.Placement)
}

func samePlacement(a, b *v1alpha1.Placement) bool {
	return a == b || decisionOf(a) == decisionOf(b) &&
		(decisionOf(a) == undecided ||
			slices.Equal(a.Status.Clusters, b.Status.Clusters) && slices.Equal(a.Status.Undecided, b.Status.Undecided))
}
