package plan

import (
	"cmp"
	"slices"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/delivery/preview"
)

// Plan is what a change would do.
type Plan struct {
	// Package is NAMESPACE/NAME, and Source what was rendered.
	Package v1alpha1.PackageKey `json:"package"`
	Source  string              `json:"source"`
	// Groups of clusters for which the changes are the same, the largest first.
	Groups []Group `json:"groups"`
	// Without are clusters that keep what they hold, because there is no content for them.
	Without []Unasked `json:"without,omitempty"`
	// Unasked are clusters that could not be asked.
	Unasked []Unasked `json:"unasked,omitempty"`

	contents *delivery.Contents                        // what the clusters would get
	looks    map[v1alpha1.ClusterName]*preview.Preview // at each cluster that was asked
	of       int                                       // how many clusters the package is for
}

// Of is how many clusters the package is for, whether they were asked or not.
func (p *Plan) Of() int { return p.of }

// Lacks says what keeps the plan from being whole; empty when it is.
func (p *Plan) Lacks() []string { return p.lacks() }

// Summary says in a few words what changes for a group.
func (g Group) Summary() string { return g.summary() }

// Group is clusters for which the changes are the same.
type Group struct {
	Clusters []v1alpha1.ClusterName `json:"clusters"`
	Changes  []preview.Change       `json:"changes"`
	// Same is how many objects stay as they are.
	Same int `json:"unchanged"`
	// Unknown says what could not be looked at.
	Unknown []string `json:"unknown,omitempty"`
}

// Unasked is a cluster, and why nothing is known of it.
type Unasked struct {
	Cluster v1alpha1.ClusterName `json:"cluster"`
	Reason  string               `json:"reason"`
}

// seen is what one cluster said.
type seen struct {
	cluster v1alpha1.ClusterName
	*preview.Preview
	err error
}

// add puts what a cluster said to those that said the same.
func (p *Plan) add(s seen) {
	if s.err != nil {
		p.Unasked = append(p.Unasked, Unasked{s.cluster, s.err.Error()})
		return
	}
	i := slices.IndexFunc(p.Groups, func(g Group) bool {
		return g.Same == s.Same && slices.Equal(g.Changes, s.Changes) && slices.Equal(g.Unknown, s.Unknown)
	})
	if i < 0 {
		i = len(p.Groups)
		p.Groups = append(p.Groups, Group{Changes: s.Changes, Same: s.Same, Unknown: s.Unknown})
	}
	p.Groups[i].Clusters = append(p.Groups[i].Clusters, s.cluster)
	if p.looks == nil {
		p.looks = map[v1alpha1.ClusterName]*preview.Preview{}
	}
	p.looks[s.cluster] = s.Preview
}

// sort puts the groups in order: those that change something first, then the largest, then by the first name.
func (p *Plan) sort() {
	idle := func(g Group) int { return min(1, len(g.Changes)) }
	slices.SortFunc(p.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(idle(b), idle(a)), cmp.Compare(len(b.Clusters), len(a.Clusters)),
			strings.Compare(string(a.Clusters[0]), string(b.Clusters[0])))
	})
	byName := func(a, b Unasked) int { return strings.Compare(string(a.Cluster), string(b.Cluster)) }
	slices.SortFunc(p.Without, byName)
	slices.SortFunc(p.Unasked, byName)
}

// count says how many of a group's changes are of a kind; those that would fail are none of them.
func (g Group) count(action preview.Action) (n int) {
	for _, c := range g.Changes {
		if c.Problem == "" && c.Action == action {
			n++
		}
	}
	return n
}

// problems is how many of a group's changes would fail.
func (g Group) problems() (n int) {
	for _, c := range g.Changes {
		if c.Problem != "" {
			n++
		}
	}
	return n
}

// changes says whether anything would.
func (p *Plan) changes() bool {
	return slices.ContainsFunc(p.Groups, func(g Group) bool { return len(g.Changes) > 0 })
}

// lacks says what keeps the plan from being whole; empty when it is.
func (p *Plan) lacks() []string {
	var lacks []string
	problems, unknown := 0, 0
	for _, g := range p.Groups {
		if g.problems() > 0 {
			problems += len(g.Clusters)
		}
		if len(g.Unknown) > 0 {
			unknown += len(g.Clusters)
		}
	}
	for _, each := range []struct {
		clusters int
		what     string
	}{
		{problems, "would not take all of it"},
		{unknown, "could not be looked at whole"},
		{len(p.Unasked), "could not be asked"},
		{len(p.Without), "would get nothing of it"},
	} {
		if each.clusters > 0 {
			lacks = append(lacks, clusters(each.clusters)+" "+each.what)
		}
	}
	return lacks
}
