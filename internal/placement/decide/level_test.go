package decide

import (
	"testing"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestAClusterThatIsObserved is not selected anew, and stays where it is selected.
func TestAClusterThatIsObserved(t *testing.T) {
	observed := func(c *Cluster) { c.Observed = true }
	fleet := of(member("a", "env=prod").with(observed), member("b", "env=prod"), member("c", "env=prod").with(observed))
	all, two := v1alpha1.PlacementSpec{ClusterSelector: selecting("env=prod")}, v1alpha1.PlacementSpec{NumberOfClusters: number(2)}
	held := Before{Generation: 1, Clusters: []v1alpha1.ClusterName{"a"}}
	for _, tc := range []struct {
		reason string
		spec   v1alpha1.PlacementSpec
		before Before
		want   string
	}{
		{"none was selected", all, Before{}, "b"},
		{"one was, and is not given up, so that nothing is pruned there", all, held, "a b"},
		{"that its labels do not fit any more is a person's word", v1alpha1.PlacementSpec{ClusterSelector: selecting("env=dev")}, held, ""},
		{"it keeps its seat", two, held, "a b"},
		{"it gets none", two, Before{Generation: 1, Clusters: []v1alpha1.ClusterName{"b"}}, "b {TooFewClusters: 1 of 2 clusters: no other cluster meets the spec}"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			if got := compiled(t, tc.spec).Decide(fleet, tc.before, noon).String(); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	plan := compiled(t, all)
	if got := plan.Trace(fleet["c"], held)[2]; got.Check != CheckLevel || got.Result != Fail {
		t.Errorf("why it is not selected is told as %+v", got)
	}
	if got := plan.Trace(fleet["a"], held)[2]; got.Check != CheckLevel || got.Result != Ignored {
		t.Errorf("of one that is selected it is told %+v", got)
	}
	attached := member("c", "env=prod")
	if !plan.Minds(Differences(fleet["c"], &attached)) || !plan.Concerns(fleet["c"], &attached, held) {
		t.Error("nobody decides anew when it is attached")
	}
}
