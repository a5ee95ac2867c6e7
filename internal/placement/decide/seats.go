package decide

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"umbel.dev/umbel/api/v1alpha1"
)

// Shortfall says what of the number of clusters and their spread cannot be had.
type Shortfall struct {
	// Reason is one of a Placement's condition Satisfied; empty when nothing is missing.
	Reason string
	// Message says what is missing, and why.
	Message string

	again time.Time // when somebody who is away loses the seat
}

// runner is a cluster that has a seat or could have one.
type runner struct {
	*Cluster
	value  string // of the label that clusters are spread by
	held   bool
	leaves *departure
	rank   *rank // made when it is asked for
}

// rank says who comes first: the lower.
type rank struct {
	lost    bool
	avoided int
	score   int64
	lot     uint64
}

func (p *Plan) enter(c *Cluster, held bool, leaves *departure) *runner {
	r := &runner{Cluster: c, held: held, leaves: leaves}
	if p.seats.spread != nil {
		r.value = c.Labels[p.seats.spread.Label]
	}
	return r
}

// contest is the choice of clusters for a number of seats.
type contest struct {
	*Plan
	taken  []*runner
	free   map[string][]*runner // those without a seat, by value, the best first
	counts map[string]int       // how many have a seat, for every value that anybody has
}

// fill gives the seats to runners, takes the round's decision, and says what is missing.
func (p *Plan) fill(round *round) Shortfall {
	c := &contest{Plan: p, free: map[string][]*runner{}, counts: map[string]int{}}
	for _, r := range round.runners {
		c.counts[r.value] += 0
		if r.held {
			c.taken = append(c.taken, r)
			c.counts[r.value]++
			continue
		}
		c.free[r.value] = append(c.free[r.value], r)
	}
	for len(c.taken) > p.seats.number {
		c.drop()
	}
	again := c.replace(round.now)
	if len(c.taken) < p.seats.number {
		c.sort()
		for len(c.taken) < p.seats.number && c.seat(func(*runner) bool { return true }) {
		}
	}
	for _, r := range c.taken {
		round.take(r.Name, r.leaves)
	}
	short := c.shortfall()
	short.again = again
	return short
}

// sort puts the best of those without a seat first. It does so once.
func (c *contest) sort() {
	for _, waiting := range c.free {
		slices.SortFunc(waiting, c.compare)
	}
}

// seat gives a seat to the best whom the spread and the caller allow, if there is one.
func (c *contest) seat(may func(*runner) bool) bool {
	var best *runner
	for value, waiting := range c.free {
		if len(waiting) == 0 || !c.allowed(value) || !may(waiting[0]) {
			continue // the first is connected, if any is
		}
		if best == nil || c.compare(waiting[0], best) < 0 {
			best = waiting[0]
		}
	}
	if best == nil {
		return false
	}
	c.free[best.value] = c.free[best.value][1:]
	c.taken = append(c.taken, best)
	c.counts[best.value]++
	return true
}

// allowed says whether the spread lets one more with this value in.
func (c *contest) allowed(value string) bool {
	spread := c.seats.spread
	if spread == nil {
		return true
	}
	if most := spread.MaxSkew; most != nil && c.counts[value]+1-c.least() > int(*most) {
		return false
	}
	if spread.MinValues == nil || c.counts[value] == 0 {
		return true
	}
	// Seats are kept for values that nobody has a seat on yet.
	wanted := min(int(*spread.MinValues), len(c.counts)) - c.distinct()
	return c.seats.number-len(c.taken)-1 >= wanted
}

func (c *contest) least() int { return slices.Min(slices.Collect(maps.Values(c.counts))) }

// distinct is on how many values there is somebody with a seat.
func (c *contest) distinct() (values int) {
	for _, count := range c.counts {
		if count > 0 {
			values++
		}
	}
	return values
}

// drop takes a seat from the worst of those of whom there are too many.
func (c *contest) drop() {
	worst := -1
	for i, r := range c.taken {
		if c.droppable(r) && (worst < 0 || c.keep(r, c.taken[worst]) > 0) {
			worst = i
		}
	}
	c.counts[c.taken[worst].value]--
	c.taken = slices.Delete(c.taken, worst, worst+1)
}

// droppable says whether the spread is not worse without the runner than without another: it is of the most frequent
// value where there is a maxSkew, and not the last of its value where there are not more than minValues.
func (c *contest) droppable(r *runner) bool {
	spread, most := c.seats.spread, slices.Max(slices.Collect(maps.Values(c.counts)))
	switch {
	case spread == nil:
		return true
	case spread.MaxSkew != nil:
		return c.counts[r.value] == most
	}
	return c.counts[r.value] > 1 || most == 1 || c.distinct() > int(*spread.MinValues)
}

// keep orders those with a seat: who leaves anyway is the first to lose it.
func (c *contest) keep(a, b *runner) int {
	if (a.leaves == nil) != (b.leaves == nil) {
		if a.leaves == nil {
			return -1
		}
		return 1
	}
	return c.compare(a, b)
}

// replace gives the seats of those who are away for too long to others who are there, and says when to look again.
func (c *contest) replace(now time.Time) (again time.Time) {
	after := c.seats.whenUnreachable
	if after == 0 {
		return time.Time{}
	}
	var late []*runner
	for _, r := range c.taken {
		if r.Lost.IsZero() {
			continue
		}
		if ends := r.Lost.Add(after); now.Before(ends) {
			again = earlier(again, ends)
			continue
		}
		late = append(late, r)
	}
	if len(late) == 0 {
		return again
	}
	c.sort()
	slices.SortFunc(late, func(a, b *runner) int {
		return cmp.Or(a.Lost.Compare(b.Lost), strings.Compare(string(a.Name), string(b.Name)))
	})
	for _, r := range late {
		c.counts[r.value]--
		at := slices.Index(c.taken, r)
		c.taken = slices.Delete(c.taken, at, at+1)
		if !c.seat(func(other *runner) bool { return other.Lost.IsZero() }) {
			c.taken = append(c.taken, r)
			c.counts[r.value]++
		}
	}
	return again
}

// compare orders runners, the best first: connected, not avoided, with the greatest score, by lot.
func (c *contest) compare(a, b *runner) int {
	one, other := c.rankOf(a), c.rankOf(b)
	if one.lost != other.lost {
		if other.lost {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(one.avoided, other.avoided), cmp.Compare(other.score, one.score),
		cmp.Compare(one.lot, other.lot), strings.Compare(string(a.Name), string(b.Name)))
}

func (c *contest) rankOf(r *runner) *rank {
	if r.rank == nil {
		r.rank = c.Plan.rank(r.Cluster)
	}
	return r.rank
}

func (p *Plan) rank(c *Cluster) *rank {
	lot := fnv.New64a()
	lot.Write([]byte(p.lot + string(c.Name)))
	r := &rank{lost: !c.Lost.IsZero(), avoided: p.avoided(c), lot: lot.Sum64()}
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

// shortfall says what is missing.
func (c *contest) shortfall() Shortfall {
	var short Shortfall
	say := func(reason, format string, args ...any) {
		if short.Reason == "" {
			short.Reason = reason
		} else {
			short.Message += "; "
		}
		short.Message += fmt.Sprintf(format, args...)
	}
	waiting := 0
	for _, free := range c.free {
		waiting += len(free)
	}
	switch missing := c.seats.number - len(c.taken); {
	case missing > 0 && waiting == 0:
		say(v1alpha1.ReasonTooFewClusters, "%d of %d clusters: no other cluster meets the spec", len(c.taken), c.seats.number)
	case missing > 0:
		say(v1alpha1.ReasonTooFewClusters, "%d of %d clusters: %d more meet the spec, and spread keeps them out (%s)",
			len(c.taken), c.seats.number, waiting, c.lie())
	}
	spread := c.seats.spread
	if spread == nil {
		return short
	}
	if least := spread.MinValues; least != nil && c.distinct() < int(*least) {
		say(v1alpha1.ReasonNotSpread, "they lie on %d values of %s and not on %d (%s); a cluster that was chosen stays", c.distinct(), spread.Label, *least, c.lie())
	}
	if most := spread.MaxSkew; most != nil && len(c.counts) > 0 {
		if skew := slices.Max(slices.Collect(maps.Values(c.counts))) - c.least(); skew > int(*most) {
			say(v1alpha1.ReasonNotSpread, "they are skewed by %d over %s, and maxSkew is %d (%s); a cluster that was chosen stays", skew, spread.Label, *most, c.lie())
		}
	}
	return short
}

// lie says how many clusters there are on each value.
func (c *contest) lie() string {
	const few = 8
	var parts []string
	for _, value := range slices.Sorted(maps.Keys(c.counts)) {
		if len(parts) == few {
			parts = append(parts, fmt.Sprintf("… and %d more", len(c.counts)-few))
			break
		}
		parts = append(parts, fmt.Sprintf("%s %d", value, c.counts[value]))
	}
	return c.seats.spread.Label + ": " + strings.Join(parts, ", ")
}
