package health

import (
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// Fleet is what is looked at. What could not be read is nil, and nothing is said of it.
type Fleet struct {
	// Now is the time.
	Now time.Time
	// Silence says why the hub's word is not to be relied on; empty while it is heard of. Heard is when it was last.
	Silence string
	Heard   time.Time
	// Replicas are the Leases of the hub's replicas; none when it is one process.
	Replicas []coordinationv1.Lease

	Clusters   []v1alpha1.MemberCluster
	Packages   []v1alpha1.Package
	Placements []v1alpha1.Placement
	Rollouts   []v1alpha1.Rollout
	Scopes     []v1alpha1.Scope
	Providers  []v1alpha1.Provider
	Upgrades   []v1alpha1.AgentUpgrade
	// Managed are the clusters that the hub makes.
	Managed []ManagedCluster
	// Alerts are those of the hub's rules that fire.
	Alerts []FiringAlert
}

// ManagedCluster is what counts of a Cluster of Cluster API.
type ManagedCluster struct {
	metav1.ObjectMeta
	// Phase is how far it is: Provisioning, Provisioned, Deleting, Failed.
	Phase string
	// Available is its condition of that name; nil when it has none.
	Available *metav1.Condition
}

// Findings returns what is wrong, sorted.
func (f *Fleet) Findings() []Finding {
	if f.Silence != "" {
		return f.silent()
	}
	var found []Finding
	found = append(found, f.replicas()...)
	packages := f.packages()
	found = append(found, f.clusters(packages)...)
	found = append(found, f.managed()...)
	found = append(found, f.providers()...)
	found = append(found, f.upgrades()...)
	found = append(found, f.rollouts()...)
	found = append(found, packages...)
	found = append(found, f.placements()...)
	found = append(found, f.scopes()...)
	found = append(found, f.alerts()...)
	Sort(found)
	return found
}

// silent is what there is to say while the hub is: what it said of others is old, and no news.
func (f *Fleet) silent() []Finding {
	found := Finding{Level: Critical, Kind: Hub, Reason: "HubSilent", Message: f.Silence, Command: "umbel get clusters -o wide"}
	if !f.Heard.IsZero() {
		found.Since = &metav1.Time{Time: f.Heard.Truncate(time.Second)}
	}
	return []Finding{found}
}

// replicas are those whose Lease is over. One that ends takes its Lease along.
func (f *Fleet) replicas() (found []Finding) {
	for i := range f.Replicas {
		lease := &f.Replicas[i]
		if lease.Spec.RenewTime == nil || lease.Spec.LeaseDurationSeconds == nil {
			continue
		}
		renewed := lease.Spec.RenewTime.Time
		if f.Now.Before(renewed.Add(time.Duration(*lease.Spec.LeaseDurationSeconds) * time.Second)) {
			continue
		}
		found = append(found, Finding{
			Level: Failing, Kind: Replica, Name: lease.Labels[v1alpha1.ReplicaLabel], Reason: "ReplicaSilent", Since: &metav1.Time{Time: renewed.Truncate(time.Second)},
			Message: "this replica of the hub does not renew its Lease: it was killed, or does not reach the hub's API; the others serve its clusters",
			Command: fmt.Sprintf("kubectl -n %s describe lease %s", lease.Namespace, lease.Name),
		})
	}
	return found
}

// Counts says how many clusters and packages there are, and how many of them are ready.
type Counts struct {
	Clusters      int `json:"clusters"`
	ClustersReady int `json:"clustersReady"`
	Packages      int `json:"packages"`
	PackagesReady int `json:"packagesReady"`
}

// Counts counts. While the hub is silent nothing is known to be ready.
func (f *Fleet) Counts() Counts {
	n := Counts{Clusters: len(f.Clusters), Packages: len(f.Packages)}
	if f.Silence != "" {
		return n
	}
	for i := range f.Clusters {
		if c := &f.Clusters[i]; Is(c.Status.Conditions, v1alpha1.ConditionConnected) && Is(c.Status.Conditions, v1alpha1.ConditionReady) {
			n.ClustersReady++
		}
	}
	for i := range f.Packages {
		if p := &f.Packages[i]; p.Status.ObservedGeneration >= p.Generation && Is(p.Status.Conditions, v1alpha1.ConditionReady) {
			n.PackagesReady++
		}
	}
	return n
}
