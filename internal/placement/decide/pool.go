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
// and follows each change of a cluster, so that a seat that becomes free costs no look at ten thousand of them. It holds 32
// bytes for each cluster that fits.
type Pool struct {
	plan *Plan
	// lines are those who fit, by their value of the label that clusters are spread by; none is empty.
	lines map[string]*line
	// doubtful are those of which it cannot be told, sorted. It is not changed, but made anew.
	doubtful []v1alpha1.ClusterName
}

// line is who fits and has one value. It is put in order when the first seat is free: who has a seat keeps it, so that most
// pools are never asked.
type line struct {
	ordered bool
	all     []candidate
}

// candidate is a cluster with its rank, which nobody looks at before its line is in order.
type candidate struct {
	*Cluster
	rank
}

// rank says who comes first: the lower, but for the score.
type rank struct {
	behind int // PreferNoSelect taints; whoever is not connected is behind all who are
	score  int64
	lot    uint64
}

// away is added to the rank of whoever is not connected.
const away = 1 << 32

// Pool returns the pool of a Placement that asks for a number of clusters.
func (p *Plan) Pool(fleet Fleet) *Pool {
	pool := &Pool{plan: p, lines: map[string]*line{}}
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

// Change has the pool follow a change of one cluster, from what it was told last. One that came has no before, one that went
// no after.
func (p *Pool) Change(before, after *Cluster) {
	was, is := p.plan.judge(before), p.plan.judge(after)
	if was.why == fits {
		p.leave(before)
	}
	if is.why == fits {
		p.join(after)
	}
	switch {
	case was.doubtful() && !is.doubtful():
		p.doubtful = edit(p.doubtful, []v1alpha1.ClusterName{before.Name}, nil)
	case !was.doubtful() && is.doubtful():
		p.doubtful = edit(p.doubtful, nil, []v1alpha1.ClusterName{after.Name})
	}
}

func (p *Pool) join(c *Cluster) {
	value := p.plan.value(c)
	in := p.lines[value]
	if in == nil {
		in = &line{}
		p.lines[value] = in
	}
	joins := candidate{Cluster: c}
	if !in.ordered {
		in.all = append(in.all, joins)
		return
	}
	joins.rank = p.plan.rank(c)
	at, _ := slices.BinarySearchFunc(in.all, joins, compare)
	in.all = slices.Insert(in.all, at, joins)
}

func (p *Pool) leave(c *Cluster) {
	value := p.plan.value(c)
	in, at := p.lines[value], 0
	if in.ordered {
		at, _ = slices.BinarySearchFunc(in.all, candidate{c, p.plan.rank(c)}, compare)
	} else {
		at = slices.IndexFunc(in.all, func(other candidate) bool { return other.Name == c.Name })
	}
	in.all = slices.Delete(in.all, at, at+1)
	if len(in.all) == 0 {
		delete(p.lines, value)
	}
}

// order puts all lines in order. It does so once.
func (p *Pool) order() {
	for _, in := range p.lines {
		if in.ordered {
			continue
		}
		for i := range in.all {
			in.all[i].rank = p.plan.rank(in.all[i].Cluster)
		}
		slices.SortFunc(in.all, compare)
		in.ordered = true
	}
}

// Decide says which clusters are selected, from what was decided before. The fleet is the one that the pool followed.
func (p *Pool) Decide(fleet Fleet, before Before, now time.Time) Decision {
	round := p.plan.begin(before, now)
	c := &contest{Pool: p, held: before.Clusters, counts: map[string]int{}, next: map[string]int{}}
	for value, in := range p.lines {
		c.counts[value] = 0
		c.waiting += len(in.all)
	}
	for _, name := range before.Clusters {
		cluster := fleet[name]
		v := p.plan.judge(cluster)
		leaves, out := round.departs(cluster, v)
		if v.why == fits {
			c.waiting--
		}
		if !out {
			c.take(&runner{candidate: candidate{Cluster: cluster}, value: p.plan.value(cluster), leaves: leaves})
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
func compare(a, b candidate) int {
	return cmp.Or(cmp.Compare(a.behind, b.behind), cmp.Compare(b.score, a.score), cmp.Compare(a.lot, b.lot),
		strings.Compare(string(a.Name), string(b.Name)))
}

func (p *Plan) rank(c *Cluster) rank {
	lot := fnv.New64a()
	lot.Write([]byte(p.lot))
	lot.Write([]byte(c.Name))
	r := rank{behind: p.avoided(c), lot: lot.Sum64()}
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
