package decide

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// fleetOf are clusters that hold a Package, c000 and so on.
func fleetOf(n int) (members []Member, names []v1alpha1.ClusterName) {
	for i := range n {
		name := v1alpha1.ClusterName(fmt.Sprintf("c%03d", i))
		members = append(members, Member{Cluster: Cluster{Name: name}, Connected: true, Holds: &v1alpha1.MemberPackage{}})
		names = append(names, name)
	}
	return members, names
}

func selecting(generation int64, names ...v1alpha1.ClusterName) *v1alpha1.Placement {
	return &v1alpha1.Placement{
		ObjectMeta: metav1.ObjectMeta{Name: "everywhere", Generation: generation},
		Status: v1alpha1.PlacementStatus{
			ObservedGeneration: generation, Clusters: names,
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionDecided, Status: metav1.ConditionTrue, ObservedGeneration: generation}},
		},
	}
}

// TestWithhold: a selector with a typo reads just like a decision.
func TestWithhold(t *testing.T) {
	members, names := fleetOf(400)
	few, fewNames := fleetOf(3)
	leaving, _ := fleetOf(400)
	for i := range leaving {
		leaving[i].Leaving = true
	}
	ten := intstr.FromInt32(10)
	all := intstr.FromString("100%")
	approved := func(generation int64, clusters ...v1alpha1.ClusterName) *v1alpha1.PackageDeletes {
		return &v1alpha1.PackageDeletes{ApprovedRemoval: &v1alpha1.RemovalApproval{Placement: "everywhere", Generation: generation, Clusters: clusters}}
	}
	undecided := selecting(2)
	undecided.Status.ObservedGeneration = 1
	for _, c := range []struct {
		reason  string
		seen    Seen
		members []Member
		deletes *v1alpha1.PackageDeletes
		want    []v1alpha1.ClusterName
	}{
		{"all selected", Seen{Placement: selecting(1, names...)}, members, nil, nil},
		{"a tenth leaves", Seen{Placement: selecting(2, names[40:]...)}, members, nil, nil},
		{"one more than a tenth: none loses it", Seen{Placement: selecting(2, names[41:]...)}, members, nil, names[:41]},
		{"a typo selects none", Seen{Placement: selecting(2)}, members, nil, names},
		{"one of three", Seen{Placement: selecting(2, fewNames[1:]...)}, few, nil, nil},
		{"two of three", Seen{Placement: selecting(2, fewNames[2:]...)}, few, nil, fewNames[:2]},
		{"the only one", Seen{Placement: selecting(2)}, few[:1], nil, nil},
		{"a budget of its own", Seen{Placement: selecting(2, names[11:]...)}, members, &v1alpha1.PackageDeletes{ClusterBudget: &ten}, names[:11]},
		{"a budget of all", Seen{Placement: selecting(2)}, members, &v1alpha1.PackageDeletes{ClusterBudget: &all}, nil},
		{"approved", Seen{Placement: selecting(2)}, members, approved(2, names...), nil},
		{"approved but for a tenth", Seen{Placement: selecting(2)}, members, approved(2, names[40:]...), nil},
		{"approved in part", Seen{Placement: selecting(2)}, members, approved(2, names[:100]...), names[100:]},
		{"approved before the placement was changed", Seen{Placement: selecting(3)}, members, approved(2, names...), names},
		{"clusters that leave the fleet are told nothing", Seen{Placement: selecting(2)}, leaving, nil, nil},
		{"a Package that is deleted is somebody's word", Seen{Placement: selecting(2), Deleting: true}, members, nil, nil},
		{"no placement: nobody is told to remove anything", Seen{}, members, nil, nil},
		{"an undecided one: neither", Seen{Placement: undecided}, members, nil, nil},
	} {
		got := Withhold(c.seen, c.members, c.deletes)
		if diff := cmp.Diff(c.want, got.Clusters()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
		c.seen.Withheld = got
		for _, member := range c.members {
			action, _ := Assign(c.seen, member.Cluster)
			if got.Has(member.Name) && action != Keep {
				t.Errorf("%s: %s is told %v", c.reason, member.Name, action)
			}
		}
	}
}

func TestPolicyOf(t *testing.T) {
	if p := PolicyOf(&v1alpha1.PackageSpec{}, Team{}); p.everywhere != nil || p.id != "" {
		t.Errorf("a spec that says nothing makes the policy %v (%q)", p.everywhere, p.id)
	}
	budget := intstr.FromString("20%")
	at := metav1.NewMicroTime(metav1.Now().Time)
	spec := &v1alpha1.PackageSpec{Deletes: &v1alpha1.PackageDeletes{Budget: &budget, Approved: []v1alpha1.DeleteApproval{
		{Release: "shop-1", Objects: 45, Protected: 1, At: at},
		{Release: "shop-2", Objects: 7, Clusters: []v1alpha1.ClusterName{"b"}, At: at},
	}}}
	p := PolicyOf(spec, Team{})
	message := &wire.Assignment{Package: "default/shop", Policy: p.everywhere, PolicyId: p.id}
	if got := p.on(message, "a", planned{}); got != message || len(got.GetPolicy().GetDeleteApprovals()) != 1 || got.GetPolicy().GetDeleteBudget().GetPercent() != 20 {
		t.Errorf("a cluster that is not named gets %v", got)
	}
	own := p.on(message, "b", planned{})
	if len(own.GetPolicy().GetDeleteApprovals()) != 2 || own.GetPolicyId() == p.id || own.GetPolicyId() == "" {
		t.Errorf("a cluster that is named gets %v", own)
	}
	if diff := cmp.Diff(own, p.on(message, "b", planned{}), protocmp.Transform()); diff != "" {
		t.Errorf("asked twice:\n%s", diff)
	}
	if len(message.GetPolicy().GetDeleteApprovals()) != 1 {
		t.Error("the shared message was written to")
	}
	if !p.Equal(PolicyOf(spec.DeepCopy(), Team{})) {
		t.Error("the same spec makes another policy")
	}
	other := spec.DeepCopy()
	other.Deletes.Approved[1].Objects = 8
	if p.Equal(PolicyOf(other, Team{})) {
		t.Error("another approval for one cluster makes the same policy")
	}
}
