package view

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/health"
)

// Health says in one word how a cluster is.
type Health string

// The healths, the worst first.
const (
	NotReady   Health = "NotReady"   // something of it is not as it should be
	Silent     Health = "Unknown"    // nobody has heard of it lately
	Awaited    Health = "Awaited"    // it has never come, or is not let in
	Hibernated Health = "Hibernated" // it was put to sleep
	Healthy    Health = "Ready"
)

// Healths are all of them, the worst first.
var Healths = []Health{NotReady, Silent, Awaited, Hibernated, Healthy}

// Health says how a cluster is, as ClusterReady and Connected say it in two words.
func (m Moment) Health(cluster *v1alpha1.MemberCluster) Health {
	if !m.fresh() {
		return Silent
	}
	connected := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionConnected)
	switch {
	case connected == nil:
		return Silent
	case connected.Reason == v1alpha1.ReasonHibernated:
		return Hibernated
	case health.Awaited(connected.Reason):
		return Awaited
	case connected.Status == metav1.ConditionUnknown:
		return Silent
	}
	switch metav1.ConditionStatus(statusOf(cluster.Status.Conditions, v1alpha1.ConditionReady)) {
	case metav1.ConditionTrue:
		return Healthy
	case metav1.ConditionFalse:
		return NotReady
	}
	return Silent
}

// Why is what a cluster says of its health, and since when that is so; the zero time when nobody knows.
func (m Moment) Why(cluster *v1alpha1.MemberCluster) (message string, since metav1.Time) {
	connected := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionConnected)
	is := m.Health(cluster)
	if connected != nil && (is == Silent || is == Awaited || is == Hibernated) {
		return connected.Message, connected.LastTransitionTime
	}
	if ready := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		return ready.Message, ready.LastTransitionTime
	}
	return "", metav1.Time{}
}
