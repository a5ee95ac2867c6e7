package placement

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

func cluster(name string, labels map[string]string) v1alpha1.MemberCluster {
	return v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

func leaving(c v1alpha1.MemberCluster) v1alpha1.MemberCluster {
	now := metav1.NewTime(time.Unix(1, 0))
	c.DeletionTimestamp = &now
	return c
}

func admission(c v1alpha1.MemberCluster, is v1alpha1.Admission) v1alpha1.MemberCluster {
	c.Spec.Admission = is
	return c
}

func fleet() []v1alpha1.MemberCluster {
	return []v1alpha1.MemberCluster{
		admission(cluster("prod-us", map[string]string{"env": "prod", "region": "us"}), v1alpha1.AdmissionSuspended),
		admission(cluster("waits", map[string]string{"env": "prod", "region": "eu"}), v1alpha1.AdmissionPending),
		admission(cluster("denied", map[string]string{"env": "prod", "region": "eu"}), v1alpha1.AdmissionDenied),
		cluster("prod-eu", map[string]string{"env": "prod", "region": "eu"}),
		cluster("dev", map[string]string{"env": "dev"}),
		leaving(cluster("prod-old", map[string]string{"env": "prod", "region": "eu"})),
		cluster("bare", nil),
	}
}

func TestSelect(t *testing.T) {
	in := func(key string, operator metav1.LabelSelectorOperator, values ...string) metav1.LabelSelector {
		return metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: operator, Values: values}}}
	}
	for _, tc := range []struct {
		reason   string
		selector metav1.LabelSelector
		want     []v1alpha1.ClusterName
		err      string
	}{
		{reason: "an empty selector selects every cluster, sorted, but the one that leaves and those that were not let in",
			want: []v1alpha1.ClusterName{"bare", "dev", "prod-eu", "prod-us"}},
		{reason: "by label", selector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}},
			want: []v1alpha1.ClusterName{"prod-eu", "prod-us"}},
		{reason: "by expression", selector: in("region", metav1.LabelSelectorOpIn, "eu", "asia"), want: []v1alpha1.ClusterName{"prod-eu"}},
		{reason: "NotIn takes clusters without the label, as everywhere in Kubernetes", selector: in("env", metav1.LabelSelectorOpNotIn, "prod"),
			want: []v1alpha1.ClusterName{"bare", "dev"}},
		{reason: "nothing matches", selector: in("region", metav1.LabelSelectorOpIn, "moon")},
		{reason: "an unknown operator is named with its field", selector: in("region", "Near", "eu"),
			err: `spec.clusterSelector.matchExpressions[0].operator: Invalid value: "Near"`},
		{reason: "In without values", selector: in("region", metav1.LabelSelectorOpIn),
			err: "spec.clusterSelector.matchExpressions[0].values: Required value"},
		{reason: "Exists with values", selector: in("region", metav1.LabelSelectorOpExists, "eu"),
			err: "spec.clusterSelector.matchExpressions[0].values: Forbidden"},
		{reason: "a value that no label can have", selector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "not a value!"}},
			err: `spec.clusterSelector.matchLabels[env]: Invalid value: "not a value!"`},
		{reason: "a key that no label can have", selector: metav1.LabelSelector{MatchLabels: map[string]string{"-env": "prod"}},
			err: `spec.clusterSelector.matchLabels[-env]: Invalid value: "-env"`},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			got, err := Select(v1alpha1.PlacementSpec{ClusterSelector: tc.selector}, fleet())
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("got error %v, want one that says %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("selected (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAnInvalidSelectorLeavesTheLastDecision breaks law 1: "cannot be decided" must not become "no cluster".
func TestAnInvalidSelectorLeavesTheLastDecision(t *testing.T) {
	placement := v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 1}}
	placement.Spec.ClusterSelector.MatchLabels = map[string]string{"env": "prod"}
	decide(&placement, fleet())
	held := placement.Status.DeepCopy()

	placement.Generation = 2
	placement.Spec.ClusterSelector.MatchLabels = map[string]string{"env": "?"}
	decide(&placement, nil)
	if diff := cmp.Diff(held.Clusters, placement.Status.Clusters); diff != "" {
		t.Errorf("clusters (-before +after):\n%s", diff)
	}
	if placement.Status.ObservedGeneration != 1 || placement.Status.Selected != 2 {
		t.Errorf("observedGeneration %d, selected %d: they have to speak of the decision that stands",
			placement.Status.ObservedGeneration, placement.Status.Selected)
	}
	for _, name := range []string{v1alpha1.ConditionDecided, v1alpha1.ConditionReady} {
		c := meta.FindStatusCondition(placement.Status.Conditions, name)
		if c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonInvalidSelector || !strings.Contains(c.Message, "the last decision stands (2 clusters)") {
			t.Errorf("%s is %s %s %q", name, c.Status, c.Reason, c.Message)
		}
	}

	placement.Generation = 3
	placement.Spec.ClusterSelector.MatchLabels = map[string]string{"env": "dev"}
	decide(&placement, fleet())
	if diff := cmp.Diff([]v1alpha1.ClusterName{"dev"}, placement.Status.Clusters); diff != "" || placement.Status.ObservedGeneration != 3 {
		t.Errorf("after the repair, of generation %d (-want +got):\n%s", placement.Status.ObservedGeneration, diff)
	}
}

func TestContradicts(t *testing.T) {
	placement := v1alpha1.Placement{}
	placement.Spec.ClusterSelector.MatchLabels = map[string]string{"env": "prod"}
	placement.Status.Clusters = []v1alpha1.ClusterName{"prod-eu"}
	for _, tc := range []struct {
		reason  string
		cluster v1alpha1.MemberCluster
		want    bool
	}{
		{reason: "held and still matching", cluster: cluster("prod-eu", map[string]string{"env": "prod", "region": "x"}), want: false},
		{reason: "held and relabelled", cluster: cluster("prod-eu", map[string]string{"env": "dev"}), want: true},
		{reason: "held and leaving", cluster: leaving(cluster("prod-eu", map[string]string{"env": "prod"})), want: true},
		{reason: "new and matching", cluster: cluster("prod-us", map[string]string{"env": "prod"}), want: true},
		{reason: "new and of no concern", cluster: cluster("dev", map[string]string{"env": "dev"}), want: false},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			if got := contradicts(&placement, &tc.cluster); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// FuzzSelect: whatever the selector, an error or a sorted subset of the clusters that do not leave.
func FuzzSelect(f *testing.F) {
	f.Add("env", "In", "prod")
	f.Add("", "", "")
	f.Add("a/b/c", "Exists", "\x00")
	f.Fuzz(func(t *testing.T, key, operator, value string) {
		spec := v1alpha1.PlacementSpec{ClusterSelector: metav1.LabelSelector{
			MatchLabels: map[string]string{key: value},
			MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: key, Operator: metav1.LabelSelectorOperator(operator), Values: []string{value}},
			},
		}}
		got, err := Select(spec, fleet())
		if err != nil && !strings.Contains(err.Error(), "spec.clusterSelector") {
			t.Errorf("the error names no field: %v", err)
		}
		for i, name := range got {
			if name == "prod-old" || i > 0 && got[i-1] >= name {
				t.Errorf("selected %q", got)
			}
		}
	})
}

func BenchmarkSelect10000(b *testing.B) {
	clusters := make([]v1alpha1.MemberCluster, 10_000)
	for i := range clusters {
		clusters[i] = cluster(fmt.Sprintf("c-%05d", i), map[string]string{"env": "prod", "region": "eu"})
	}
	spec := v1alpha1.PlacementSpec{ClusterSelector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}}
	for b.Loop() {
		if _, err := Select(spec, clusters); err != nil {
			b.Fatal(err)
		}
	}
}
