package delivery_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

func items(from, to int) (text string) {
	for i := from; i < to; i++ {
		text += item(fmt.Sprintf("o-%d", i), "1")
	}
	return text
}

// TestDeletesOnTheHub: a Release says what it deletes before any agent starts, a policy reaches agents without a Release,
// and clusters that a Placement suddenly drops keep the Package until somebody approves that.
func TestDeletesOnTheHub(t *testing.T) {
	h := newHub(t)
	var clusters []v1alpha1.ClusterName
	for _, name := range []string{"a", "b", "c"} {
		clusters = append(clusters, h.cluster(name, nil))
	}
	h.place("prod", clusters...)
	key := v1alpha1.KeyOf(h.namespace, "app")
	h.must(h.Create(t.Context(), h.inline("app", "prod", items(0, 8))))
	obey := func() {
		t.Helper()
		for _, cluster := range clusters {
			h.obeys(cluster)
		}
	}
	h.waitTold(clusters[0], key, `"o-7"`)
	obey()
	h.waitFor("app", v1alpha1.ConditionReady, "True Delivered", "on 3/3 clusters")
	if set, _ := h.desired.For(clusters[0]); set.Assign[key].GetPolicy() != nil || set.Assign[key].GetPolicyId() != "" {
		t.Errorf("a Package that says nothing sends the policy %v", set.Assign[key].GetPolicy())
	}

	h.must(h.write("app", "prod", items(0, 1)+item("o-1", "2")+item("new", "1")))
	h.waitTold(clusters[0], key, `"new"`)
	var changes *v1alpha1.PackageChanges
	h.eventually("the Package says what the Release does", func() string {
		if changes = h.pkg("app").Status.Changes; changes == nil {
			return "it says nothing"
		}
		return ""
	})
	want := &v1alpha1.PackageChanges{Against: changes.Against, OverBudget: true, Changes: v1alpha1.Changes{Added: 1, Changed: 1, Deleted: 6}}
	if diff := cmp.Diff(want, changes); diff != "" || changes.Against == "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	release := h.pkg("app").Status.Release
	h.eventually("the Release names what goes", func() string {
		var r v1alpha1.Release
		h.must(h.Get(t.Context(), client.ObjectKey{Namespace: h.namespace, Name: release}, &r))
		if r.Spec.Against != changes.Against || len(r.Spec.Deletes) != 6 || r.Spec.Deletes[0] != "ConfigMap shop/o-2" {
			return fmt.Sprintf("against %q it deletes %v", r.Spec.Against, r.Spec.Deletes)
		}
		return ""
	})

	// A cluster holds its deletes back, and the Package says so.
	held := &v1alpha1.MemberDeletesHeld{Objects: 6, Holds: 9, Allowed: 3, Names: []string{"ConfigMap shop/o-2"}}
	obey()
	set, _ := h.desired.For(clusters[0])
	h.says(clusters[0], metav1.ConditionTrue, v1alpha1.MemberPackage{
		Package: key, Release: set.Assign[key].GetRelease(), Digest: set.Assign[key].Where().GetDigest(), Phase: v1alpha1.PackageApplied,
		Objects: 1, Applied: 1, Healthy: 1, DeletesHeld: held,
	})
	h.waitFor("app", v1alpha1.ConditionDelivered, "False DeletesHeld", "on 2/3", string(clusters[0])+": release "+release+" would delete 6 of 9 objects", "umbel approve deletes app")

	// An approval reaches the agents of the clusters that it names, and no Release is made.
	before := len(h.releases())
	h.change("app", func(p *v1alpha1.Package) {
		p.Spec.Deletes = &v1alpha1.PackageDeletes{Approved: []v1alpha1.DeleteApproval{
			{Release: release, Objects: 6, Clusters: clusters[:1], At: metav1.NowMicro()},
		}}
	})
	h.eventually("the agent of a is told that it may", func() string {
		set, _ := h.desired.For(clusters[0])
		if approvals := set.Assign[key].GetPolicy().GetDeleteApprovals(); len(approvals) != 1 || approvals[0].GetObjects() != 6 {
			return fmt.Sprintf("it is told %v", approvals)
		}
		return ""
	})
	if set, _ := h.desired.For(clusters[1]); set.Assign[key].GetPolicy() != nil {
		t.Errorf("the agent of b is told %v", set.Assign[key].GetPolicy())
	}
	if after := len(h.releases()); after != before {
		t.Errorf("an approval made %d Releases", after-before)
	}
	obey()
	h.waitFor("app", v1alpha1.ConditionReady, "True Delivered", "on 3/3 clusters")

	// A typo.
	h.place("prod")
	h.waitFor("app", v1alpha1.ConditionDelivered, "False DeletesHeld", "does not select 3 of 3 clusters", string(clusters[0]), "umbel approve deletes app")
	for _, cluster := range clusters {
		if got := h.told(cluster, key); got != "keep" {
			t.Errorf("%s is told %q", cluster, got)
		}
	}
	h.stop()
	h.start()
	h.waitFor("app", v1alpha1.ConditionDelivered, "False DeletesHeld", "does not select 3 of 3 clusters")
	h.waitTold(clusters[0], key, "keep")
	h.place("prod", clusters[1:]...) // one of three is no typo
	h.waitTold(clusters[0], key, "remove")
	h.place("prod")
	h.waitTold(clusters[0], key, "keep")
	var placement v1alpha1.Placement
	h.must(h.Get(t.Context(), client.ObjectKey{Namespace: h.namespace, Name: "prod"}, &placement))
	h.change("app", func(p *v1alpha1.Package) {
		p.Spec.Deletes.ApprovedRemoval = &v1alpha1.RemovalApproval{
			Placement: "prod", Generation: placement.Generation, Clusters: clusters[1:], At: metav1.NowMicro(),
		}
	})
	for _, cluster := range clusters { // one is left, which is within the budget
		h.waitTold(cluster, key, "remove")
	}
	h.must(h.Delete(t.Context(), h.pkg("app")))
	for _, cluster := range clusters {
		h.says(cluster, metav1.ConditionTrue)
	}
	h.waitGone("app")
}
