package profile

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	inventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	// Manager is the name of this cluster manager, in spec.clusterManager and in the label that says so.
	Manager = "umbel"
	// AccessProvider is the name of the way to a member through the hub, in status.accessProviders.
	AccessProvider = "umbel"
	// AgentVersionProperty has the version of the member's agent.
	AgentVersionProperty = "umbel.dev/agent-version"
)

// Door is how people and programs reach the hub.
type Door struct {
	// Address is HOST:PORT; empty as long as it is not known.
	Address string
	// CA is the certificate authority of the gateway, PEM.
	CA string
}

// Plan returns how the ClusterProfile of a member should be. before is how it stands, or nil when there is none.
func Plan(member *v1alpha1.MemberCluster, door Door, before *inventory.ClusterProfile) *inventory.ClusterProfile {
	after := &inventory.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: member.Name}}
	if before != nil {
		after = before.DeepCopy()
	}
	after.Labels = maps.Clone(member.Labels)
	if after.Labels == nil {
		after.Labels = map[string]string{}
	}
	after.Labels[inventory.LabelClusterManagerKey] = Manager
	after.OwnerReferences = []metav1.OwnerReference{
		*metav1.NewControllerRef(member, v1alpha1.GroupVersion.WithKind("MemberCluster")),
	}
	after.Spec = inventory.ClusterProfileSpec{DisplayName: member.Name, ClusterManager: inventory.ClusterManager{Name: Manager}}
	for _, condition := range conditions(member) {
		meta.SetStatusCondition(&after.Status.Conditions, condition)
	}
	after.Status.Version.Kubernetes = member.Status.KubernetesVersion
	after.Status.Properties = properties(member)
	after.Status.AccessProviders = access(member.Name, door)
	return after
}

// conditions translates those of the member. ControlPlaneHealthy says nothing but what was heard: a member that is kept out,
// or that has never come, has a control plane of which the hub knows nothing.
func conditions(member *v1alpha1.MemberCluster) []metav1.Condition {
	joined := found(member, v1alpha1.ConditionJoined)
	healthy := found(member, v1alpha1.ConditionConnected)
	healthy.Type = inventory.ClusterConditionControlPlaneHealthy
	if healthy.Status == metav1.ConditionFalse && healthy.Reason != v1alpha1.ReasonAPIUnreachable {
		healthy.Status = metav1.ConditionUnknown
	}
	return []metav1.Condition{healthy, joined}
}

// found returns a condition of the member, or Unknown when nobody has written it yet.
func found(member *v1alpha1.MemberCluster, kind string) metav1.Condition {
	c := metav1.Condition{
		Type: kind, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonAwaitingAgent,
		Message: "the hub has not looked at the member yet", LastTransitionTime: member.CreationTimestamp,
	}
	if has := meta.FindStatusCondition(member.Status.Conditions, kind); has != nil {
		c = *has
	}
	c.ObservedGeneration = 0 // that of the MemberCluster, which is another object
	return c
}

// properties are what the member says of itself, its labels, and what the hub knows: of two with one name the first.
func properties(member *v1alpha1.MemberCluster) []inventory.Property {
	known := map[string]inventory.Property{}
	add := func(name, value string, observed metav1.Time) {
		if _, has := known[name]; !has && value != "" {
			known[name] = inventory.Property{Name: name, Value: value, LastObservedTime: observed}
		}
	}
	for _, p := range member.Status.Properties {
		add(p.Name, p.Value, observed(member, p.Since))
	}
	for name, value := range member.Labels {
		add(name, value, metav1.Time{})
	}
	add(AgentVersionProperty, member.Status.AgentVersion, metav1.Time{})
	var list []inventory.Property
	for _, name := range slices.Sorted(maps.Keys(known)) {
		list = append(list, known[name])
	}
	return list
}

// observed is when a property was surely seen: when the hub heard of it, or when a member that is lost was heard last.
// While the member is connected it is seen all the time, and that is not written.
func observed(member *v1alpha1.MemberCluster, since metav1.Time) metav1.Time {
	last := member.Status.LastSeen
	if meta.IsStatusConditionTrue(member.Status.Conditions, v1alpha1.ConditionConnected) || last == nil || last.Before(&since) {
		return since
	}
	return *last
}
