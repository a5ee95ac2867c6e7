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
	joined map[v1alpha1.ClusterName]place
	// lines are the same, by their value of the label that clusters are spread by; none is empty.
	lines map[string]*line
	// ordered: whoever is in has a rank, and the lines know their best. That is so once the first seat was free: who has a seat keeps
	// it, so that most pools are never asked.
	ordered bool
	// front is the constant.
	front int
	// doubtful are those of which it cannot be told, sorted. It is not changed, but made anew.
	doubtful []v1alpha1.ClusterName
}

// line is who fits and has one value.
type line struct {
	value string
	size  int
	// front are the best of them, the best last, since that is whose leaving is to move nobody else: whoever is not in it is behind all
	// who are. It is made when a seat is asked for that it has nobody for, and follows each change as far as it goes: most clusters that
	// come and go are far from a seat.
	front []candidate
	// next is how many of front come before the best who has no seat, while seats are given.
	next int
}

// front is how many of a line are known to be its best after a look at everybody: so many seats later there is another.
const front = 256

// place is that of a cluster in line. There are as many as there are clusters and Placements of a number of them: each is small, and
// no object of its own that is looked at when garbage is collected.
type place struct {
	in *line
	rank
}

// candidate is a cluster with its rank.
type candidate struct {
	name v1alpha1.ClusterName
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
	pool := &Pool{plan: p, front: front, joined: map[v1alpha1.ClusterName]place{}, lines: map[string]*line{}}
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
	if !p.plan.ranks(differ) {
		return Shift{}
	}
	v := p.plan.judge(after)
	_, fitted := p.joined[name]
	shift := Shift{fitted: fitted, doubted: named(p.doubtful, name), now: v}
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
	value, joins := p.plan.value(c), candidate{name: c.Name}
	if p.ordered {
		joins.rank = p.plan.rank(c)
	}
	if was, is := p.joined[c.Name]; is && was.in.value == value && was.rank == joins.rank {
		return
	}
	p.leave(c.Name)
	in := p.lines[value]
	if in == nil {
		in = &line{value: value}
		p.lines[value] = in
	}
	p.joined[c.Name] = place{in, joins.rank}
	if p.ordered {
		in.insert(joins, p.front)
	}
	in.size++
}

// leave has a cluster leave, if it is there.
func (p *Pool) leave(name v1alpha1.ClusterName) {
	was, is := p.joined[name]
	if !is {
		return
	}
	delete(p.joined, name)
	in, leaves := was.in, candidate{name, was.rank}
	if in.size--; in.size == 0 {
		delete(p.lines, in.value)
	}
	if in.reaches(leaves) {
		if at, is := slices.BinarySearchFunc(in.front, leaves, worse); is {
			in.front = slices.Delete(in.front, at, at+1)
		}
	}
}

// insert puts a candidate where it belongs, if that is in front, which grows to four times so many at most.
func (in *line) insert(joins candidate, many int) {
	if len(in.front) < in.size && !in.reaches(joins) {
		return
	}
	at, _ := slices.BinarySearchFunc(in.front, joins, worse)
	in.front = slices.Insert(in.front, at, joins)
	if excess := len(in.front) - many; excess >= 3*many { // nobody asks for so many
		in.front = slices.Delete(in.front, 0, excess)
	}
}

// reaches says whether a candidate of the line is before the worst in front, or is that.
func (in *line) reaches(c candidate) bool {
	return len(in.front) > 0 && compare(c, in.front[0]) <= 0
}

// first is the best in front who has no seat.
func (in *line) first() candidate { return in.front[len(in.front)-1-in.next] }

// order gives everybody a rank. It does so once.
func (p *Pool) order(fleet Fleet) {
	if p.ordered {
		return
	}
	p.ordered = true
	for name, at := range p.joined {
		at.rank = p.plan.rank(fleet[name])
		p.joined[name] = at
	}
}

// look has a line know at least so many of its best, or all. As it takes a look at everybody who is in, every other line that knows
// few of its best is helped as well.
func (p *Pool) look(in *line, many int) {
	searches := map[*line]*search{}
	for _, other := range p.lines {
		if many := min(p.front, other.size); len(other.front) < many {
			searches[other] = &search{many: many}
		}
	}
	if many = min(many, in.size); len(in.front) < many {
		searches[in] = &search{many: many}
	}
	if len(searches) == 0 {
		return
	}
	for name, at := range p.joined {
		if s := searches[at.in]; s != nil {
			s.see(candidate{name, at.rank})
		}
	}
	for in, s := range searches {
		s.cut()
		in.front = slices.Clone(s.found)
		slices.Reverse(in.front)
	}
}

// search finds the best of those whom it sees.
type search struct {
	many  int
	found []candidate
	worst candidate // the last of so many who were seen; nobody before there were that many
}

func (s *search) see(c candidate) {
	if s.worst.name != "" && compare(c, s.worst) > 0 {
		return
	}
	if s.found = append(s.found, c); len(s.found) == 2*s.many {
		s.cut()
		s.worst = s.found[s.many-1]
	}
}

// cut puts who was found in order, and drops whoever is not among so many.
func (s *search) cut() {
	slices.SortFunc(s.found, compare)
	s.found = s.found[:s.many]
}

// Decide says which clusters are selected, from what was decided before. The fleet is the one that the pool followed.
func (p *Pool) Decide(fleet Fleet, before Before, now time.Time) Decision {
	round := p.plan.begin(before, now)
	c := &contest{Pool: p, fleet: fleet, held: before.Clusters, counts: map[string]int{}, waiting: len(p.joined)}
	for value, in := range p.lines {
		c.counts[value], in.next = 0, 0
	}
	for _, name := range before.Clusters {
		cluster, v := fleet[name], verdict{why: fits}
		if _, is := p.joined[name]; is {
			c.waiting--
		} else {
			v = p.plan.judge(cluster)
		}
		leaves, out := round.departs(cluster, v)
		if !out {
			c.take(&runner{Cluster: cluster, value: p.plan.value(cluster), leaves: leaves})
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
		strings.Compare(string(a.name), string(b.name)))
}

// worse orders them the other way round.
func worse(a, b candidate) int { return compare(b, a) }

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
