package explain

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/view"
	"umbel.dev/umbel/internal/placement/decide"
)

// Foresight is what a placement would select if its spec were this one.
type Foresight struct {
	// Verdicts are those of all clusters, without their reasons: who would be selected, of whom it cannot be told, and the others, each by name.
	Verdicts            []Verdict
	Selected, Undecided int

	plan  *decide.Plan
	fleet decide.Fleet
	after decide.Before // as it would be
}

// Foresee decides as the hub does (package decide), and keeps nothing. The placement's status, if it has one, is how it is now. The error names the field of
// the spec that cannot be read.
func Foresee(placement *v1alpha1.Placement, clusters []v1alpha1.MemberCluster, now time.Time) (*Foresight, error) {
	plan, err := decide.Compile(placement)
	if err != nil {
		return nil, err
	}
	f := &Foresight{plan: plan, fleet: decide.Fleet{}}
	for i := range clusters {
		seen := decide.See(&clusters[i])
		f.fleet[seen.Name] = &seen
	}
	decided := plan.Decide(f.fleet, decide.BeforeOf(&placement.Status), now)
	f.after = decide.Before{Generation: placement.Generation, Clusters: decided.Clusters(), Undecided: decided.Undecided, Leaving: decided.Leaving}
	states := map[v1alpha1.ClusterName]int{}
	for _, name := range decided.Undecided {
		states[name] = 1
	}
	for _, name := range f.after.Clusters {
		states[name] = 2
	}
	for name := range f.fleet {
		state := states[name]
		f.Verdicts = append(f.Verdicts, Verdict{Cluster: name, State: [...]view.State{NotSelected, Undecided, Selected}[state]})
		switch state {
		case 1:
			f.Undecided++
		case 2:
			f.Selected++
		}
	}
	slices.SortFunc(f.Verdicts, func(a, b Verdict) int {
		return cmp.Or(states[b.Cluster]-states[a.Cluster], strings.Compare(string(a.Cluster), string(b.Cluster)))
	})
	return f, nil
}

// Because is the first thing that a cluster does not meet, or else the first of which it cannot be told.
func (f *Foresight) Because(cluster v1alpha1.ClusterName) string {
	a := &Account{Cluster: cluster}
	for _, step := range f.plan.Trace(f.fleet[cluster], f.after) {
		a.Steps = append(a.Steps, Step{Stage: Placement, Step: step})
	}
	return a.reason(Placement)
}
