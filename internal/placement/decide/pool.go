package decide

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"umbel.dev/umbel/api/v1alpha1"
)

// Pool is who could have a seat of a Placement of a number of clusters, in the order in which they get one. It is made once,
// and follows each change of a cluster, so that a seat that becomes free costs no look at ten thousand of them.
//
// Each cluster leaves by what it came in with, which the pool remembers: asked again, an expression may say something else of
// the same cluster, as CEL promises no order of the labels that it goes through.
type Pool struct {
	plan *Plan
	// joined are those who fit, each with the value and the rank that it came in with.
	joined map[v1alpha1.ClusterName]*candidate
	// lines are the same, by their value of the label that clusters are spread by; none is empty.
	lines map[string]*line
	// ordered: the lines are in order. They are put so when the first seat is free: who has a seat keeps it, so that most pools
	// are never asked. Before that, nobody has a rank or a place.
	ordered bool
	// doubtful are those of which it cannot be told, sorted. It is not changed, but made anew.
	doubtful []v1alpha1.ClusterName
}

// line is who fits and has one value.
type line struct {
	value string
	size  int
	all   []*candidate // the best first, where the pool is ordered; nobody where it is not
}

// candidate is a cluster with its line and its rank. There are as many as there are clusters and Placements of a number of
// them, so that they are kept small.
type candidate struct {
	*Cluster
	in *line
	rank
}

// rank says who comes first: the lower, but for the score.
type rank struct {
	score  int64
	behind int32 // PreferNoSelect taints; whoever is not connected is behind all who are
	lot    uint32
}

// away is added to the rank of whoever is not connected.
const away = 1 << 30

// Pool returns the pool of a Placement that asks for a number of clusters.
func (p *Plan) Pool(fleet Fleet) *Pool {
	pool := &Pool{plan: p, joined: map[v1alpha1.ClusterName]*candidate{}, lines: map[string]*line{}}
	for name, c := range fleet {
		switch v := p.judge(c); {
		case v.why == fits:
			pool.join(c)
		case v.doubtful():
			pool.doubtful = append(pool.doubtful, name)
		}
	}
	slices.Sort(pool.doubtful)
	return pool
}

// Change has the pool follow a change of one cluster in these aspects, and says what that changed. One that is gone has no after.
func (p *Pool) Change(name v1alpha1.ClusterName, after *Cluster, differ Aspect) Shift {
	was := p.joined[name]
	if !p.plan.ranks(differ) {
		if was != nil {
			was.Cluster = after // so that what it was is not kept
		}
		return Shift{}
	}
	v := p.plan.judge(after)
	shift := Shift{fitted: was != nil, doubted: named(p.doubtful, name), now: v}
	if v.why == fits {
		p.join(after)
	} else {
		p.leave(name)
	}
	switch {
	case shift.doubted && !v.doubtful():
		p.doubtful = edit(p.doubtful, []v1alpha1.ClusterName{name}, nil)
	case !shift.doubted && v.doubtful():
		p.doubtful = edit(p.doubtful, nil, []v1alpha1.ClusterName{name})
	}
	return shift
}

// join lets a cluster in, in the place of what it was before.
func (p *Pool) join(c *Cluster) {
	joins := candidate{Cluster: c}
	if p.ordered {
		joins.rank = p.plan.rank(c)
	}
	value, was := p.plan.value(c), p.joined[c.Name]
	if was != nil && was.in.value == value && was.rank == joins.rank {
		was.Cluster = c
		return
	}
	p.leave(c.Name)
	in := p.lines[value]
	if in == nil {
		in = &line{value: value}
		p.lines[value] = in
	}
	in.size++
	joins.in, p.joined[c.Name] = in, &joins
	if p.ordered {
		at, _ := slices.BinarySearchFunc(in.all, &joins, compare)
		in.all = slices.Insert(in.all, at, &joins)
	}
}

// leave has a cluster leave, if it is there.
func (p *Pool) leave(name v1alpha1.ClusterName) {
	leaves := p.joined[name]
	if leaves == nil {
		return
	}
	delete(p.joined, name)
	in := leaves.in
	if in.size--; in.size == 0 {
		delete(p.lines, in.value)
	}
	if at, is := slices.BinarySearchFunc(in.all, leaves, compare); is {
		in.all = slices.Delete(in.all, at, at+1)
	}
}

// order puts all lines in order. It does so once.
func (p *Pool) order() {
	if p.ordered {
		return
	}
	p.ordered = true
	for _, c := range p.joined {
		c.rank = p.plan.rank(c.Cluster)
		c.in.all = append(c.in.all, c)
	}
	for _, in := range p.lines {
		slices.SortFunc(in.all, compare)
	}
}

// Decide says which clusters are selected, from what was decided before. The fleet is the one that the pool followed.
func (p *Pool) Decide(fleet Fleet, before Before, now time.Time) Decision {
	round := p.plan.begin(before, now)
	c := &contest{Pool: p, held: before.Clusters, counts: map[string]int{}, next: map[string]int{}, waiting: len(p.joined)}
	for value := range p.lines {
		c.counts[value] = 0
	}
	for _, name := range before.Clusters {
		cluster, v := fleet[name], verdict{why: fits}
		if p.joined[name] != nil {
			c.waiting--
		} else {
			v = p.plan.judge(cluster)
		}
		leaves, out := round.departs(cluster, v)
		if !out {
			c.take(&runner{candidate: &candidate{Cluster: cluster}, value: p.plan.value(cluster), leaves: leaves})
		}
	}
	short := c.fill(round)
	decided := round.end(short)
	decided.Came, decided.Left = differ(before.Clusters, round.in)
	decided.Undecided = p.doubtful
	return decided
}

// value is that of the label that clusters are spread by; empty where they are not.
func (p *Plan) value(c *Cluster) string {
	if p.seats.spread == nil {
		return ""
	}
	return c.Labels[p.seats.spread.Label]
}

// compare orders candidates, the best first: connected, not avoided, with the greatest score, by lot.
func compare(a, b *candidate) int {
	return cmp.Or(cmp.Compare(a.behind, b.behind), cmp.Compare(b.score, a.score), cmp.Compare(a.lot, b.lot),
		strings.Compare(string(a.Name), string(b.Name)))
}

func (p *Plan) rank(c *Cluster) rank {
	lot := fnv.New64a()
	lot.Write([]byte(p.lot))
	lot.Write([]byte(c.Name))
	r := rank{behind: int32(p.avoided(c)), lot: uint32(lot.Sum64() >> 32)}
	if !c.Lost.IsZero() {
		r.behind += away
	}
	for i := range p.seats.scores {
		points, _ := p.seats.scores[i].points(c)
		r.score += points * p.seats.scores[i].weight
	}
	return r
}

// points are what a score gives the cluster before they are weighted. Where it errs there are none.
func (s *score) points(c *Cluster) (int64, error) {
	switch {
	case s.expression != nil:
		return s.expression.points(c)
	case s.selector.Matches(labels.Set(c.Labels)):
		return 100, nil
	}
	return 0, nil
}
