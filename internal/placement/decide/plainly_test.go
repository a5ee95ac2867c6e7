package decide

import (
	order "cmp"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// plain is a cluster that has a seat or could have one.
type plain struct {
	*Cluster
	rank
	value  string
	leaves *departure
}

// plainly is the choice of clusters for a number of seats without a pool: all are looked at and put in order, each time.
type plainly struct {
	*Plan
	taken  []*plain
	free   map[string][]*plain // those without a seat, by value, the best first
	counts map[string]int      // how many have a seat, for every value that anybody has
}

// plainly is Decide for a number of seats.
func (p *Plan) plainly(fleet Fleet, before Before, now time.Time) Decision {
	round := p.begin(before, now)
	c := &plainly{Plan: p, free: map[string][]*plain{}, counts: map[string]int{}}
	for _, cluster := range fleet {
		v, held := p.judge(cluster), named(before.Clusters, cluster.Name)
		if v.doubtful() {
			round.undecided = append(round.undecided, cluster.Name)
		}
		leaves, out := round.departs(cluster, v)
		if out || v.why != fits && !held {
			continue
		}
		r := &plain{Cluster: cluster, rank: p.rank(cluster), value: p.value(cluster), leaves: leaves}
		c.counts[r.value] += 0
		if held {
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
	c.sort()
	for len(c.taken) < p.seats.number && c.seat(func(*plain) bool { return true }) {
	}
	for _, r := range c.taken {
		round.take(r.Name, r.leaves)
	}
	decided := round.end(Shortfall{again: again})
	decided.Came, decided.Left = differ(before.Clusters, round.in)
	decided.Undecided = slices.Sorted(slices.Values(round.undecided))
	return decided
}

// sort puts the best of those without a seat first. It does so once.
func (c *plainly) sort() {
	for _, waiting := range c.free {
		slices.SortFunc(waiting, compareThem)
	}
}

// seat gives a seat to the best whom the spread and the caller allow, if there is one.
func (c *plainly) seat(may func(*plain) bool) bool {
	var best *plain
	for value, waiting := range c.free {
		if len(waiting) == 0 || !c.allowed(value) || !may(waiting[0]) {
			continue // the first is connected, if any is
		}
		if best == nil || compareThem(waiting[0], best) < 0 {
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
func (c *plainly) allowed(value string) bool {
	spread := c.Plan.seats.spread
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
	return c.Plan.seats.number-len(c.taken)-1 >= wanted
}

func (c *plainly) least() int { return slices.Min(slices.Collect(maps.Values(c.counts))) }

// distinct is on how many values there is somebody with a seat.
func (c *plainly) distinct() (values int) {
	for _, count := range c.counts {
		if count > 0 {
			values++
		}
	}
	return values
}

// drop takes a seat from the worst of those of whom there are too many.
func (c *plainly) drop() {
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
func (c *plainly) droppable(r *plain) bool {
	spread, most := c.Plan.seats.spread, slices.Max(slices.Collect(maps.Values(c.counts)))
	switch {
	case spread == nil:
		return true
	case spread.MaxSkew != nil:
		return c.counts[r.value] == most
	}
	return c.counts[r.value] > 1 || most == 1 || c.distinct() > int(*spread.MinValues)
}

// keep orders those with a seat: who leaves anyway is the first to lose it.
func (c *plainly) keep(a, b *plain) int {
	if (a.leaves == nil) != (b.leaves == nil) {
		if a.leaves == nil {
			return -1
		}
		return 1
	}
	return compareThem(a, b)
}

// replace gives the seats of those who are away for too long to others who are there, and says when to look again.
func (c *plainly) replace(now time.Time) (again time.Time) {
	after := c.Plan.seats.whenUnreachable
	if after == 0 {
		return time.Time{}
	}
	var late []*plain
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
	slices.SortFunc(late, func(a, b *plain) int {
		return order.Or(a.Lost.Compare(b.Lost), strings.Compare(string(a.Name), string(b.Name)))
	})
	for _, r := range late {
		c.counts[r.value]--
		at := slices.Index(c.taken, r)
		c.taken = slices.Delete(c.taken, at, at+1)
		if !c.seat(func(other *plain) bool { return other.Lost.IsZero() }) {
			c.taken = append(c.taken, r)
			c.counts[r.value]++
		}
	}
	return again
}

func compareThem(a, b *plain) int {
	return compare(candidate{a.Name, a.rank}, candidate{b.Name, b.rank})
}

// TestAPoolDecidesPlainly: a pool that follows each change says what is said by looking at all clusters, whatever was decided
// before: also where somebody else wrote it, and where there are more than there are seats.
func TestAPoolDecidesPlainly(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		spec := w.spec(true)
		if w.IntN(2) == 0 {
			spec.Stay.WhenUnreachable = duration(time.Duration(1+w.IntN(30)) * time.Minute)
		}
		if w.IntN(3) == 0 {
			spec.Scores = append(spec.Scores, v1alpha1.Score{Weight: 7, ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}})
		}
		plan := compiled(t, spec)
		fleet := w.all()
		pool, last := plan.Pool(fleet), Before{}
		pool.front = 1 + w.IntN(4) // so few that it has to look again
		for step := range 60 {
			for range w.IntN(4) {
				change := w.change()
				pool.Change(change.name, change.cluster, Differences(fleet[change.name], change.cluster))
				if delete(fleet, change.name); change.cluster != nil {
					fleet[change.name] = change.cluster
				}
			}
			w.now = w.now.Add(time.Duration(w.IntN(200)) * time.Second)
			if w.IntN(8) == 0 { // somebody else's word
				last.Clusters = slices.Sorted(maps.Keys(fleet))[w.IntN(len(fleet)):]
			}
			want, got := plan.plainly(fleet, last, w.now), pool.Decide(fleet, last, w.now)
			got.Shortfall.Reason, got.Shortfall.Message = "", "" // which TestNumberAndSpreadHold looks at
			if diff := cmp.Diff(want.String(), got.String()); diff != "" || !want.Again.Equal(got.Again) {
				t.Fatalf("step %d, of %v (-plainly +pool), again %v and %v:\n%s", step, last.Clusters, want.Again, got.Again, diff)
			}
			if diff := cmp.Diff(plan.Decide(fleet, last, w.now).String(), pool.Decide(fleet, last, w.now).String()); diff != "" {
				t.Fatalf("step %d (-a new pool +one that followed):\n%s", step, diff)
			}
			last = got.next()
		}
	})
}
