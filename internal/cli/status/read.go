package status

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/measured"
	"umbel.dev/umbel/internal/health"
)

// read reads what the hub knows. What whoever asks may not read is unseen; any other failure is an error, since half of a fleet would look well.
func read(ctx context.Context, f *client.Factory, hub *client.Hub) (*health.Fleet, []string, error) {
	pulse := hub.Pulse(ctx)
	seen := &health.Fleet{Now: f.Now(), Heard: pulse.Heard}
	seen.Silence = pulse.Warning(seen.Now)
	r := reader{ctx: ctx, hub: hub}
	var clusters v1alpha1.MemberClusterList
	r.note("clusters", hub.ListClusters(ctx, &clusters, labels.Everything()))
	seen.Clusters = clusters.Items
	var packages v1alpha1.PackageList
	r.list("packages", &packages)
	seen.Packages = packages.Items
	var placements v1alpha1.PlacementList
	r.list("placements", &placements)
	seen.Placements = placements.Items
	var rollouts v1alpha1.RolloutList
	r.list("rollouts", &rollouts)
	seen.Rollouts = rollouts.Items
	var scopes v1alpha1.ScopeList
	r.list("scopes", &scopes)
	seen.Scopes = scopes.Items
	var providers v1alpha1.ProviderList
	r.list("providers", &providers)
	seen.Providers = providers.Items
	var upgrades v1alpha1.AgentUpgradeList
	r.list("the upgrade of agents", &upgrades)
	seen.Upgrades = upgrades.Items
	var replicas coordinationv1.LeaseList
	r.list("replicas of the hub", &replicas, kube.InNamespace(v1alpha1.SystemNamespace), kube.HasLabels{v1alpha1.ReplicaLabel})
	seen.Replicas = replicas.Items
	seen.Managed = r.managed()
	if r.err == nil && seen.Silence == "" {
		seen.Alerts = r.alerts(f, seen.Clusters)
	}
	return seen, r.unseen, r.err
}

// reader reads one list after the other.
type reader struct {
	ctx    context.Context
	hub    *client.Hub
	unseen []string
	err    error
}

// list reads a list of a kind in all namespaces.
func (r *reader) list(what string, into kube.ObjectList, in ...kube.ListOption) {
	if r.err == nil {
		r.note(what, r.hub.List(r.ctx, into, in...))
	}
}

// note sorts an error: what may not be read is unseen, and a kind that this hub has not is empty.
func (r *reader) note(what string, err error) {
	switch {
	case err == nil, meta.IsNoMatchError(err): // such as Clusters, without a Provider
	case apierrors.IsForbidden(err):
		r.unseen = append(r.unseen, fmt.Sprintf("%s: %v", what, err))
	case apierrors.IsNotFound(err): // the kind is of a later version than the hub
	default:
		r.err = err
	}
}

// alerts asks the hub's door what fires. A hub that does not say so, such as one that keeps no metrics, leaves all else to be told.
func (r *reader) alerts(f *client.Factory, clusters []v1alpha1.MemberCluster) []health.FiringAlert {
	asker, err := measured.New(r.ctx, f, r.hub)
	var firing []health.FiringAlert
	if err == nil {
		firing, err = asker.Firing(r.ctx, measured.Names(clusters))
	}
	if err != nil {
		r.unseen = append(r.unseen, fmt.Sprintf("alerts: %v", err))
	}
	return firing
}

// managed reads the clusters that the hub makes.
func (r *reader) managed() (all []health.ManagedCluster) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: "cluster.x-k8s.io", Version: "v1beta2", Kind: "ClusterList"})
	r.list("clusters that the hub makes", list)
	for i := range list.Items {
		c := &list.Items[i]
		one := health.ManagedCluster{ObjectMeta: metav1.ObjectMeta{
			Namespace: c.GetNamespace(), Name: c.GetName(), Annotations: c.GetAnnotations(),
			CreationTimestamp: c.GetCreationTimestamp(), DeletionTimestamp: c.GetDeletionTimestamp(),
		}}
		one.Phase, _, _ = unstructured.NestedString(c.Object, "status", "phase")
		one.Available = available(c)
		all = append(all, one)
	}
	return all
}

// available reads the condition Available.
func available(c *unstructured.Unstructured) *metav1.Condition {
	conditions, _, _ := unstructured.NestedSlice(c.Object, "status", "conditions")
	for _, one := range conditions {
		fields, is := one.(map[string]any)
		if !is || fields["type"] != "Available" {
			continue
		}
		text := func(name string) string { value, _ := fields[name].(string); return value }
		read := &metav1.Condition{Type: "Available", Status: metav1.ConditionStatus(text("status")), Reason: text("reason"), Message: text("message")}
		if at, err := time.Parse(time.RFC3339, text("lastTransitionTime")); err == nil {
			read.LastTransitionTime = metav1.NewTime(at)
		}
		return read
	}
	return nil
}
