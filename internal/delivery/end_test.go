package delivery_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// TestADeletedPackageWaitsForWhoMayHoldIt: a member that was told of a Package and then cut off, before it said anything
// of it, is not forgotten. Laws 1 and 7.
func TestADeletedPackageWaitsForWhoMayHoldIt(t *testing.T) {
	h := newHub(t)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "x")})
	back, lost := h.cluster("back", nil), h.cluster("lost", nil)
	h.place("prod", back, lost)
	key := h.create("app", repo.URL(), ".", "prod")
	h.waitTold(back, key, `"x"`)
	told := v1alpha1.MemberPackage{Package: key, Phase: v1alpha1.PackageApplying, Message: "nothing was heard of it yet"}
	h.says(back, metav1.ConditionUnknown, told)
	h.says(lost, metav1.ConditionUnknown, told)

	h.must(h.Delete(t.Context(), h.pkg("app")))
	h.waitFor("app", v1alpha1.ConditionReady, "False Deleting",
		"not connected: "+string(back)+", "+string(lost), "`umbel leave NAME --force` forgets one that does not come back")
	h.stop()
	h.start() // what it waits for does not depend on who remembers it
	h.waitTold(back, key, "remove")

	h.says(back, metav1.ConditionTrue, v1alpha1.MemberPackage{Package: key, Phase: v1alpha1.PackageRemoving})
	h.waitFor("app", v1alpha1.ConditionDelivered, "False Deleting clusters are removing what they hold: "+string(back))
	h.says(back, metav1.ConditionTrue)
	h.waitFor("app", v1alpha1.ConditionDelivered, "False Deleting waiting for clusters that may hold it and are not connected: "+string(lost))

	// The one that does not come back is forgotten by a person: that ends the wait.
	h.must(h.Delete(t.Context(), &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: string(lost)}}))
	h.waitGone("app")
}

// TestADeletedPackageThatNobodyHoldsGoesAtOnce: who was only selected, and never told, holds nothing.
func TestADeletedPackageThatNobodyHoldsGoesAtOnce(t *testing.T) {
	h := newHub(t)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "x")})
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	key := h.create("app", repo.URL(), ".", "prod")
	h.waitTold(eu, key, `"x"`)
	h.must(h.Delete(t.Context(), h.pkg("app")))
	h.waitGone("app")
	if left := h.releases(); len(left) != 0 {
		t.Errorf("%d releases are left", len(left))
	}
}

// TestADeletedPackageWaitsForAClusterThatLeaves: what becomes of what a leaving cluster holds is decided there; until
// it has left, nobody may take the Package for gone.
func TestADeletedPackageWaitsForAClusterThatLeaves(t *testing.T) {
	h := newHub(t)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "x")})
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	key := h.create("app", repo.URL(), ".", "prod")
	h.waitTold(eu, key, `"x"`)
	h.obeys(eu)
	leaves := &v1alpha1.MemberCluster{}
	h.must(h.Get(t.Context(), client.ObjectKey{Name: string(eu)}, leaves))
	leaves.Finalizers = []string{v1alpha1.Finalizer}
	h.must(h.Update(t.Context(), leaves))
	h.must(h.Delete(t.Context(), leaves))
	h.must(h.Delete(t.Context(), h.pkg("app")))
	h.waitFor("app", v1alpha1.ConditionDelivered, "False Deleting waiting for clusters that are leaving the fleet: "+string(eu))
	h.must(h.Get(t.Context(), client.ObjectKey{Name: string(eu)}, leaves))
	leaves.Finalizers = nil
	h.must(h.Update(t.Context(), leaves))
	h.waitGone("app")
}
