package decide

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/api/v1alpha1"
)

func holds(phase v1alpha1.MemberPackagePhase, change func(*v1alpha1.MemberPackage)) *v1alpha1.MemberPackage {
	p := &v1alpha1.MemberPackage{Phase: phase, Release: "r", Digest: plain().Spec.Variants[0].Digest, Objects: 3, Applied: 3, Healthy: 3}
	if change != nil {
		change(p)
	}
	return p
}

func member(name string, held *v1alpha1.MemberPackage) Member {
	return Member{Cluster: Cluster{Name: v1alpha1.ClusterName(name)}, Connected: true, Holds: held}
}

func offline(m Member) Member {
	m.Connected = false
	return m
}

func TestCountAndDelivered(t *testing.T) {
	applied := holds(v1alpha1.PackageApplied, nil)
	failed := holds(v1alpha1.PackageFailed, func(p *v1alpha1.MemberPackage) {
		p.Failures = []v1alpha1.ObjectFailure{{Object: "Deployment.apps shop/web", File: "web.yaml", Message: "spec.replicas: invalid"}}
	})
	onAB := placement(1, 1, "True", "a", "b")
	before := v1alpha1.ClusterCounts{Summary: "1/2", Selected: 2, Ready: 1, Unknown: 1}
	var many []v1alpha1.ClusterName
	for i := range 12 {
		many = append(many, v1alpha1.ClusterName(fmt.Sprintf("c%02d", i)))
	}
	for _, tc := range []struct {
		reason  string
		seen    Seen
		members []Member
		counts  v1alpha1.ClusterCounts
		want    string
	}{
		{reason: "all hold it", seen: Seen{Placement: onAB, Release: plain()}, members: []Member{member("a", applied), member("b", applied)},
			counts: v1alpha1.ClusterCounts{Summary: "2/2", Selected: 2, Ready: 2}, want: "True Delivered 0123456789ab on 2/2 clusters"},
		{reason: "one is at work", seen: Seen{Placement: onAB, Release: plain()}, members: []Member{member("a", applied), member("b", holds(v1alpha1.PackageApplying, nil))},
			counts: v1alpha1.ClusterCounts{Summary: "1/2", Selected: 2, Ready: 1, Progressing: 1}, want: "False Delivering 0123456789ab on 1/2; at work: b"},
		{reason: "one has said nothing yet", seen: Seen{Placement: onAB, Release: plain()}, members: []Member{member("a", applied), member("b", nil)},
			counts: v1alpha1.ClusterCounts{Summary: "1/2", Selected: 2, Ready: 1, Progressing: 1}, want: "False Delivering 0123456789ab on 1/2; at work: b"},
		{reason: "one has another release", seen: Seen{Placement: onAB, Release: plain()}, members: []Member{member("a", applied), member("b", holds(v1alpha1.PackageApplied, func(p *v1alpha1.MemberPackage) {
			p.Release, p.Digest = "old", "sha256:old"
		}))}, counts: v1alpha1.ClusterCounts{Summary: "1/2", Selected: 2, Ready: 1, Progressing: 1}, want: "False Delivering 0123456789ab on 1/2; at work: b"},
		{reason: "the same content under an older name counts", seen: Seen{Placement: onAB, Release: plain()}, members: []Member{member("a", applied), member("b", holds(v1alpha1.PackageApplied, func(p *v1alpha1.MemberPackage) {
			p.Release = "old"
		}))}, counts: v1alpha1.ClusterCounts{Summary: "2/2", Selected: 2, Ready: 2}, want: "True Delivered 0123456789ab on 2/2 clusters"},
		{reason: "applied and not healthy yet", seen: Seen{Placement: onAB, Release: plain()}, members: []Member{member("a", applied), member("b", holds(v1alpha1.PackageApplied, func(p *v1alpha1.MemberPackage) {
			p.Healthy = 1
		}))}, counts: v1alpha1.ClusterCounts{Summary: "1/2", Selected: 2, Ready: 1, Progressing: 1}, want: "False Delivering 0123456789ab on 1/2; at work: b"},
		{reason: "what one says is not put into the mouth of another", seen: Seen{Placement: onAB, Release: plain()}, members: []Member{
			member("b", holds(v1alpha1.PackageApplied, func(p *v1alpha1.MemberPackage) { p.Healthy, p.Message = 1, "1 of 2 is healthy" })), member("a", nil),
		}, counts: v1alpha1.ClusterCounts{Summary: "0/2", Selected: 2, Progressing: 2}, want: "False Delivering 0123456789ab on 0/2; at work: a, b"},
		{reason: "one fails, with its reason", seen: Seen{Placement: onAB, Release: plain()}, members: []Member{member("b", failed), offline(member("a", applied))},
			counts: v1alpha1.ClusterCounts{Summary: "0/2", Selected: 2, Failing: 1, Unknown: 1},
			want:   "False ClustersFailing 0123456789ab on 0/2; failing: b (b: web.yaml Deployment.apps shop/web: spec.replicas: invalid); not connected: a"},
		{reason: "a failure of an older release is not one of this", seen: Seen{Placement: onAB, Release: plain()}, members: []Member{member("a", applied), member("b", holds(v1alpha1.PackageFailed, func(p *v1alpha1.MemberPackage) {
			p.Release, p.Digest = "old", "sha256:old"
		}))}, counts: v1alpha1.ClusterCounts{Summary: "1/2", Selected: 2, Ready: 1, Progressing: 1}, want: "False Delivering 0123456789ab on 1/2; at work: b"},
		{reason: "the last word of one that is not connected does not count", seen: Seen{Placement: onAB, Release: plain()}, members: []Member{member("a", applied), offline(member("b", applied))},
			counts: v1alpha1.ClusterCounts{Summary: "1/2", Selected: 2, Ready: 1, Unknown: 1}, want: "Unknown ClustersUnknown 0123456789ab on 1/2; not connected: b"},
		{reason: "one is selected and not there", seen: Seen{Placement: onAB, Release: plain()}, members: []Member{member("a", applied)},
			counts: v1alpha1.ClusterCounts{Summary: "1/2", Selected: 2, Ready: 1, Unknown: 1}, want: "Unknown ClustersUnknown 0123456789ab on 1/2"},
		{reason: "one that is not selected still holds it", seen: Seen{Placement: placement(1, 1, "True", "a"), Release: plain()}, members: []Member{member("a", applied), member("b", applied)},
			counts: v1alpha1.ClusterCounts{Summary: "1/1", Selected: 1, Ready: 1, Removing: 1}, want: "False Delivering 0123456789ab on 1/1; 1 not selected any more and still removing"},
		{reason: "no cluster is selected", seen: Seen{Placement: placement(1, 1, "True"), Release: plain()},
			counts: v1alpha1.ClusterCounts{Summary: "0/0"}, want: "True NoClusters the placement selects no cluster"},
		{reason: "nothing was rendered", seen: Seen{Placement: onAB}, members: []Member{member("a", nil), member("b", nil)},
			counts: v1alpha1.ClusterCounts{Summary: "0/2", Selected: 2, Progressing: 2}, want: "False NoRelease nothing has been rendered yet"},
		{reason: "without a placement the counts stay", seen: Seen{Release: plain()}, members: []Member{member("a", applied)},
			counts: before, want: "Unknown PlacementNotFound without a placement nobody can say; clusters keep what they hold"},
		{reason: "undecided, the counts stay", seen: Seen{Placement: &v1alpha1.Placement{}, Release: plain()}, members: []Member{member("a", applied)},
			counts: before, want: "Unknown Undecided the placement is not decided; clusters keep what they hold"},
		{reason: "a label that is lacking", seen: Seen{Placement: placement(1, 1, "True", "a"), Release: release("r", []string{"cluster.labels.x"}, []string{"y"})}, members: []Member{member("a", nil)},
			counts: v1alpha1.ClusterCounts{Summary: "0/1", Selected: 1, Failing: 1}, want: "False ClustersFailing 0123456789ab on 0/1; failing: a (a: it lacks a label that the manifests refer to)"},
		{reason: "many are named in part", seen: Seen{Placement: placement(1, 1, "True", many...), Release: plain()}, members: func() (all []Member) {
			for i := range many {
				all = append(all, offline(member(string(many[len(many)-1-i]), nil)))
			}
			return all
		}(), counts: v1alpha1.ClusterCounts{Summary: "0/12", Selected: 12, Unknown: 12}, want: "Unknown ClustersUnknown 0123456789ab on 0/12; not connected: c00, c01, c02, c03, c04 and 7 more"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			tally := Count(tc.seen, tc.members, before)
			if diff := cmp.Diff(tc.counts, tally.Counts); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			c := Delivered(tc.seen, tally)
			if got := fmt.Sprintf("%s %s %s", c.Status, c.Reason, c.Message); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestDeleting(t *testing.T) {
	removing := holds(v1alpha1.PackageRemoving, nil)
	told := &v1alpha1.MemberPackage{Phase: v1alpha1.PackageApplying} // it has said nothing of it yet
	leaving := func(m Member) Member {
		m.Leaving = true
		return m
	}
	for _, tc := range []struct {
		reason  string
		members []Member
		want    string
	}{
		{reason: "nobody has to do with it"},
		{reason: "who does not hold it is not waited for, whether it is there or not", members: []Member{member("a", nil), offline(member("b", nil)), leaving(member("c", nil))}},
		{reason: "at work", members: []Member{member("b", removing), member("a", removing)}, want: "clusters are removing what they hold: a, b"},
		{reason: "away, and never said that it holds it", members: []Member{offline(member("b", told))},
			want: "waiting for clusters that may hold it and are not connected: b (`umbel leave NAME --force` forgets one that does not come back)"},
		{reason: "all kinds", members: []Member{leaving(offline(member("c", removing))), offline(member("b", told)), member("a", removing), member("d", nil)},
			want: "clusters are removing what they hold: a; waiting for clusters that may hold it and are not connected: b " +
				"(`umbel leave NAME --force` forgets one that does not come back); waiting for clusters that are leaving the fleet: c"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			condition, waits := Deleting(tc.members)
			if condition.Message != tc.want || waits != (tc.want != "") {
				t.Errorf("got %q and %v, want %q", condition.Message, waits, tc.want)
			}
		})
	}
}
