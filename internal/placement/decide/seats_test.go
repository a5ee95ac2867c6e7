package decide

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestSeats tells the life of a Placement of a number of clusters: each step begins with what the one before decided.
func TestSeats(t *testing.T) {
	type step struct {
		reason string
		fleet  []Cluster
		want   string
	}
	eu := func(name string) Cluster { return member(name, "region=eu") }
	us := func(name string) Cluster { return member(name, "region=us") }
	asia := func(name string) Cluster { return member(name, "region=asia") }
	three := []Cluster{eu("a"), eu("b"), eu("c")}
	gold := &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}
	for _, tc := range []struct {
		story string
		spec  v1alpha1.PlacementSpec
		steps []step
	}{
		{"who is chosen stays", v1alpha1.PlacementSpec{NumberOfClusters: number(2), Scores: []v1alpha1.Score{{Weight: 1, ClusterSelector: gold}}}, []step{
			{"none is there", nil, "{TooFewClusters: 0 of 2 clusters: no other cluster meets the spec}"},
			{"one comes", []Cluster{eu("c")}, "c {TooFewClusters: 1 of 2 clusters: no other cluster meets the spec}"},
			{"two more come, one of them with points", []Cluster{member("a", "tier=gold"), eu("b"), eu("c")}, "a c"},
			{"one with more points comes too late", []Cluster{member("a", "tier=gold"), member("b", "tier=gold"), eu("c")}, "a c"},
			{"one is lost, and keeps its seat", []Cluster{member("a", "tier=gold"), member("b", "tier=gold"), eu("c").lost(time.Hour)}, "a c"},
			{"one is gone", []Cluster{member("a", "tier=gold"), member("b", "tier=gold")}, "a b"},
			{"it is back, too late", []Cluster{member("a", "tier=gold"), member("b", "tier=gold"), eu("c")}, "a b"},
		}},
		{"taints", v1alpha1.PlacementSpec{NumberOfClusters: number(1)}, []step{
			{"whoever is avoided comes last", []Cluster{eu("a").tainted("x:PreferNoSelect"), eu("b").tainted("y:NoSelect"), eu("c")}, "c"},
			{"and is better than nobody", []Cluster{eu("a").tainted("x:PreferNoSelect"), eu("b").tainted("y:NoSelect")}, "a"},
			{"and stays", []Cluster{eu("a").tainted("x:PreferNoSelect"), eu("b")}, "a"},
			{"until it is driven out", []Cluster{eu("a").tainted("x:Evict"), eu("b")}, "b"},
		}},
		{"whoever is away loses the seat when the spec says so", v1alpha1.PlacementSpec{NumberOfClusters: number(2), Stay: v1alpha1.Stay{WhenUnreachable: duration(10 * time.Minute)}}, []step{
			{"two are there", three[:2], "a b"},
			{"one is away for a while", []Cluster{eu("a").lost(9 * time.Minute), eu("b"), eu("c")}, "a b"},
			{"nobody who is there could take the seat", []Cluster{eu("a").lost(time.Hour), eu("b"), eu("c").lost(time.Second)}, "a b"},
			{"another takes it", []Cluster{eu("a").lost(time.Hour), eu("b"), eu("c")}, "b c"},
			{"all are away: the line to the hub, more likely than all of them", []Cluster{eu("a").lost(time.Hour), eu("b").lost(time.Hour), eu("c").lost(time.Hour)}, "b c"},
		}},
		{"spread", v1alpha1.PlacementSpec{NumberOfClusters: number(4), Spread: &v1alpha1.Spread{Label: "region", MaxSkew: number(1)}}, []step{
			{"evenly; what lacks the label is not meant", []Cluster{eu("e1"), eu("e2"), eu("e3"), us("u1"), us("u2"), us("u3"), member("bare")}, "e1 e2 u1 u2"},
			{"one that ends is replaced where it was", []Cluster{eu("e1"), eu("e2"), eu("e3"), us("u1"), us("u3")}, "e1 e2 u1 u3"},
			{"a region runs out", []Cluster{eu("e1"), eu("e2"), eu("e3"), us("u1")}, "e1 e2 u1 {TooFewClusters: 3 of 4 clusters: 1 more meet the spec, and spread keeps them out (region: eu 2, us 1)}"},
			{"a region comes; nobody moves for it", []Cluster{eu("e1"), eu("e2"), eu("e3"), us("u1"), us("u3"), asia("a1")}, "a1 e1 e2 u1"},
			{"one that comes later", []Cluster{eu("e1"), eu("e2"), eu("e3"), us("u1"), us("u3"), asia("a1"), member("m1", "region=moon")},
				"a1 e1 e2 u1 {NotSpread: they are skewed by 2 over region, and maxSkew is 1 (region: asia 1, eu 2, moon 0, us 1); a cluster that was chosen stays}"},
		}},
		{"at least two values", v1alpha1.PlacementSpec{
			NumberOfClusters: number(2), Spread: &v1alpha1.Spread{Label: "region", MinValues: number(2)},
			Scores: []v1alpha1.Score{{Weight: 10, ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"region": "eu"}}}},
		}, []step{
			{"there is one value alone", []Cluster{eu("e1"), eu("e2")}, "e1 e2 {NotSpread: they lie on 1 value of region and not on 2 (region: eu 2); a cluster that was chosen stays}"},
			{"one ends", []Cluster{eu("e1"), us("u1"), eu("e3")}, "e1 u1"},
		}},
		{"a number that shrinks", v1alpha1.PlacementSpec{NumberOfClusters: number(3), Scores: []v1alpha1.Score{{Weight: 1, Expression: "cluster.name == 'b' ? 50 : 10"}}}, []step{
			{"three", three, "a b c"},
		}},
	} {
		t.Run(tc.story, func(t *testing.T) {
			plan, before := compiled(t, tc.spec), Before{}
			for _, step := range tc.steps {
				decision := plan.Decide(of(step.fleet...), before, noon)
				if got := decision.String(); got != step.want {
					t.Fatalf("%s: got %q, want %q", step.reason, got, step.want)
				}
				before = decision.next()
			}
		})
	}
}

// TestFewerSeats: whoever has to go is the worst of them, and of the region that has most.
func TestFewerSeats(t *testing.T) {
	all := []Cluster{member("a", "region=eu"), member("b", "region=eu"), member("c", "region=us")}
	before := Before{Generation: 1, Clusters: []v1alpha1.ClusterName{"a", "b", "c"}}
	scores := []v1alpha1.Score{{Weight: 1, Expression: "cluster.name == 'c' ? 0 : cluster.name == 'b' ? 50 : 10"}}
	for _, tc := range []struct {
		reason string
		seats  int32
		spread *v1alpha1.Spread
		want   string
	}{
		{"the one with the fewest points goes", 2, nil, "a b"},
		{"not from the region that has fewest", 2, &v1alpha1.Spread{Label: "region", MaxSkew: number(1)}, "b c"},
		{"not the last of its region", 2, &v1alpha1.Spread{Label: "region", MinValues: number(2)}, "b c"},
		{"where it has to be", 1, &v1alpha1.Spread{Label: "region", MinValues: number(2)}, "b {NotSpread: they lie on 1 value of region and not on 2 (region: eu 1, us 0); a cluster that was chosen stays}"},
	} {
		plan := compiled(t, v1alpha1.PlacementSpec{NumberOfClusters: &tc.seats, Spread: tc.spread, Scores: scores})
		if got := plan.Decide(of(all...), before, noon).String(); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
		}
	}
}

// TestLotsDiffer: many Placements of one cluster do not all choose the same.
func TestLotsDiffer(t *testing.T) {
	var fleet []Cluster
	for _, name := range []string{"a", "b", "c", "d"} {
		fleet = append(fleet, member(name))
	}
	chosen := map[v1alpha1.ClusterName]int{}
	for _, name := range []string{"p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12", "p13", "p14", "p15", "p16"} {
		placement := placed(v1alpha1.PlacementSpec{NumberOfClusters: number(1)})
		placement.Name = name
		plan, err := Compile(placement)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range plan.Decide(of(fleet...), Before{}, noon).Clusters() {
			chosen[name]++
		}
	}
	if len(chosen) != len(fleet) {
		t.Errorf("16 placements of one cluster chose %v", chosen)
	}
}
