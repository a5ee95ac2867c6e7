package decide

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

func placement(generation, observed int64, status metav1.ConditionStatus, clusters ...v1alpha1.ClusterName) *v1alpha1.Placement {
	return &v1alpha1.Placement{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: generation},
		Status: v1alpha1.PlacementStatus{
			ObservedGeneration: observed, Clusters: clusters, Selected: int32(len(clusters)),
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionDecided, Status: status, ObservedGeneration: generation}},
		},
	}
}

// doubting is a decided Placement that selects nobody and could not tell of one cluster.
func doubting(cluster v1alpha1.ClusterName) *v1alpha1.Placement {
	p := placement(1, 1, "True")
	p.Status.Undecided = []v1alpha1.ClusterName{cluster}
	return p
}

// release has one variant for each list of values.
func release(name string, variables []string, values ...[]string) *v1alpha1.Release {
	r := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: name}}
	r.Spec.Variables, r.Spec.Revision = variables, "0123456789abcdef"
	for i, v := range values {
		r.Spec.Variants = append(r.Spec.Variants, v1alpha1.Variant{Values: v, Digest: fmt.Sprintf("sha256:%064d", i), Objects: 3})
	}
	return r
}

func plain() *v1alpha1.Release { return release("r", nil, nil) }

// TestDoubt: what a restored hub does not know for sure it does not say.
func TestDoubt(t *testing.T) {
	placement := &v1alpha1.Placement{}
	placement.Generation, placement.Status.ObservedGeneration = 1, 1
	placement.Status.Clusters = []v1alpha1.ClusterName{"in"}
	placement.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionDecided, Status: metav1.ConditionTrue, ObservedGeneration: 1}}
	release := &v1alpha1.Release{Spec: v1alpha1.ReleaseSpec{Variants: []v1alpha1.Variant{{Digest: "d"}}}}
	for _, c := range []struct {
		reason   string
		doubt    Doubt
		deleting bool
		in, out  Action
	}{
		{"a hub that knows", NoDoubt, false, Deliver, Remove},
		{"its source was read since", DoubtSelection, false, Deliver, Keep},
		{"nothing was read since", DoubtAll, false, Keep, Keep},
		{"somebody deletes the Package on the restored hub", DoubtAll, true, Remove, Remove},
	} {
		seen := Seen{Placement: placement, Release: release, Doubt: c.doubt, Deleting: c.deleting}
		in, _ := Assign(seen, Cluster{Name: "in"})
		out, _ := Assign(seen, Cluster{Name: "out"})
		if in != c.in || out != c.out {
			t.Errorf("%s: got %v and %v, want %v and %v", c.reason, in, out, c.in, c.out)
		}
	}
	pkg := &v1alpha1.Package{}
	pkg.Annotations = map[string]string{v1alpha1.RestoredAnnotation: "2026-01-01T00:00:00Z"}
	if DoubtOf(pkg) != DoubtAll {
		t.Error("a Package that was restored and not rendered since is not in doubt")
	}
	pkg.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionRendered, Status: metav1.ConditionTrue}}
	if DoubtOf(pkg) != DoubtSelection {
		t.Error("its selection is not in doubt any more")
	}
	pkg.Annotations = nil
	if DoubtOf(pkg) != NoDoubt {
		t.Error("it is in doubt for ever")
	}
}

func TestAssign(t *testing.T) {
	eu := Cluster{Name: "eu", Labels: map[string]string{"region": "eu"}}
	byRegion := release("r", []string{"cluster.labels.region"}, []string{"eu"}, []string{"us"})
	for _, tc := range []struct {
		reason  string
		seen    Seen
		cluster Cluster
		want    Action
		digest  string
	}{
		{reason: "nothing is known", cluster: eu, want: Keep},
		{reason: "selected, with a Release", seen: Seen{Placement: placement(1, 1, "True", "eu"), Release: plain()}, cluster: eu, want: Deliver, digest: "0"},
		{reason: "selected, and nothing was ever rendered", seen: Seen{Placement: placement(1, 1, "True", "eu")}, cluster: eu, want: Keep},
		{reason: "decidedly not selected", seen: Seen{Placement: placement(1, 1, "True", "us"), Release: plain()}, cluster: eu, want: Remove},
		{reason: "decidedly not selected, by a placement of no cluster", seen: Seen{Placement: placement(1, 1, "True"), Release: plain()}, cluster: eu, want: Remove},
		{reason: "decidedly not selected, and nothing was ever rendered", seen: Seen{Placement: placement(1, 1, "True", "us")}, cluster: eu, want: Remove},
		{reason: "not selected because it could not be told whether it is meant", seen: Seen{Placement: doubting("eu"), Release: plain()}, cluster: eu, want: Keep},
		{reason: "decidedly not selected, while it could not be told of another", seen: Seen{Placement: doubting("us"), Release: plain()}, cluster: eu, want: Remove},
		{reason: "the placement is gone", seen: Seen{Release: plain()}, cluster: eu, want: Keep},
		{reason: "the placement was never decided", seen: Seen{Placement: &v1alpha1.Placement{}, Release: plain()}, cluster: eu, want: Keep},
		{reason: "the decision is about an older spec", seen: Seen{Placement: func() *v1alpha1.Placement {
			p := placement(1, 1, "True", "us")
			p.Generation = 2
			return p
		}(), Release: plain()}, cluster: eu, want: Keep},
		{reason: "the decision is about an older spec, and selected", seen: Seen{Placement: func() *v1alpha1.Placement {
			p := placement(1, 1, "True", "eu")
			p.Generation = 2
			return p
		}(), Release: plain()}, cluster: eu, want: Keep},
		{reason: "clusters and condition disagree about the generation", seen: Seen{Placement: placement(2, 1, "True", "us"), Release: plain()}, cluster: eu, want: Keep},
		{reason: "an invalid selector: who was selected goes on", seen: Seen{Placement: placement(2, 1, "False", "eu"), Release: plain()}, cluster: eu, want: Deliver, digest: "0"},
		{reason: "an invalid selector: who was not keeps", seen: Seen{Placement: placement(2, 1, "False", "us"), Release: plain()}, cluster: eu, want: Keep},
		{reason: "an invalid selector from the beginning", seen: Seen{Placement: placement(1, 0, "False"), Release: plain()}, cluster: eu, want: Keep},
		{reason: "undecided by status Unknown", seen: Seen{Placement: placement(1, 1, "Unknown", "us"), Release: plain()}, cluster: eu, want: Keep},
		{reason: "the variant of its class", seen: Seen{Placement: placement(1, 1, "True", "eu"), Release: byRegion}, cluster: eu, want: Deliver, digest: "0"},
		{reason: "another class", seen: Seen{Placement: placement(1, 1, "True", "x"), Release: byRegion}, cluster: Cluster{Name: "x", Labels: map[string]string{"region": "us"}}, want: Deliver, digest: "1"},
		{reason: "a class that is not rendered yet", seen: Seen{Placement: placement(1, 1, "True", "x"), Release: byRegion}, cluster: Cluster{Name: "x", Labels: map[string]string{"region": "asia"}}, want: Keep},
		{reason: "a label that the cluster lacks", seen: Seen{Placement: placement(1, 1, "True", "x"), Release: byRegion}, cluster: Cluster{Name: "x"}, want: Keep},
		{reason: "a Package that is being deleted", seen: Seen{Deleting: true, Placement: placement(1, 1, "True", "eu"), Release: plain()}, cluster: eu, want: Remove},
		{reason: "a Package that is being deleted, and nothing else is known", seen: Seen{Deleting: true}, cluster: eu, want: Remove},
		{reason: "a cluster that leaves keeps, for its own deletion policy decides", seen: Seen{Placement: placement(1, 1, "True"), Release: plain()}, cluster: Cluster{Name: "eu", Leaving: true}, want: Keep},
		{reason: "a cluster that leaves, and a Package that is being deleted", seen: Seen{Deleting: true}, cluster: Cluster{Name: "eu", Leaving: true}, want: Keep},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			action, variant := Assign(tc.seen, tc.cluster)
			if action != tc.want {
				t.Errorf("action %d, want %d", action, tc.want)
			}
			if (variant != nil) != (tc.want == Deliver) {
				t.Fatalf("variant %v", variant)
			}
			if variant != nil && !strings.HasSuffix(variant.Digest, tc.digest) {
				t.Errorf("digest %s, want one that ends with %s", variant.Digest, tc.digest)
			}
		})
	}
}

// FuzzAssignNeverRemovesWithoutADecision tries to break law 1: whatever is missing, old or contradictory, Remove takes
// a Package that is being deleted, or a placement that is decided for this very generation and does not name it.
func FuzzAssignNeverRemovesWithoutADecision(f *testing.F) {
	for _, bits := range []uint16{0, 1, 2, 4, 255, 0xffff, 0x5555, 0xaaaa} {
		f.Add(bits, int64(1), int64(1), int64(1), "True", "eu,us")
	}
	f.Add(uint16(2), int64(2), int64(1), int64(2), "False", "")
	f.Fuzz(func(t *testing.T, bits uint16, generation, observed, ofCondition int64, status, clusters string) {
		has := func(bit int) bool { return bits&(1<<bit) != 0 }
		seen := Seen{Deleting: has(0)}
		if has(1) {
			seen.Placement = placement(generation, observed, metav1.ConditionStatus(status))
			seen.Placement.Status.Conditions[0].ObservedGeneration = ofCondition
			for name := range strings.SplitSeq(clusters, ",") {
				seen.Placement.Status.Clusters = append(seen.Placement.Status.Clusters, v1alpha1.ClusterName(name))
			}
			if has(2) {
				seen.Placement.Status.Conditions = nil
			}
			if has(3) {
				seen.Placement.Status.Clusters = nil
			}
			if has(7) {
				seen.Placement.Status.Undecided = []v1alpha1.ClusterName{"eu"}
			}
		}
		if has(4) {
			seen.Release = release("r", []string{"cluster.labels.region"}, []string{"eu"})
		}
		cluster := Cluster{Name: "eu", Leaving: has(5)}
		if has(6) {
			cluster.Labels = map[string]string{"region": "eu"}
		}
		action, variant := Assign(seen, cluster)
		standsNow := has(1) && !has(2) && status == "True" && ofCondition == generation && observed == generation
		switch action {
		case Remove:
			if cluster.Leaving || !seen.Deleting && (!standsNow || selects(seen.Placement, "eu") || has(7)) {
				t.Errorf("removed without a decision: %+v %+v", seen, cluster)
			}
		case Deliver:
			if seen.Deleting || cluster.Leaving || variant == nil || seen.Release == nil || !selects(seen.Placement, "eu") || ofCondition != generation {
				t.Errorf("delivered without a reason: %+v %+v", seen, cluster)
			}
		}
	})
}

func TestClasses(t *testing.T) {
	fleet := []Cluster{
		{Name: "us-2", Labels: map[string]string{"region": "us", "env": "prod"}},
		{Name: "eu-1", Labels: map[string]string{"region": "eu", "env": "prod"}},
		{Name: "us-1", Labels: map[string]string{"region": "us", "env": "prod"}},
		{Name: "empty", Labels: map[string]string{"region": "", "env": "prod"}},
		{Name: "bare"},
	}
	for _, tc := range []struct {
		reason    string
		variables []string
		clusters  []Cluster
		classes   []Class
		missing   []Missing
	}{
		{reason: "no variables: one class of all", clusters: fleet,
			classes: []Class{{Clusters: []v1alpha1.ClusterName{"bare", "empty", "eu-1", "us-1", "us-2"}}}},
		{reason: "no variables and no cluster: still something to render", classes: []Class{{}}},
		{reason: "variables and no cluster: nothing can be rendered", variables: []string{"cluster.name"}},
		{reason: "by labels; an empty value is a value, a missing label is none", variables: []string{"cluster.labels.env", "cluster.labels.region"}, clusters: fleet,
			classes: []Class{
				{Values: []string{"prod", ""}, Clusters: []v1alpha1.ClusterName{"empty"}},
				{Values: []string{"prod", "eu"}, Clusters: []v1alpha1.ClusterName{"eu-1"}},
				{Values: []string{"prod", "us"}, Clusters: []v1alpha1.ClusterName{"us-1", "us-2"}},
			},
			missing: []Missing{{Cluster: "bare", Variable: "cluster.labels.env"}}},
		{reason: "by name: each on its own", variables: []string{"cluster.name"}, clusters: fleet[:2],
			classes: []Class{
				{Values: []string{"eu-1"}, Clusters: []v1alpha1.ClusterName{"eu-1"}},
				{Values: []string{"us-2"}, Clusters: []v1alpha1.ClusterName{"us-2"}},
			}},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			classes, missing := Classes(tc.variables, tc.clusters)
			if diff := cmp.Diff(tc.classes, classes); diff != "" {
				t.Errorf("classes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.missing, missing); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWidenKeepsTheNewerOfTwo(t *testing.T) {
	got := Widen(
		[]v1alpha1.Variant{{Values: []string{"b"}, Digest: "new"}, {Values: []string{"a"}, Digest: "new"}},
		[]v1alpha1.Variant{{Values: []string{"b"}, Digest: "old"}, {Values: []string{"c"}, Digest: "old"}})
	want := []v1alpha1.Variant{{Values: []string{"a"}, Digest: "new"}, {Values: []string{"b"}, Digest: "new"}, {Values: []string{"c"}, Digest: "old"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("variants (-want +got):\n%s", diff)
	}
}
