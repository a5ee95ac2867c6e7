package decide

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/api/v1alpha1"
)

// fickle is a program that says something else each time that it is asked of the same cluster, until it is settled: from then
// on it says what it said last. It stands for expressions that depend on the order in which CEL goes through labels.
type fickle struct {
	answer  func() (ref.Val, error)
	settled bool
	last    map[v1alpha1.ClusterName]said
}

type said struct {
	value ref.Val
	err   error
}

func (f *fickle) Eval(input any) (ref.Val, *cel.EvalDetails, error) {
	of, ok := input.(variables)
	if !ok {
		return nil, nil, errors.New("not a cluster")
	}
	says, before := f.last[of.Name]
	if !f.settled || !before {
		says.value, says.err = f.answer()
		f.last[of.Name] = says
	}
	return says.value, nil, says.err
}

func (f *fickle) ContextEval(_ context.Context, input any) (ref.Val, *cel.EvalDetails, error) {
	return f.Eval(input)
}

// fickleIn has one of the expressions, and one of the scores, of a plan change its mind.
func fickleIn(plan *Plan, random *rand.Rand) []*fickle {
	judge := &fickle{last: map[v1alpha1.ClusterName]said{}, answer: func() (ref.Val, error) {
		if random.IntN(5) == 0 {
			return nil, errors.New("no such key")
		}
		return types.Bool(random.IntN(3) > 0), nil
	}}
	points := &fickle{last: map[v1alpha1.ClusterName]said{}, answer: func() (ref.Val, error) {
		return types.Int(random.IntN(100)), nil
	}}
	plan.expressions = append(plan.expressions, &expression{text: "fickle", program: judge})
	plan.seats.scores = append(plan.seats.scores, score{weight: 3, expression: &expression{text: "fickle", program: points}})
	return []*fickle{judge, points}
}

// lined is who waits in which line of a pool, in the order in which they get a seat.
func (p *Pool) lined() map[string][]v1alpha1.ClusterName {
	lines := map[string][]candidate{}
	for name, at := range p.joined {
		lines[at.in.value] = append(lines[at.in.value], candidate{name, at.rank})
	}
	names := map[string][]v1alpha1.ClusterName{}
	for value, all := range lines {
		slices.SortFunc(all, compare)
		for _, c := range all {
			names[value] = append(names[value], c.name)
		}
	}
	return names
}

// sound says what is wrong with a pool: whoever is in it stands in one line, once, and nobody else does; in front of a line are its
// best.
func (p *Pool) sound(t *testing.T) {
	t.Helper()
	seen := map[v1alpha1.ClusterName]bool{}
	for value, names := range p.lined() {
		if in := p.lines[value]; in == nil || in.size != len(names) {
			t.Fatalf("the line %q of %v is %+v", value, names, in)
		}
		front := slices.Clone(p.lines[value].front)
		slices.Reverse(front) // the best is the last
		for i, first := range front {
			if at := p.joined[first.name]; first.name != names[i] || at.rank != first.rank || at.in.value != value {
				t.Fatalf("%d in front of the line %q of %v is %+v", i, value, names, first)
			}
		}
		for _, name := range names {
			if _, is := p.joined[name]; seen[name] || !is || named(p.doubtful, name) {
				t.Fatalf("%s stands in line twice, joined nobody, or is doubtful: %v, doubtful %v", name, p.lined(), p.doubtful)
			}
			seen[name] = true
		}
	}
	if len(seen) != len(p.joined) || !slices.IsSorted(p.doubtful) {
		t.Fatalf("%d of %d stand in line: %v; doubtful %v", len(seen), len(p.joined), p.lined(), p.doubtful)
	}
}

// TestAPoolTrustsNoJudge: also where what is said of a cluster is something else each time, whoever came in leaves, and nobody
// has two seats. At the end the pool is one that was made anew from what was said last.
func TestAPoolTrustsNoJudge(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		plan := compiled(t, w.spec(true))
		minds := fickleIn(plan, w.Rand)
		fleet := w.all()
		pool, last := plan.Pool(fleet), Before{}
		pool.front = 1 + w.IntN(4) // so few that it has to look again
		follow := func(name v1alpha1.ClusterName, after *Cluster) {
			if delete(fleet, name); after != nil {
				fleet[name] = after
			}
			pool.Change(name, after, Declared)
			pool.sound(t)
		}
		decides := w.IntN(4) > 0 // one whose line is never looked at follows, too
		for range 60 {
			for range w.IntN(4) {
				change := w.change()
				follow(change.name, change.cluster)
			}
			if !decides {
				continue
			}
			decided := pool.Decide(fleet, last, w.now)
			pool.sound(t)
			clusters := decided.Clusters()
			if most := plan.Number(); len(clusters) > most || len(slices.Compact(slices.Clone(clusters))) < len(clusters) {
				t.Fatalf("selected %v, of at most %d", clusters, most)
			}
			last = decided.next()
		}
		for name, c := range fleet { // so that what was said last was said to the pool, and not in a decision
			follow(name, c)
		}
		for _, mind := range minds {
			mind.settled = true
		}
		anew := plan.Pool(fleet)
		if !slices.Equal(anew.doubtful, pool.doubtful) {
			t.Fatalf("doubtful: anew %v, and %v", anew.doubtful, pool.doubtful)
		}
		anew.order(fleet)
		pool.order(fleet)
		if diff := cmp.Diff(anew.lined(), pool.lined()); diff != "" {
			t.Fatalf("in line (-anew +followed):\n%s", diff)
		}
	})
}

// BenchmarkLook is what it costs a Placement to find the next of 5,000 clusters who get a seat, once those have gone of whom it was known.
func BenchmarkLook(b *testing.B) {
	fleet := Fleet{}
	for i := range 5000 {
		name := v1alpha1.ClusterName(fmt.Sprintf("c%04d", i))
		fleet[name] = &Cluster{Name: name}
	}
	placement := &v1alpha1.Placement{Spec: v1alpha1.PlacementSpec{NumberOfClusters: new(int32(3))}}
	plan, err := Compile(placement)
	if err != nil {
		b.Fatal(err)
	}
	pool := plan.Pool(fleet)
	pool.order(fleet)
	in := pool.lines[""]
	for b.Loop() {
		in.front = nil
		pool.look(in, pool.front)
	}
}
