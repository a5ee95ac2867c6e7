package delivery_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery"
)

// follower is another replica of the hub, which does not lead. It has what its own clusters would be told.
func (h *hub) follower() *hub {
	h.t.Helper()
	now, holder, seconds := metav1.NowMicro(), "the one that leads", int32(3600)
	h.must(h.Create(h.t.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "leads"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, AcquireTime: &now, RenewTime: &now},
	}))
	lease := 2 * time.Hour
	mgr := h.manager(ctrl.Options{LeaderElection: true, LeaderElectionID: "leads", LeaderElectionNamespace: h.namespace, LeaseDuration: &lease})
	ctx, cancel := context.WithCancel(h.t.Context())
	f := *h
	f.dir = filepath.Join(h.dir, "follower")
	var err error
	f.desired, err = delivery.Setup(ctx, mgr, delivery.Needs{
		Dir: f.dir, Content: h.store, Sealer: h.sealer, Log: h.logs.logger(), Now: time.Now, Elected: mgr.Elected(),
	})
	h.must(err)
	var running sync.WaitGroup
	running.Go(func() {
		if err := mgr.Start(ctx); err != nil {
			h.t.Errorf("the follower ended: %v", err)
		}
	})
	h.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return &f
}

// TestAFollowerHearsOfWhatIsWaitedFor: a replica that does not lead says what clusters are to hold as the one that leads does, also
// where it is the state of another Package on a cluster that lets it have it, and nobody leads.
func TestAFollowerHearsOfWhatIsWaitedFor(t *testing.T) {
	h := newHub(t)
	f := h.follower()
	eu, us := h.cluster("eu", nil), h.cluster("us", nil)
	h.place("everywhere", eu, us)
	db, web := v1alpha1.KeyOf(h.namespace, "db"), v1alpha1.KeyOf(h.namespace, "web")
	h.must(h.Create(t.Context(), h.inline("db", "everywhere", item("db", "1"))))
	pkg := h.inline("web", "everywhere", item("web", "1"))
	h.must(setDependsOn(pkg, map[string]any{"name": "db"}))
	h.must(h.Create(t.Context(), pkg))
	h.waitFor("web", v1alpha1.ConditionDependencies, "False Waiting", "2 clusters wait")
	f.waitTold(eu, db, `"1"`)
	f.waitTold(eu, web, "keep")
	h.stop() // nobody leads: no status of a Package tells of it
	gets := func(cluster v1alpha1.ClusterName) bool {
		set, _ := f.desired.For(cluster)
		return set.Assign[web] != nil
	}
	for _, cluster := range []v1alpha1.ClusterName{eu, us} {
		if gets(cluster) {
			t.Errorf("%s does not wait", cluster)
		}
		f.obeys(cluster)
		h.eventually("the package on "+string(cluster), func() string { return map[bool]string{false: "it still waits"}[gets(cluster)] })
	}
}
