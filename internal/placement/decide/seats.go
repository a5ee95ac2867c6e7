package decide

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

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

// runner is a cluster that has a seat.
type runner struct {
	*Cluster
	rank          // where there are too many
	value  string // of the label that clusters are spread by
	leaves *departure
}

// contest is the choice of clusters for a number of seats.
type contest struct {
	*Pool
	fleet   Fleet
	held    []v1alpha1.ClusterName // who had a seat before, sorted
	taken   []*runner
	counts  map[string]int // how many have a seat, for every value that anybody has
	waiting int            // how many have none
}

func (c *contest) take(r *runner) {
	c.taken = append(c.taken, r)
	c.counts[r.value]++
}

// fill gives the seats that are free, takes the round's decision, and says what is missing.
func (c *contest) fill(round *round) Shortfall {
	number := c.plan.seats.number
	if len(c.taken) > number {
		for _, r := range c.taken {
			r.rank = c.plan.rank(r.Cluster)
		}
	}
	for len(c.taken) > number {
		c.drop()
	}
	again := c.replace(round.now)
	for len(c.taken) < number && c.seat(func(*Cluster) bool { return true }) {
	}
	for _, r := range c.taken {
		round.take(r.Name, r.leaves)
	}
	short := c.shortfall()
	short.again = again
	return short
}

// seat gives a seat to the best whom the spread and the caller allow, if there is one.
func (c *contest) seat(may func(*Cluster) bool) bool {
	c.order(c.fleet)
	allowed := c.allowed()
	var from *line
	for value, in := range c.lines {
		if !allowed(c.counts[value]) || !c.advance(in) {
			continue
		}
		first := in.first()
		if !may(c.fleet[first.name]) { // the first is connected, if any is
			continue
		}
		if from == nil || compare(first, from.first()) < 0 {
			from = in
		}
	}
	if from == nil {
		return false
	}
	c.take(&runner{Cluster: c.fleet[from.first().name], value: from.value})
	from.next++
	c.waiting--
	return true
}

// advance goes to the best in a line who has no seat and had none, and says whether there is one.
func (c *contest) advance(in *line) bool {
	for ; ; in.next++ {
		if in.next == len(in.front) && in.next < in.size {
			c.look(in, 2*in.next+c.front)
		}
		if in.next == len(in.front) {
			return false
		}
		if !named(c.held, in.first().name) {
			return true
		}
	}
}

// allowed says whether the spread lets one more in where so many have a seat already.
func (c *contest) allowed() func(count int) bool {
	spread := c.plan.seats.spread
	if spread == nil {
		return func(int) bool { return true }
	}
	least, wanted := c.least(), 0
	if spread.MinValues != nil { // seats are kept for values that nobody has a seat on yet
		wanted = min(int(*spread.MinValues), len(c.counts)) - c.distinct()
	}
	left := c.plan.seats.number - len(c.taken) - 1
	return func(count int) bool {
		if most := spread.MaxSkew; most != nil && count+1-least > int(*most) {
			return false
		}
		return spread.MinValues == nil || count == 0 || left >= wanted
	}
}

func (c *contest) least() int {
	least := math.MaxInt
	for _, count := range c.counts {
		least = min(least, count)
	}
	return least
}

func (c *contest) most() (most int) {
	for _, count := range c.counts {
		most = max(most, count)
	}
	return most
}

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
	spread, most := c.plan.seats.spread, c.most()
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
	return compare(candidate{a.Name, a.rank}, candidate{b.Name, b.rank})
}

// replace gives the seats of those who are away for too long to others who are there, and says when to look again.
func (c *contest) replace(now time.Time) (again time.Time) {
	after := c.plan.seats.whenUnreachable
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
	slices.SortFunc(late, func(a, b *runner) int {
		return cmp.Or(a.Lost.Compare(b.Lost), strings.Compare(string(a.Name), string(b.Name)))
	})
	for _, r := range late {
		c.counts[r.value]--
		at := slices.Index(c.taken, r)
		c.taken = slices.Delete(c.taken, at, at+1)
		if !c.seat(func(other *Cluster) bool { return other.Lost.IsZero() }) {
			c.taken = append(c.taken, r)
			c.counts[r.value]++
		}
	}
	return again
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
	switch missing := c.plan.seats.number - len(c.taken); {
	case missing > 0 && c.waiting == 0:
		say(v1alpha1.ReasonTooFewClusters, "%d of %s: no other cluster meets the spec", len(c.taken), v1alpha1.Counted(c.plan.seats.number, "cluster"))
	case missing > 0:
		say(v1alpha1.ReasonTooFewClusters, "%d of %d clusters: %d more meet the spec, and spread keeps them out (%s)",
			len(c.taken), c.plan.seats.number, c.waiting, c.lie())
	}
	spread := c.plan.seats.spread
	if spread == nil {
		return short
	}
	if least := spread.MinValues; least != nil && c.distinct() < int(*least) {
		say(v1alpha1.ReasonNotSpread, "they lie on %s of %s and not on %d (%s); a cluster that was chosen stays", v1alpha1.Counted(c.distinct(), "value"), spread.Label, *least, c.lie())
	}
	if most := spread.MaxSkew; most != nil && len(c.counts) > 0 {
		if skew := c.most() - c.least(); skew > int(*most) {
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
	return c.plan.seats.spread.Label + ": " + strings.Join(parts, ", ")
}
