package decide

import (
	"maps"
	"slices"

	"umbel.dev/umbel/api/v1alpha1"
)

// Aspect is a part of what is seen of a cluster. Several are added up.
type Aspect int

const (
	// Declared is what people say: labels, taints, admission, and that it is to leave.
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
	if before.Standing != after.Standing || !maps.Equal(before.Labels, after.Labels) || !slices.Equal(before.Taints, after.Taints) {
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

// Concerns says whether a change of one cluster, from before to after, can make the last decision a wrong one. A cluster
// that came has no before, one that went no after.
func (p *Plan) Concerns(before, after *Cluster, last Before) bool {
	if p.seats == nil {
		return p.contradicts(before, after, last)
	}
	is := p.judge(after)
	if is != p.judge(before) {
		return true
	}
	if before == nil || after == nil || is.why != fits && !named(last.Clusters, after.Name) {
		return false
	}
	spread := p.seats.spread
	return before.Lost.IsZero() != after.Lost.IsZero() || spread != nil && before.Labels[spread.Label] != after.Labels[spread.Label]
}

// contradicts says whether the last decision is wrong about the cluster.
func (p *Plan) contradicts(before, after *Cluster, last Before) bool {
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

func named(sorted []v1alpha1.ClusterName, name v1alpha1.ClusterName) bool {
	_, is := slices.BinarySearch(sorted, name)
	return is
}

func leaves(last Before, name v1alpha1.ClusterName) bool {
	return slices.ContainsFunc(last.Leaving, func(group v1alpha1.Leaving) bool { return named(group.Clusters, name) })
}
