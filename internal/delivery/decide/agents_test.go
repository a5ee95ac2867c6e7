package decide

import (
	"testing"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// TestOutdated: who waits, by what the package asks for and what the agent knows of.
func TestOutdated(t *testing.T) {
	release := &v1alpha1.Release{Spec: v1alpha1.ReleaseSpec{Variants: []v1alpha1.Variant{{Digest: "new"}}}}
	planned, account := Plans{required: true}, Policy{everywhere: &wire.Policy{ActsAs: &wire.ServiceAccount{Name: "team"}}}
	for _, c := range []struct {
		reason string
		seen   Seen
		member Member
		want   string
	}{
		{"nothing is asked for", Seen{}, Member{Agent: "v1"}, ""},
		{"plans", Seen{Plans: planned}, Member{Agent: "v1"}, "plans (spec.plan)"},
		{"an account", Seen{Policy: account}, Member{Agent: "v1", Features: []string{wire.FeaturePlans}}, "acting as a team's ServiceAccount"},
		{"both", Seen{Plans: planned, Policy: account}, Member{Agent: "v1"}, "acting as a team's ServiceAccount and plans (spec.plan)"},
		{"both, and it knows them", Seen{Plans: planned, Policy: account}, Member{Agent: "v1", Features: wire.Features()}, ""},
		{"on the way back no plan is asked for", Seen{Plans: planned, Staged: &Staged{Back: true, Releases: map[string]*v1alpha1.Release{"": release}}}, Member{Agent: "v1"}, ""},
		{"nobody has ever been there", Seen{Plans: planned}, Member{}, ""},
		{"it holds it already", Seen{Plans: planned}, Member{Agent: "v1", Holds: &v1alpha1.MemberPackage{Digest: "new"}}, ""},
		{"it holds another one", Seen{Plans: planned}, Member{Agent: "v1", Holds: &v1alpha1.MemberPackage{Digest: "old"}}, "plans (spec.plan)"},
		{"it leaves", Seen{Plans: planned}, Member{Agent: "v1", Cluster: Cluster{Leaving: true}}, ""},
		{"the package goes", Seen{Plans: planned, Deleting: true}, Member{Agent: "v1"}, ""},
	} {
		c.seen.Release, c.seen.Placement = release, &v1alpha1.Placement{Status: v1alpha1.PlacementStatus{Clusters: []v1alpha1.ClusterName{"a"}}}
		c.member.Name = "a"
		if got := c.seen.outdated([]Member{c.member}); got["a"] != c.want || len(got) > 0 != (c.want != "") {
			t.Errorf("%s: %v, want %q", c.reason, got, c.want)
		}
	}
}
