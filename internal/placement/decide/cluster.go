package decide

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// Cluster is what a decision needs to know of a cluster.
type Cluster struct {
	Name   v1alpha1.ClusterName
	Labels map[string]string
	Taints []v1alpha1.Taint
	// Standing says whether it takes part in the fleet.
	Standing Standing
	// Observed: nothing is written there, so that it is not selected anew.
	Observed bool
	// KubernetesVersion, AgentVersion and Properties are what its agent said last; without a version it has said nothing.
	KubernetesVersion, AgentVersion string
	Properties                      map[string]string
	// Lost is since when its agent is not connected; zero while it is.
	Lost time.Time
}

// Standing says whether a cluster takes part in the fleet.
type Standing int

const (
	// Member takes part. One that is suspended does: it keeps what it holds.
	Member Standing = iota
	// Leaving is being deleted.
	Leaving
	// Outside waits for approval or was denied: it was never let in.
	Outside
)

// See returns what a decision needs to know of a member. Labels and taints are those of the object, which nobody changes.
func See(m *v1alpha1.MemberCluster) Cluster {
	c := Cluster{
		Name: v1alpha1.ClusterName(m.Name), Labels: m.Labels, Taints: m.Spec.Taints, Standing: standing(m), Observed: m.Spec.Observed(),
		KubernetesVersion: m.Status.KubernetesVersion, AgentVersion: m.Status.AgentVersion,
	}
	if len(m.Status.Properties) > 0 {
		c.Properties = make(map[string]string, len(m.Status.Properties))
		for _, p := range m.Status.Properties {
			if !endless(p.Value) {
				c.Properties[p.Name] = p.Value
			}
		}
	}
	connected := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionConnected)
	switch {
	case connected == nil:
		c.Lost = m.CreationTimestamp.Time
	case connected.Status != metav1.ConditionTrue:
		c.Lost = connected.LastTransitionTime.Time
	default:
		return c
	}
	if c.Lost.IsZero() {
		c.Lost = time.Unix(0, 0)
	}
	return c
}

func standing(m *v1alpha1.MemberCluster) Standing {
	switch {
	case !m.DeletionTimestamp.IsZero():
		return Leaving
	case m.Spec.Admission == v1alpha1.AdmissionPending || m.Spec.Admission == v1alpha1.AdmissionDenied:
		return Outside
	}
	return Member
}

// heard says whether its agent has said anything of it yet.
func (c *Cluster) heard() bool { return c.KubernetesVersion != "" }
