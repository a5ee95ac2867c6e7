package decide

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// histories is how many random lives of a fleet each law is tried on.
const histories = 150

// world is a fleet that changes at random, of a seed.
type world struct {
	*rand.Rand
	fleet map[v1alpha1.ClusterName]Cluster
	now   time.Time
}

func newWorld(seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 0)), fleet: map[v1alpha1.ClusterName]Cluster{}, now: noon}
	for i := range 3 + w.IntN(25) {
		name := v1alpha1.ClusterName(fmt.Sprintf("c%02d", i))
		w.fleet[name] = w.cluster(name)
	}
	return w
}

func (w *world) one(of ...string) string { return of[w.IntN(len(of))] }

func (w *world) cluster(name v1alpha1.ClusterName) Cluster {
	c := member(string(name), "env="+w.one("prod", "prod", "dev"), "region="+w.one("eu", "us", "asia"))
	if w.IntN(6) == 0 {
		delete(c.Labels, "region")
	}
	for _, effect := range v1alpha1.TaintEffects() {
		if w.IntN(8) == 0 {
			c.Taints = append(c.Taints, v1alpha1.Taint{Key: w.one("a", "b"), Effect: effect})
		}
	}
	switch w.IntN(8) {
	case 0:
		c.KubernetesVersion = ""
	case 1:
		c.KubernetesVersion = "v1.35.0"
	}
	if w.IntN(3) > 0 {
		c.Properties = map[string]string{"cpu": w.one("1", "8", "many")}
	}
	switch w.IntN(12) {
	case 0:
		c.Standing = Leaving
	case 1:
		c.Standing = Outside
	}
	c.Observed = w.IntN(6) == 0
	if w.IntN(4) == 0 {
		c.Lost = w.now.Add(-time.Duration(w.IntN(30)) * time.Minute)
	}
	return c
}

// all is the fleet as it is now.
func (w *world) all() Fleet {
	all := Fleet{}
	for name, c := range w.fleet {
		all[name] = &c
	}
	return all
}

// change is what became of one cluster, which is nil when it is gone.
type change struct {
	name    v1alpha1.ClusterName
	cluster *Cluster
}

// level has one cluster be observed, or not any more, and be as it was otherwise.
func (w *world) level() change {
	names := slices.Sorted(maps.Keys(w.fleet))
	name := names[w.IntN(len(names))]
	c := w.fleet[name]
	c.Observed = !c.Observed
	w.fleet[name] = c
	return change{name, &c}
}

// change changes one cluster: it comes, goes, is another, or has another level.
func (w *world) change() change {
	if w.IntN(6) == 0 {
		return w.level()
	}
	name := v1alpha1.ClusterName(fmt.Sprintf("c%02d", w.IntN(len(w.fleet)+3)))
	if _, there := w.fleet[name]; there && w.IntN(4) == 0 && len(w.fleet) > 1 {
		delete(w.fleet, name)
		return change{name: name}
	}
	c := w.cluster(name)
	w.fleet[name] = c
	return change{name, &c}
}

// spec asks for something at random; a number of clusters when it is asked for.
func (w *world) spec(seats bool) v1alpha1.PlacementSpec {
	var spec v1alpha1.PlacementSpec
	if w.IntN(2) == 0 {
		spec.ClusterSelector = metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}
	}
	if w.IntN(2) == 0 {
		spec.Fields = append(spec.Fields, v1alpha1.FieldRequirement{Field: "kubernetesVersion", Operator: v1alpha1.FieldAtLeast, Values: []string{"v1.36"}})
	}
	if w.IntN(3) == 0 {
		spec.Fields = append(spec.Fields, v1alpha1.FieldRequirement{Field: "properties.cpu", Operator: v1alpha1.FieldAtLeast, Values: []string{"4"}})
	}
	if w.IntN(3) == 0 {
		spec.Expressions = append(spec.Expressions, w.one("cluster.labels.region != 'asia'", "int(cluster.properties.cpu) > 4", "cluster.name != 'c01'"))
	}
	if w.IntN(2) == 0 {
		spec.Tolerations = append(spec.Tolerations, v1alpha1.Toleration{Key: "a", Operator: v1alpha1.TolerationExists})
	}
	if w.IntN(3) == 0 {
		seconds := int64(w.IntN(600))
		spec.Tolerations = append(spec.Tolerations, v1alpha1.Toleration{Key: "b", Operator: v1alpha1.TolerationExists, Effect: v1alpha1.TaintEvict, TolerationSeconds: &seconds})
	}
	if !seats {
		return spec
	}
	spec.NumberOfClusters = number(int32(1 + w.IntN(8)))
	if w.IntN(2) == 0 {
		spec.Spread = &v1alpha1.Spread{Label: "region"}
		if w.IntN(3) > 0 {
			spec.Spread.MaxSkew = number(int32(1 + w.IntN(2)))
		}
		if spec.Spread.MaxSkew == nil || w.IntN(3) == 0 {
			spec.Spread.MinValues = number(int32(2 + w.IntN(2)))
		}
	}
	if w.IntN(2) == 0 {
		spec.Scores = append(spec.Scores, v1alpha1.Score{Weight: int32(w.IntN(20) - 5), Expression: "int(cluster.properties.cpu) * 3"})
	}
	return spec
}

// each tries a law on random worlds.
func each(t *testing.T, law func(t *testing.T, w *world)) {
	t.Helper()
	for seed := range uint64(histories) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { law(t, newWorld(seed)) })
	}
}

func spared(plan *Plan, w *world, name v1alpha1.ClusterName) verdict {
	c, there := w.fleet[name]
	if !there {
		return verdict{why: isLeaving}
	}
	return plan.judge(&c)
}

// TestTheSameInGivesTheSameOut, in whichever order, and deciding again moves nobody.
func TestTheSameInGivesTheSameOut(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		plan := compiled(t, w.spec(w.IntN(2) == 0))
		once := plan.Decide(w.all(), Before{}, w.now)
		if diff := cmp.Diff(once.String(), plan.Decide(w.all(), Before{}, w.now).String()); diff != "" {
			t.Fatalf("in another order (-once +again):\n%s", diff)
		}
		if diff := cmp.Diff(once.String(), plan.Decide(w.all(), once.next(), w.now).String()); diff != "" {
			t.Fatalf("decided again (-once +again):\n%s", diff)
		}
	})
}

// TestOneChangeMovesOne: whoever did not change keeps his place, and for one that leaves one comes, at most.
func TestOneChangeMovesOne(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		plan := compiled(t, w.spec(true))
		last := plan.Decide(w.all(), Before{}, w.now)
		for range 30 {
			change := w.change()
			now := plan.Decide(w.all(), last.next(), w.now)
			var came, left []v1alpha1.ClusterName
			for _, name := range now.Clusters() {
				if !named(last.Clusters(), name) {
					came = append(came, name)
				}
			}
			for _, name := range last.Clusters() {
				if !named(now.Clusters(), name) {
					left = append(left, name)
				}
			}
			// A change can open a seat, or several where it is what the spread was waiting for.
			if free := plan.Number() - len(last.Clusters()) + len(left); len(came) > free || len(left) > 1 || len(left) == 1 && left[0] != change.name {
				t.Fatalf("%s changed; %v came and %v left, of %v", change.name, came, left, last.Clusters())
			}
			last = now
		}
	})
}

// TestObservingMovesNobody: who is observed gets no place, and to observe one takes no place away, its own or another's.
func TestObservingMovesNobody(t *testing.T) {
	var refused, kept int
	each(t, func(t *testing.T, w *world) {
		plan := compiled(t, w.spec(w.IntN(2) == 0))
		var last Decision
		for range 40 {
			levelled := v1alpha1.ClusterName("")
			if w.IntN(2) == 0 {
				levelled = w.level().name
			} else {
				w.change()
			}
			now := plan.Decide(w.all(), last.next(), w.now)
			for name, c := range w.fleet {
				was, is := named(last.Clusters(), name), named(now.Clusters(), name)
				switch {
				case !was && is && c.Observed:
					t.Fatalf("%s is observed, and was selected anew: %v, of %v", name, now.Clusters(), last.Clusters())
				case was && !is && levelled != "":
					t.Fatalf("the level of %s changed, and %s lost its place: %v, of %v", levelled, name, now.Clusters(), last.Clusters())
				case c.Observed && plan.judge(&c).why == isObserved && is:
					kept++
				case c.Observed && plan.judge(&c).why == isObserved:
					refused++
				}
			}
			last = now
		}
	})
	if refused < histories || kept < histories {
		t.Errorf("of those observed that meet the spec, %d had no place and %d kept theirs, which is too few to tell", refused, kept)
	}
}

// TestNumberAndSpreadHold, or the decision says why not.
func TestNumberAndSpreadHold(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		spec := w.spec(true)
		plan := compiled(t, spec)
		var last Decision
		for step := range 30 {
			if step > 0 {
				w.change()
			}
			before := last
			last = plan.Decide(w.all(), before.next(), w.now)
			most := int(*spec.NumberOfClusters)
			if len(last.Clusters()) > most {
				t.Fatalf("selected %v, more than %d", last.Clusters(), most)
			}
			if len(last.Clusters()) < most && last.Shortfall.Reason != v1alpha1.ReasonTooFewClusters {
				t.Fatalf("selected %d of %d and did not say so: %+v", len(last.Clusters()), most, last.Shortfall)
			}
			if spec.Spread == nil {
				continue
			}
			counts := w.regions(plan, last.Clusters())
			skew, distinct := skewOf(counts)
			short := strings.Contains(last.Shortfall.Message, "skewed")
			if limit := spec.Spread.MaxSkew; limit != nil && (skew > int(*limit)) != short {
				t.Fatalf("regions %v are skewed by %d, of at most %d; said %+v", counts, skew, *limit, last.Shortfall)
			}
			if least := spec.Spread.MinValues; least != nil && distinct < int(*least) && last.Shortfall.Reason == "" {
				t.Fatalf("%d regions, of at least %d; said nothing", distinct, *least)
			}
			if step == 0 && short {
				t.Fatalf("a first choice broke the spread: %v", counts)
			}
		}
	})
}

// regions counts the selected clusters of each region in which one is, or could be, selected.
func (w *world) regions(plan *Plan, selected []v1alpha1.ClusterName) map[string]int {
	counts := map[string]int{}
	for name, c := range w.fleet {
		switch {
		case named(selected, name):
			counts[c.Labels["region"]]++
		case spared(plan, w, name).why == fits:
			counts[c.Labels["region"]] += 0
		}
	}
	return counts
}

func skewOf(counts map[string]int) (skew, distinct int) {
	least, most := -1, 0
	for _, count := range counts {
		if count > 0 {
			distinct++
		}
		if least < 0 || count < least {
			least = count
		}
		most = max(most, count)
	}
	return most - max(least, 0), distinct
}

// TestNothingUnknownMovesAnybody: while expressions err and nobody's version is known, whoever is selected stays, whoever is
// not is not, and each of them is named.
func TestNothingUnknownMovesAnybody(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		spec := w.spec(w.IntN(2) == 0)
		spec.Expressions = append(spec.Expressions, "cluster.labels.env != ''")
		plan := compiled(t, spec)
		last := plan.Decide(w.all(), Before{}, w.now)
		if spec.Fields, spec.Expressions = nil, []string{"cluster.labels.nope == 'x'"}; w.IntN(2) == 0 {
			for name, c := range w.fleet {
				c.KubernetesVersion, c.AgentVersion, c.Properties = "", "", nil
				w.fleet[name] = c
			}
			spec.Fields, spec.Expressions = []v1alpha1.FieldRequirement{{Field: "kubernetesVersion", Operator: v1alpha1.FieldExists}}, nil
		}
		broken := compiled(t, spec)
		now := broken.Decide(w.all(), last.next(), w.now.Add(time.Hour))
		for name := range w.fleet {
			v := spared(broken, w, name)
			if v.why == isLeaving || v.why == isOutside || v.why == notLabelled || v.why == notSpread || v.why == evicted {
				continue // for a person's word
			}
			if named(last.Clusters(), name) != named(now.Clusters(), name) || !named(now.Undecided, name) {
				t.Fatalf("%s: was selected %v, is %v, of undecided %v", name, named(last.Clusters(), name), named(now.Clusters(), name), now.Undecided)
			}
		}
	})
}

// TestRevisingIsDeciding: what follows from the clusters that changed is what follows from all of them; and a change that
// Concerns does not name changes nothing.
func TestRevisingIsDeciding(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		plan := compiled(t, w.spec(false))
		last := plan.Decide(w.all(), Before{}, w.now)
		for range 40 {
			var changed []v1alpha1.ClusterName
			concerned := false
			for range 1 + w.IntN(3) {
				var before *Cluster
				was := w.snapshot()
				change := w.change()
				if c, there := was[change.name]; there {
					before = &c
				}
				if before == nil && change.cluster == nil || slices.Contains(changed, change.name) {
					w.fleet = was
					continue
				}
				concerned = concerned || plan.Concerns(before, change.cluster, last.next()) && plan.Minds(Differences(before, change.cluster))
				changed = append(changed, change.name)
			}
			if w.IntN(3) == 0 {
				w.now = w.now.Add(time.Duration(w.IntN(400)) * time.Second)
			}
			all := plan.Decide(w.all(), last.next(), w.now)
			slices.Sort(changed)
			revised := plan.Revise(w.all(), changed, last.next(), w.now)
			if diff := cmp.Diff(all.String(), revised.String()); diff != "" || !all.Again.Equal(revised.Again) {
				t.Fatalf("%v changed (-all +revised):\n%s", changed, diff)
			}
			if !concerned && len(last.Leaving) == 0 && all.String() != last.String() {
				t.Fatalf("%v concern nobody, and changed %q to %q", changed, last, all)
			}
			last = revised
		}
	})
}

// TestSeatsAreConcerned: a change that Concerns does not name changes nothing where a number of clusters is asked for, either.
func TestSeatsAreConcerned(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		plan := compiled(t, w.spec(true))
		pool := plan.Pool(w.all())
		pool.front = 1 + w.IntN(4)
		last := pool.Decide(w.all(), Before{}, w.now)
		for range 40 {
			was := w.snapshot()
			change := w.change()
			var before *Cluster
			if c, there := was[change.name]; there {
				before = &c
			}
			differ := Differences(before, change.cluster)
			shift := pool.Change(change.name, change.cluster, differ)
			now := plan.Decide(w.all(), last.next(), w.now)
			concerns := (before != nil || change.cluster != nil) && plan.Minds(differ) && pool.Concerns(shift, before, change.cluster, last.next())
			if !concerns && now.String() != last.String() {
				t.Fatalf("%s changed from %+v to %+v, which concerns nobody, and %q became %q", change.name, before, change.cluster, last, now)
			}
			last = now
		}
	})
}

func (w *world) snapshot() map[v1alpha1.ClusterName]Cluster {
	return maps.Clone(w.fleet)
}
