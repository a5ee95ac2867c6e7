package autoscale

import (
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	requests "k8s.io/component-helpers/resource"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
)

// space is a node, or one that might be, and what is free of it. It knows of the scheduler's rules those that say which nodes a pod may
// be on at all: resources, node selectors and affinity, taints, host ports, and pods that want no other one beside them.
type space struct {
	node *corev1.Node
	free corev1.ResourceList
	pods []*corev1.Pod
}

// newSpace is a node that nobody but the pods of DaemonSets is on.
func newSpace(like *corev1.Node, daemons corev1.ResourceList) *space {
	s := &space{node: like, free: maps.Clone(like.Status.Allocatable)}
	s.use(daemons, 0)
	return s
}

// spaceOf is a node with the pods that it has.
func spaceOf(node *corev1.Node, pods []corev1.Pod) *space {
	s := &space{node: node, free: maps.Clone(node.Status.Allocatable)}
	for i := range pods {
		if pods[i].Spec.NodeName == node.Name && !over(&pods[i]) {
			s.put(&pods[i])
		}
	}
	return s
}

func (s *space) put(pod *corev1.Pod) {
	s.use(asks(pod), 1)
	s.pods = append(s.pods, pod)
}

// use takes resources, and that many pods, from what is free.
func (s *space) use(what corev1.ResourceList, pods int64) {
	if s.free == nil {
		s.free = corev1.ResourceList{}
	}
	for name, amount := range what {
		left := s.free[name].DeepCopy()
		left.Sub(amount)
		s.free[name] = left
	}
	if left, ok := s.free[corev1.ResourcePods]; ok && pods > 0 {
		left = left.DeepCopy()
		left.Set(left.Value() - pods)
		s.free[corev1.ResourcePods] = left
	}
}

// take puts those pods there that fit, and returns the others.
func (s *space) take(pods []*corev1.Pod) (left []*corev1.Pod) {
	for _, pod := range pods {
		if s.refuses(pod) != "" {
			left = append(left, pod)
			continue
		}
		s.put(pod)
	}
	return left
}

// refuses says why a pod cannot be there, empty when it can.
func (s *space) refuses(pod *corev1.Pod) string {
	if match, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(s.node); err != nil || !match {
		return "its nodes have not the labels that the pod asks for"
	}
	if taint, found := scheduling.FindMatchingUntoleratedTaint(klog.Background(), s.node.Spec.Taints, pod.Spec.Tolerations, schedules, true); found {
		return fmt.Sprintf("the pod does not tolerate the taint %s of its nodes", taint.ToString())
	}
	asked := asks(pod)
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		amount, free := asked[name], s.free[name]
		if !amount.IsZero() && amount.Cmp(free) > 0 {
			return fmt.Sprintf("the pod asks for %s of %s, and one of its nodes has %s", amount.String(), name, free.String())
		}
	}
	if left, ok := s.free[corev1.ResourcePods]; ok && left.Value() < 1 {
		return "its nodes have no room for more pods"
	}
	for _, other := range s.pods {
		if sharesPort(pod, other) || apart(pod, other) || apart(other, pod) {
			return "the pod is not to be beside " + nameOf(other)
		}
	}
	return ""
}

// schedules says whether a taint keeps pods from being scheduled. Those by which Kubernetes says that a node is not ready yet go by
// themselves.
func schedules(taint *corev1.Taint) bool {
	return taint.Effect != corev1.TaintEffectPreferNoSchedule && taint.Key != corev1.TaintNodeNotReady
}

func asks(pod *corev1.Pod) corev1.ResourceList {
	return requests.PodRequests(pod, requests.PodResourcesOptions{})
}

func sharesPort(a, b *corev1.Pod) bool {
	for _, one := range ports(a) {
		if slices.Contains(ports(b), one) {
			return true
		}
	}
	return false
}

func ports(pod *corev1.Pod) (all []string) {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.HostPort != 0 {
				all = append(all, fmt.Sprintf("%s/%d", p.Protocol, p.HostPort))
			}
		}
	}
	return all
}

// apart says whether a pod wants no such other one on its node.
func apart(pod, other *corev1.Pod) bool {
	if pod.Spec.Affinity == nil || pod.Spec.Affinity.PodAntiAffinity == nil {
		return false
	}
	for _, term := range pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
		selector, err := metav1.LabelSelectorAsSelector(term.LabelSelector)
		if err != nil || term.TopologyKey != corev1.LabelHostname || term.NamespaceSelector != nil {
			continue // of others the scheduler knows; what it refuses stays pending
		}
		namespaces := term.Namespaces
		if len(namespaces) == 0 {
			namespaces = []string{pod.Namespace}
		}
		if slices.Contains(namespaces, other.Namespace) && selector.Matches(labels.Set(other.Labels)) {
			return true
		}
	}
	return false
}

func ofDaemonSet(pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.Kind == "DaemonSet"
}

// over says whether a pod needs nothing any more.
func over(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// overhead is what the pods of DaemonSets take of a node, for each pool: as much as on the node of it, or of any, where they take most.
func overhead(s Seen) map[string]corev1.ResourceList {
	of := map[string]corev1.ResourceList{}
	for _, node := range s.Nodes {
		sum := corev1.ResourceList{}
		for i := range s.Pods {
			if pod := &s.Pods[i]; pod.Spec.NodeName == node.Name && ofDaemonSet(pod) && !over(pod) {
				for name, amount := range asks(pod) {
					total := sum[name].DeepCopy()
					total.Add(amount)
					sum[name] = total
				}
			}
		}
		of[node.Name] = sum
	}
	all := map[string]corev1.ResourceList{}
	for _, pool := range s.Pools {
		names := pool.Nodes
		if !slices.ContainsFunc(names, func(n string) bool { return of[n] != nil }) {
			names = slices.Sorted(maps.Keys(of))
		}
		for _, name := range names {
			most, here := all[pool.Name], of[name]
			if most.Cpu().Cmp(*here.Cpu()) <= 0 {
				all[pool.Name] = here
			}
		}
	}
	return all
}

// readySince is since when a node is ready, zero for one that is not.
func readySince(node *corev1.Node) time.Time {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

// ready counts the nodes of these names that are.
func ready(nodes []corev1.Node, names []string) int {
	n := 0
	for i := range nodes {
		if slices.Contains(names, nodes[i].Name) && !readySince(&nodes[i]).IsZero() {
			n++
		}
	}
	return n
}
