package decide

import (
	"cmp"
	"maps"
	"slices"

	"umbel.dev/umbel/api/v1alpha1"
)

// Aspect is a part of what is seen of a cluster. Several are added up.
type Aspect int

const (
	// Declared is what people say: labels, taints, admission, the level, and that it is to leave.
	Declared Aspect = 1 << iota
	// Said is what its agent says: versions and properties.
	Said
	// Reached is whether its agent is connected.
	Reached
)

// Differences are the aspects in which two sights of a cluster differ. One that came or went differs in all.
func Differences(before, after *Cluster) (differ Aspect) {
	if before == after {
		return 0
	}
	if before == nil || after == nil {
		return Declared | Said | Reached
	}
	if before.Standing != after.Standing || before.Observed != after.Observed || !maps.Equal(before.Labels, after.Labels) || !slices.Equal(before.Taints, after.Taints) {
		differ |= Declared
	}
	if before.KubernetesVersion != after.KubernetesVersion || before.AgentVersion != after.AgentVersion ||
		!maps.Equal(before.Properties, after.Properties) {
		differ |= Said
	}
	if before.Lost.IsZero() != after.Lost.IsZero() {
		differ |= Reached
	}
	return differ
}

// Minds says whether a decision can depend on one of these aspects.
func (p *Plan) Minds(differ Aspect) bool {
	minds := Declared
	if len(p.fields) > 0 || len(p.expressions) > 0 {
		minds |= Said
	}
	if p.seats != nil {
		minds |= Reached
	}
	return differ&minds != 0
}

// ranks says whether who could have a seat, or who of them comes first, can depend on one of these aspects. Unlike a decision
// that was made, that depends on what scores are given for, too.
func (p *Plan) ranks(differ Aspect) bool {
	return p.Minds(differ) || differ&Said != 0 && slices.ContainsFunc(p.seats.scores, func(s score) bool {
		return s.expression != nil && s.expression.observed
	})
}

// Concerns says whether a change of one cluster, from before to after, can make the last decision of a Placement that asks for no
// number a wrong one. A cluster that came has no before, one that went no after.
func (p *Plan) Concerns(before, after *Cluster, last Before) bool {
	if after == nil {
		return named(last.Clusters, before.Name) || named(last.Undecided, before.Name)
	}
	v, held, doubted := p.judge(after), named(last.Clusters, after.Name), named(last.Undecided, after.Name)
	switch {
	case v.doubtful() != doubted:
		return true
	case v.why == fits:
		return !held || leaves(last, after.Name)
	case !held:
		return false
	}
	_, forever := p.stay(v, sameSpec(last.Generation == p.generation))
	return !forever || leaves(last, after.Name)
}

// Shift is what a change of a cluster changed in a pool.
type Shift struct {
	fitted, doubted bool // before
	now             verdict
}

// Moves says whether it is another one now that could have a seat, or of which that cannot be told.
func (s Shift) Moves() bool {
	return s.fitted != (s.now.why == fits) || s.doubted != s.now.doubtful()
}

// Concerns says whether a change of one cluster, which is a shift in the pool, can make the last decision a wrong one. A cluster
// that came has no before, one that went no after.
func (p *Pool) Concerns(shift Shift, before, after *Cluster, last Before) bool {
	held := named(last.Clusters, cmp.Or(after, before).Name)
	switch {
	case shift.doubted != shift.now.doubtful():
		return true
	case shift.Moves():
		return held || !p.plan.settledBy(last)
	case shift.now.why == fits:
	case !held:
		return false
	case before == nil || after == nil || shift.now != p.plan.judge(before):
		return true
	}
	spread := p.plan.seats.spread
	return before.Lost.IsZero() != after.Lost.IsZero() || spread != nil && before.Labels[spread.Label] != after.Labels[spread.Label]
}

// settledBy says that the last decision gave every seat, and that nothing but those who have one can change that: who else could
// have one makes no difference.
func (p *Plan) settledBy(last Before) bool {
	return len(last.Clusters) >= p.seats.number && p.seats.spread == nil && p.seats.whenUnreachable == 0
}

func named(sorted []v1alpha1.ClusterName, name v1alpha1.ClusterName) bool {
	_, is := slices.BinarySearch(sorted, name)
	return is
}

func leaves(last Before, name v1alpha1.ClusterName) bool {
	return slices.ContainsFunc(last.Leaving, func(group v1alpha1.Leaving) bool { return named(group.Clusters, name) })
}
