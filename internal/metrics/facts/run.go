package facts

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/store"
)

// Every is how often the hub says what it knows.
const Every = 30 * time.Second

// Needs are what saying takes.
type Needs struct {
	// Reader has the hub's objects in memory.
	Reader client.Reader
	// More returns what others of the hub have to say; nil when nobody has.
	More func() []store.Fact
	// Say writes.
	Say func(ctx context.Context, at time.Time, facts []store.Fact) error
	// End marks what a cluster sent as ended, once it is in the fleet no more.
	End func(ctx context.Context, at time.Time, cluster v1alpha1.ClusterName) error
	Now func() time.Time
	Log *slog.Logger
}

// Setup has a manager say what it knows, until the manager ends.
func Setup(mgr ctrl.Manager, needs Needs) error {
	needs.Reader = mgr.GetClient()
	return mgr.Add(needs)
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: each replica has all that is measured.
func (Needs) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (n Needs) Start(ctx context.Context) error {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	fleet := map[v1alpha1.ClusterName]bool{}
	for {
		if err := n.once(ctx, fleet); err != nil && ctx.Err() == nil {
			n.Log.Error("what the hub knows of the fleet is not among the metrics", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// once says what the hub knows now, and ends what clusters sent that were in the fleet before. It has fleet be those that are.
func (n Needs) once(ctx context.Context, fleet map[v1alpha1.ClusterName]bool) error {
	var clusters v1alpha1.MemberClusterList
	var packages v1alpha1.PackageList
	var rollouts v1alpha1.RolloutList
	for _, list := range []client.ObjectList{&clusters, &packages, &rollouts} {
		if err := n.Reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil { // they are only looked at
			return fmt.Errorf("reading what the hub knows: %w", err)
		}
	}
	now := n.Now()
	if err := n.left(ctx, now, fleet, clusters.Items); err != nil {
		return err
	}
	facts := Of(Seen{Clusters: clusters.Items, Packages: packages.Items, Rollouts: rollouts.Items}, now)
	if n.More != nil {
		facts = append(facts, n.More()...)
	}
	return n.Say(ctx, now, facts)
}

// left ends what clusters sent that are in the fleet no more.
func (n Needs) left(ctx context.Context, now time.Time, fleet map[v1alpha1.ClusterName]bool, clusters []v1alpha1.MemberCluster) error {
	here := make(map[v1alpha1.ClusterName]bool, len(clusters))
	for i := range clusters {
		here[v1alpha1.ClusterName(clusters[i].Name)] = true
	}
	for name := range fleet {
		if here[name] {
			continue
		}
		if err := n.End(ctx, now, name); err != nil {
			return err
		}
		delete(fleet, name)
	}
	maps.Copy(fleet, here)
	return nil
}
