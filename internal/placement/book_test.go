package placement

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/placement/decide"
)

// hub is what a benchmark decides: clusters, and placements with their last decision, without an API.
type hub struct {
	book       *book
	placements map[types.NamespacedName]*v1alpha1.Placement
	// written are decisions that the API was told, and that have not come back yet.
	written map[*v1alpha1.Placement]outcome
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newHub(b testing.TB, clusters, placements int, spec func(i int) v1alpha1.PlacementSpec) *hub {
	b.Helper()
	h := &hub{book: newBook(), placements: map[types.NamespacedName]*v1alpha1.Placement{}, written: map[*v1alpha1.Placement]outcome{}}
	h.book.fleet = decide.Fleet{}
	for i := range clusters {
		h.book.fleet[named(i)] = &decide.Cluster{
			Name: named(i), KubernetesVersion: "v1.36.3",
			Labels: map[string]string{"env": []string{"prod", "dev"}[i%2], "region": fmt.Sprintf("r%d", i%20), "site": fmt.Sprintf("s%d", i%200), "room": fmt.Sprint(max(1, 100-i))},
		}
	}
	for i := range placements {
		p := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("p%d", i), UID: types.UID(fmt.Sprint(i)), Generation: 1, ResourceVersion: "1"}}
		p.Spec = spec(i)
		h.placements[types.NamespacedName{Namespace: p.Namespace, Name: p.Name}] = p
		h.decide(b, p)
		h.receive()
	}
	return h
}

func named(i int) v1alpha1.ClusterName { return v1alpha1.ClusterName(fmt.Sprintf("c%05d", i)) }

// decide is what the controller does, without reading and writing.
func (h *hub) decide(b testing.TB, p *v1alpha1.Placement) {
	page, _ := h.book.open(p)
	if page.plan == nil {
		b.Fatal(page.problem)
	}
	decision := h.book.decide(page, decide.BeforeOf(&p.Status), noon)
	o := decided(p, page.plan, decision)
	if _, err := patchOf(p, o); err != nil {
		b.Fatal(err)
	}
	h.written[p] = o
	h.book.settled(page, p.ResourceVersion)
}

// receive has what was written come back as the API gives it back.
func (h *hub) receive() {
	for p, o := range h.written {
		p.Status = received(p.Status.Clusters, o)
	}
	clear(h.written)
}

// received is a status that was written. The list of names is that of before, changed in its place.
func received(clusters []v1alpha1.ClusterName, o outcome) v1alpha1.PlacementStatus {
	if len(clusters) == 0 {
		clusters = slices.Clone(o.clusters())
	} else {
		for _, name := range o.Left {
			at, _ := slices.BinarySearch(clusters, name)
			clusters = slices.Delete(clusters, at, at+1)
		}
		for _, name := range o.Came {
			at, _ := slices.BinarySearch(clusters, name)
			clusters = slices.Insert(clusters, at, name)
		}
	}
	o.status.Clusters = clusters
	return o.status
}

// relabel changes one label of one cluster and decides what follows. It returns how many Placements were decided again.
func (h *hub) relabel(b testing.TB, i int, key, value string) int {
	after := *h.book.fleet[named(i)]
	after.Labels = maps.Clone(after.Labels)
	after.Labels[key] = value
	concerned := h.book.note(after.Name, &after, func(key types.NamespacedName) (decide.Before, bool) {
		return decide.BeforeOf(&h.placements[key].Status), true
	})
	for _, key := range concerned {
		h.decide(b, h.placements[key])
	}
	return len(concerned)
}

// The kinds of Placements that benchmarks have a thousand of.
var specs = map[string]func(int) v1alpha1.PlacementSpec{
	// labels: each selects the clusters of one of 200 sites, or of one of 20 regions.
	"labels": func(i int) v1alpha1.PlacementSpec {
		if i%2 == 0 {
			return labelled("site", fmt.Sprintf("s%d", i/2%200))
		}
		return labelled("region", fmt.Sprintf("r%d", i/2%20))
	},
	// everybody: all of them select all clusters of production, so that one label moves all of them.
	"everybody": func(int) v1alpha1.PlacementSpec { return labelled("env", "prod") },
	// expressions: as labels, in CEL.
	"expressions": func(i int) v1alpha1.PlacementSpec {
		return v1alpha1.PlacementSpec{Expressions: []string{fmt.Sprintf("cluster.labels.region == 'r%d' && cluster.labels.env == 'prod'", i%20)}}
	},
	// seats: as labels, and each takes three of them, over sites.
	"seats": func(i int) v1alpha1.PlacementSpec {
		spec := labelled("region", fmt.Sprintf("r%d", i%20))
		three := int32(3)
		one := int32(1)
		spec.NumberOfClusters, spec.Spread = &three, &v1alpha1.Spread{Label: "site", MaxSkew: &one}
		return spec
	},
	// everybodys-seats: each takes three of all clusters of production.
	"everybodys-seats": func(int) v1alpha1.PlacementSpec {
		spec := labelled("env", "prod")
		spec.NumberOfClusters = new(int32(3))
		return spec
	},
	// favourite: each takes the one of production that has most, which is the same for all of them.
	"favourite": func(int) v1alpha1.PlacementSpec {
		spec := labelled("env", "prod")
		spec.NumberOfClusters = new(int32(1))
		spec.Scores = []v1alpha1.Score{{Weight: 1, Expression: "int(cluster.labels.room)"}}
		return spec
	},
}

func labelled(key, value string) v1alpha1.PlacementSpec {
	return v1alpha1.PlacementSpec{ClusterSelector: metav1.LabelSelector{MatchLabels: map[string]string{key: value}}}
}

// change is the next one of a benchmark: of which cluster, and of which label.
func (h *hub) change(kind string, n, clusters int) (i int, key, value string) {
	i = n % clusters
	switch kind {
	case "everybody", "everybodys-seats":
		return i, "env", []string{"dev", "prod"}[(i+n/clusters)%2]
	case "favourite": // loses what all had it selected for
		if _, err := fmt.Sscanf(string(h.placements[types.NamespacedName{Namespace: "default", Name: "p0"}].Status.Clusters[0]), "c%d", &i); err != nil {
			panic(err)
		}
		return i, "env", "dev"
	}
	return i, "region", fmt.Sprintf("r%d", (n+n/clusters+1)%20)
}

// BenchmarkLabelChange is what one change of a label costs with a thousand Placements: to find whom it concerns, to decide
// those again, and to say what is to be written. Its figures are in docs/operate/scale.md.
func BenchmarkLabelChange(b *testing.B) {
	for _, kind := range []string{"labels", "everybody", "expressions", "seats", "everybodys-seats", "favourite"} {
		for _, clusters := range []int{100, 1_000, 10_000} {
			b.Run(fmt.Sprintf("%s/clusters=%d", kind, clusters), func(b *testing.B) {
				h := newHub(b, clusters, 1_000, specs[kind])
				again, n, took := 0, 0, time.Duration(0)
				for b.Loop() {
					i, key, value := h.change(kind, n, clusters)
					began := processor(b)
					again += h.relabel(b, i, key, value)
					took += processor(b) - began
					n++
					b.StopTimer()
					h.receive()
					if kind == "favourite" {
						h.relabel(b, i, key, "prod")
						h.receive()
					}
					b.StartTimer()
				}
				b.ReportMetric(float64(again)/float64(n), "placements/op")
				// What it costs on a machine that has other things to do, too; collecting garbage included.
				b.ReportMetric(float64(took.Microseconds())/1000/float64(n), "cpu-ms/op")
			})
		}
	}
}

// processor is how much of processors this process has used.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// TestAThousandChanges: what is decided from the changes is what is decided from everything.
func TestAThousandChanges(t *testing.T) {
	for kind, spec := range specs {
		t.Run(kind, func(t *testing.T) {
			h := newHub(t, 200, 60, spec)
			for n := range 1000 {
				h.relabel(t, n*7%200, []string{"region", "env", "site"}[n%3], []string{"r1", "prod", "s3", "r2", "dev", "s4"}[n%6])
				h.receive()
			}
			for _, p := range h.placements {
				plan, err := decide.Compile(p)
				if err != nil {
					t.Fatal(err)
				}
				want := plan.Decide(h.book.fleet, decide.BeforeOf(&p.Status), noon).Clusters()
				if !slices.Equal(want, p.Status.Clusters) {
					t.Errorf("%s: got %v, want %v", p.Name, p.Status.Clusters, want)
				}
			}
		})
	}
}

// TestAnExpressionThatChangesItsMind: CEL goes through labels in any order, so that this one says something else each time that
// it is asked. Whom it selects is anybody's guess, and the number of seats holds.
func TestAnExpressionThatChangesItsMind(t *testing.T) {
	h := newHub(t, 50, 20, func(int) v1alpha1.PlacementSpec {
		three := int32(3)
		return v1alpha1.PlacementSpec{
			NumberOfClusters: &three, Expressions: []string{"cluster.labels.map(key, key)[0] in ['env', 'region']"},
			Spread: &v1alpha1.Spread{Label: "site", MaxSkew: &three},
			Scores: []v1alpha1.Score{{Weight: 1, Expression: "cluster.labels.map(key, key)[0] == 'env' ? 50 : 10"}},
		}
	})
	for n := range 500 {
		h.relabel(t, n%50, []string{"region", "site"}[n%2], fmt.Sprintf("s%d", n%3))
		h.receive()
	}
	for _, p := range h.placements {
		if names := p.Status.Clusters; len(names) > 3 || len(slices.Compact(slices.Clone(names))) < len(names) {
			t.Errorf("%s: selected %v", p.Name, names)
		}
	}
}
