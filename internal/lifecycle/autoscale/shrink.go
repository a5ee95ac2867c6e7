package autoscale

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// What upstream's autoscaler calls these annotations: of a pod, and of a node.
const (
	safeToEvict  = "cluster-autoscaler.kubernetes.io/safe-to-evict"
	neverShrinks = "cluster-autoscaler.kubernetes.io/scale-down-disabled"
	mirror       = "kubernetes.io/config.mirror"
)

// shrink takes a machine away that has not been needed for as long as its pool says. idle is since when each was not.
func (p *Plan) shrink(s Seen, idle map[string]time.Time, now time.Time) {
	if len(s.Nodes) == 0 {
		return
	}
	for _, pool := range s.Pools {
		for _, name := range pool.Nodes {
			node := find(s.Nodes, name)
			if node == nil || keeps(s, pool, node) != "" {
				continue
			}
			since, known := idle[name]
			if !known {
				since = now
			}
			p.Memory.Idle[name] = since
			if len(p.Steps) > 0 || now.Sub(since) < pool.After || pool.Replicas <= pool.Min || int(pool.Replicas) > ready(s.Nodes, pool.Nodes) {
				continue
			}
			if int(pool.Replicas) < len(pool.Nodes) {
				continue // that one of them goes has been said, and it may be this one
			}
			p.Steps = append(p.Steps, Step{
				Pool: pool.Name, From: pool.Replicas, To: pool.Replicas - 1, Node: name,
				Why: fmt.Sprintf("node %s has not been needed for %s", name, pool.After),
			})
			delete(p.Memory.Idle, name)
		}
	}
}

func find(nodes []corev1.Node, name string) *corev1.Node {
	for i := range nodes {
		if nodes[i].Name == name {
			return &nodes[i]
		}
	}
	return nil
}

// keeps says why a node is needed, empty when it is not.
func keeps(s Seen, pool Pool, node *corev1.Node) string {
	switch {
	case node.Annotations[neverShrinks] == "true":
		return "its annotation " + neverShrinks + " says so"
	case node.DeletionTimestamp != nil, readySince(node).IsZero():
		return "it is not ready"
	}
	moving, whyNot := movable(s, node)
	if whyNot != "" {
		return whyNot
	}
	if used := usage(node, moving); used > pool.Below {
		return fmt.Sprintf("its pods ask for %.0f %% of it", 100*used)
	}
	for i := range s.Nodes {
		other := &s.Nodes[i]
		if other.Name != node.Name && !other.Spec.Unschedulable && !readySince(other).IsZero() && other.DeletionTimestamp == nil {
			moving = spaceOf(other, s.Pods).take(moving)
		}
	}
	if len(moving) > 0 {
		return "no other node has room for " + list(moving)
	}
	return ""
}

// movable are the pods of a node that would have to run elsewhere, and why one of them cannot be moved.
func movable(s Seen, node *corev1.Node) (pods []*corev1.Pod, whyNot string) {
	var covered []int
	for i := range s.Pods {
		pod := &s.Pods[i]
		if pod.Spec.NodeName != node.Name || over(pod) || pod.DeletionTimestamp != nil || ofDaemonSet(pod) || pod.Annotations[mirror] != "" {
			continue
		}
		budgets := budgetsOf(s.Budgets, pod)
		covered = append(covered, budgets...)
		if reason := stays(pod, len(budgets) > 0); reason != "" {
			return nil, fmt.Sprintf("pod %s %s", nameOf(pod), reason)
		}
		pods = append(pods, pod)
	}
	asked := map[int]int32{}
	for _, i := range covered {
		asked[i]++
		if b := s.Budgets[i]; asked[i] > b.Status.DisruptionsAllowed {
			return nil, fmt.Sprintf("PodDisruptionBudget %s/%s allows no more evictions", b.Namespace, b.Name)
		}
	}
	return pods, ""
}

// stays says why a pod cannot be moved, empty when it can.
func stays(pod *corev1.Pod, budgeted bool) string {
	switch pod.Annotations[safeToEvict] {
	case "true":
		return ""
	case "false":
		return "is not to be evicted, by its annotation " + safeToEvict
	}
	if metav1.GetControllerOf(pod) == nil {
		return "has no controller that would make another one"
	}
	if pod.Namespace == metav1.NamespaceSystem && !budgeted {
		return "is one of kube-system without a PodDisruptionBudget"
	}
	for _, v := range pod.Spec.Volumes {
		if v.HostPath != nil || v.EmptyDir != nil && v.EmptyDir.Medium != corev1.StorageMediumMemory {
			return "keeps data on the node, in its volume " + v.Name
		}
	}
	return ""
}

// budgetsOf are the indices of the budgets that cover a pod.
func budgetsOf(all []policyv1.PodDisruptionBudget, pod *corev1.Pod) (covering []int) {
	for i, b := range all {
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if b.Namespace == pod.Namespace && (err != nil || selector.Matches(labels.Set(pod.Labels))) {
			covering = append(covering, i) // one that cannot be read might mean it
		}
	}
	return covering
}

// usage is how much of a node these pods ask for, of processor or memory, whichever is more; of 1.
func usage(node *corev1.Node, pods []*corev1.Pod) float64 {
	var cpu, memory int64
	for _, pod := range pods {
		asked := asks(pod)
		cpu += asked.Cpu().MilliValue()
		memory += asked.Memory().Value()
	}
	of := func(asked, has int64) float64 {
		if has <= 0 {
			return 0
		}
		return float64(asked) / float64(has)
	}
	has := node.Status.Allocatable
	return max(of(cpu, has.Cpu().MilliValue()), of(memory, has.Memory().Value()))
}
