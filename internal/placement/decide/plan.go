package decide

import (
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// Before is what was decided last.
type Before struct {
	// Generation is that of the spec that it was decided from; 0 when nothing was decided.
	Generation int64
	// Clusters, Undecided and Leaving are as the status has them.
	Clusters, Undecided []v1alpha1.ClusterName
	Leaving             []v1alpha1.Leaving
}

// BeforeOf returns what a status says of the last decision.
func BeforeOf(status *v1alpha1.PlacementStatus) Before {
	return Before{
		Generation: status.ObservedGeneration, Clusters: status.Clusters, Undecided: status.Undecided, Leaving: status.Leaving,
	}
}

// Decision is which clusters a Placement selects, as what differs from those of before: where ten thousand are selected, a
// change of one costs what one costs.
type Decision struct {
	// Came are selected now, and Left are not any more; sorted.
	Came, Left []v1alpha1.ClusterName
	// Leaving are the selected clusters that stay for a while only.
	Leaving []v1alpha1.Leaving
	// Undecided are those of which it could not be told whether they fit, sorted. Whoever gets them changes nothing in them:
	// they may be those of before.
	Undecided []v1alpha1.ClusterName
	// Shortfall says what of the number and the spread cannot be had.
	Shortfall Shortfall
	// Again is when to look again although nothing changes; zero when there is no need to.
	Again time.Time

	before []v1alpha1.ClusterName
}

// Clusters are the selected clusters, sorted. The list is made when it is asked for, and nothing is changed in it: it may be
// that of before.
func (d Decision) Clusters() []v1alpha1.ClusterName { return edit(d.before, d.Left, d.Came) }

// Selected is how many clusters are selected.
func (d Decision) Selected() int { return len(d.before) + len(d.Came) - len(d.Left) }

// sameSpec says whether what was decided before was decided from this spec.
type sameSpec bool

// Seats says whether the Placement asks for a number of clusters, so that one cluster's place depends on others.
func (p *Plan) Seats() bool { return p.seats != nil }

// Number is how many clusters it asks for at most; 0 for all.
func (p *Plan) Number() int {
	if p.seats == nil {
		return 0
	}
	return p.seats.number
}

// Fleet is all clusters.
type Fleet map[v1alpha1.ClusterName]*Cluster

// Decide says which clusters are selected, of all that there are.
func (p *Plan) Decide(fleet Fleet, before Before, now time.Time) Decision {
	if p.seats != nil {
		return p.Pool(fleet).Decide(fleet, before, now)
	}
	round := p.begin(before, now)
	for _, c := range fleet {
		round.weigh(c)
	}
	decided := round.end(Shortfall{})
	decided.Came, decided.Left = differ(before.Clusters, round.in)
	decided.Undecided = slices.Sorted(slices.Values(round.undecided))
	return decided
}

// Revise says what Decide would say of all clusters, from what it said last and which of them changed since, sorted, each of them
// once; one that is gone is not in the fleet. The spec is the same as then, and asks for no number of clusters: nobody's place
// depends on another's.
func (p *Plan) Revise(fleet Fleet, changed []v1alpha1.ClusterName, before Before, now time.Time) Decision {
	round := p.begin(before, now)
	for _, name := range changed {
		if c := fleet[name]; c != nil {
			round.weigh(c)
		}
	}
	return round.merge(before, changed)
}

// round is a decision that is being made.
type round struct {
	plan *Plan
	same sameSpec
	now  time.Time
	// held and since are how it was.
	held  []v1alpha1.ClusterName
	since map[v1alpha1.ClusterName]time.Time

	in        []v1alpha1.ClusterName
	undecided []v1alpha1.ClusterName
	leaving   map[departure][]v1alpha1.ClusterName
}

// departure is what clusters that leave at the same time for the same reason share.
type departure struct {
	since, until time.Time
	because      string
}

func (p *Plan) begin(before Before, now time.Time) *round {
	r := &round{
		plan: p, same: before.Generation == p.generation, now: now.Truncate(time.Second), // as the API keeps times
		held: before.Clusters,
	}
	for _, group := range before.Leaving {
		if r.since == nil {
			r.since = map[v1alpha1.ClusterName]time.Time{}
		}
		for _, name := range group.Clusters {
			r.since[name] = group.Since.Time
		}
	}
	return r
}

// weigh decides about one cluster, whose place does not depend on the others.
func (r *round) weigh(c *Cluster) {
	v := r.plan.judge(c)
	if v.doubtful() {
		r.undecided = append(r.undecided, c.Name)
	}
	if v.why == fits {
		r.take(c.Name, nil)
		return
	}
	if !named(r.held, c.Name) {
		return
	}
	if leaves, out := r.departs(c, v); !out {
		r.take(c.Name, leaves)
	}
}

func (r *round) take(cluster v1alpha1.ClusterName, leaves *departure) {
	r.in = append(r.in, cluster)
	if leaves != nil {
		if r.leaving == nil {
			r.leaving = map[departure][]v1alpha1.ClusterName{}
		}
		r.leaving[*leaves] = append(r.leaving[*leaves], cluster)
	}
}

// departs says when a selected cluster leaves for what it does not meet, nil when it does not, and whether it is out now.
func (r *round) departs(c *Cluster, v verdict) (leaves *departure, out bool) {
	after, never := r.plan.stay(v, r.same)
	if never || after <= 0 {
		return nil, !never
	}
	since := r.now
	if was, ok := r.since[c.Name]; ok && bool(r.same) && was.Before(r.now) {
		since = was
	}
	until := since.Add(after)
	if !r.now.Before(until) {
		return nil, true
	}
	return &departure{since: since, until: until, because: r.plan.because(v, c)}, false
}

// end puts the decision together, but for who came, who left, and of whom it cannot be told.
func (r *round) end(short Shortfall) Decision {
	slices.Sort(r.in)
	d := Decision{before: r.held, Leaving: r.departures(), Shortfall: short, Again: short.again}
	for at := range r.leaving {
		d.Again = earlier(d.Again, at.until)
	}
	return d
}

// departures returns those who leave, sorted.
func (r *round) departures() []v1alpha1.Leaving {
	if len(r.leaving) == 0 {
		return nil
	}
	sorted := slices.SortedFunc(maps.Keys(r.leaving), func(a, b departure) int {
		if by := a.until.Compare(b.until); by != 0 {
			return by
		}
		if by := a.since.Compare(b.since); by != 0 {
			return by
		}
		return strings.Compare(a.because, b.because)
	})
	var list []v1alpha1.Leaving
	for _, at := range sorted {
		names := r.leaving[at]
		slices.Sort(names)
		list = append(list, v1alpha1.Leaving{
			Clusters: names, Since: metav1.NewTime(at.since), Until: metav1.NewTime(at.until), Because: at.because,
		})
	}
	return list
}

// merge puts a decision about clusters that changed into the one about all. Those whose time is over leave, too.
func (r *round) merge(before Before, changed []v1alpha1.ClusterName) Decision {
	names := slices.Clip(changed) // all whose place may be another one now
	for _, group := range before.Leaving {
		at := departure{since: group.Since.Time, until: group.Until.Time, because: group.Because}
		for _, name := range group.Clusters {
			if named(changed, name) {
				continue
			}
			names = append(names, name)
			if r.now.Before(at.until) {
				r.take(name, &at)
			}
		}
	}
	if len(names) > len(changed) {
		slices.Sort(names)
	}
	decided := r.end(Shortfall{})
	decided.Came, decided.Left = differ(among(before.Clusters, names), r.in)
	slices.Sort(r.undecided)
	came, left := differ(among(before.Undecided, names), r.undecided)
	decided.Undecided = edit(before.Undecided, left, came)
	return decided
}

// among returns those of a few names that are in a sorted list.
func among(sorted, few []v1alpha1.ClusterName) (there []v1alpha1.ClusterName) {
	for _, name := range few {
		if named(sorted, name) {
			there = append(there, name)
		}
	}
	return there
}

// differ says who is in the second of two sorted lists alone, and who in the first alone.
func differ(before, after []v1alpha1.ClusterName) (came, left []v1alpha1.ClusterName) {
	for len(before) > 0 && len(after) > 0 {
		switch strings.Compare(string(before[0]), string(after[0])) {
		case 0:
			before, after = before[1:], after[1:]
		case -1:
			left, before = append(left, before[0]), before[1:]
		default:
			came, after = append(came, after[0]), after[1:]
		}
	}
	return append(came, after...), append(left, before...)
}

// edit returns a sorted list without those who left, who are in it, and with those who came, who are not. All are sorted. It
// is the list itself when nobody did.
func edit(list, left, came []v1alpha1.ClusterName) []v1alpha1.ClusterName {
	if len(left) == 0 && len(came) == 0 {
		return list
	}
	edited := make([]v1alpha1.ClusterName, 0, len(list)+len(came)-len(left))
	for len(list) > 0 || len(came) > 0 {
		switch {
		case len(left) > 0 && len(list) > 0 && list[0] == left[0]:
			list, left = list[1:], left[1:]
		case len(came) == 0 || len(list) > 0 && list[0] < came[0]:
			edited, list = append(edited, list[0]), list[1:]
		default:
			edited, came = append(edited, came[0]), came[1:]
		}
	}
	return edited
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
