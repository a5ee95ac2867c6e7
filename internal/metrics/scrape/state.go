package scrape

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/edge"
)

// page is how many objects are read at once: so many are in memory, and no more.
const page = 250

// state reads what objects say. The names are those of kube-state-metrics, where it has one.
type state struct {
	client  kubernetes.Interface
	profile v1alpha1.MetricsProfile
	batch   *batch
	at      time.Time

	watched *edge.Watch // which pods are asked themselves; nil when none are
	targets []edge.Target
	// attached are the nodes that monitors want to know of, by their names.
	attached map[string]*edge.Node
}

// detailed says whether pods and deployments have series of their own.
func (s *state) detailed() bool { return s.profile != v1alpha1.MetricsMinimal }

// nodes adds what nodes say, and returns their names.
func (s *state) nodes(ctx context.Context) (names []string, err error) {
	err = pages(func(o metav1.ListOptions) (string, error) {
		list, err := s.client.CoreV1().Nodes().List(ctx, o)
		if err != nil {
			return "", fmt.Errorf("listing nodes: %w", err)
		}
		for i := range list.Items {
			names = append(names, list.Items[i].Name)
			if err := s.node(&list.Items[i]); err != nil {
				return "", err
			}
		}
		return list.Continue, nil
	})
	return names, err
}

// conditions of a node that say something of it.
var conditions = map[corev1.NodeConditionType]bool{
	corev1.NodeReady: true, corev1.NodeMemoryPressure: true, corev1.NodeDiskPressure: true, corev1.NodePIDPressure: true,
}

// units are what of a node's resources is told.
var units = map[corev1.ResourceName]string{corev1.ResourceCPU: "core", corev1.ResourceMemory: "byte", corev1.ResourcePods: "integer"}

func (s *state) node(n *corev1.Node) error {
	for _, c := range n.Status.Conditions {
		if !conditions[c.Type] {
			continue
		}
		for status, word := range map[corev1.ConditionStatus]string{corev1.ConditionTrue: "true", corev1.ConditionFalse: "false", corev1.ConditionUnknown: "unknown"} {
			if err := s.add(one(c.Status == status), "kube_node_status_condition", "node", n.Name, "condition", string(c.Type), "status", word); err != nil {
				return err
			}
		}
	}
	for name, list := range map[string]corev1.ResourceList{"kube_node_status_capacity": n.Status.Capacity, "kube_node_status_allocatable": n.Status.Allocatable} {
		for what, unit := range units {
			if amount, ok := list[what]; ok {
				if err := s.add(number(amount), name, "node", n.Name, "resource", string(what), "unit", unit); err != nil {
					return err
				}
			}
		}
	}
	return s.add(one(n.Spec.Unschedulable), "kube_node_spec_unschedulable", "node", n.Name)
}

// phases of pods, all of which are told.
var phases = []corev1.PodPhase{corev1.PodPending, corev1.PodRunning, corev1.PodSucceeded, corev1.PodFailed, corev1.PodUnknown}

// pods adds how many pods there are, by namespace and phase, and which containers do not run.
func (s *state) pods(ctx context.Context) error {
	count, asked := map[string]map[corev1.PodPhase]int{}, map[string]corev1.ResourceList{}
	if s.detailed() {
		watched, err := s.watch(ctx)
		if err != nil {
			return err
		}
		s.watched = watched
		if err := s.attach(ctx); err != nil {
			return err
		}
	}
	err := pages(func(o metav1.ListOptions) (string, error) {
		list, err := s.client.CoreV1().Pods("").List(ctx, o)
		if err != nil {
			return "", fmt.Errorf("listing pods: %w", err)
		}
		for i := range list.Items {
			pod := &list.Items[i]
			namespace := pod.Namespace
			if !s.detailed() {
				namespace = ""
			}
			if count[namespace] == nil {
				count[namespace] = map[corev1.PodPhase]int{}
			}
			count[namespace][pod.Status.Phase]++
			if pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
				asked[namespace] = plus(asked[namespace], requests(&pod.Spec))
			}
			s.targetsOf(pod)
			if err := s.containers(pod); err != nil {
				return "", err
			}
		}
		return list.Continue, nil
	})
	if err != nil {
		return err
	}
	if err := s.asked(asked); err != nil {
		return err
	}
	for namespace, of := range count {
		for _, phase := range phases {
			pairs := []string{"phase", string(phase)}
			if namespace != "" {
				pairs = append(pairs, "namespace", namespace)
			}
			if err := s.add(float64(of[phase]), "umbel_pods", pairs...); err != nil {
				return err
			}
		}
	}
	return nil
}

// requested are the resources of which it is told how much pods ask for.
var requested = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory}

// plus returns the sum of two lists, of what is requested.
func plus(a, b corev1.ResourceList) corev1.ResourceList {
	sum := corev1.ResourceList{}
	for _, name := range requested {
		amount := a[name].DeepCopy()
		amount.Add(b[name])
		sum[name] = amount
	}
	return sum
}

// requests is what a pod asks of a node, as a scheduler counts: its containers and those that run beside them, or what starting it takes where that
// is more, and its overhead.
func requests(pod *corev1.PodSpec) corev1.ResourceList {
	total, starting := corev1.ResourceList{}, corev1.ResourceList{}
	for i := range pod.InitContainers {
		c := &pod.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			total = plus(total, c.Resources.Requests)
			continue
		}
		starting = most(starting, plus(total, c.Resources.Requests)) // those before it that go on run too
	}
	for i := range pod.Containers {
		total = plus(total, pod.Containers[i].Resources.Requests)
	}
	return plus(most(total, starting), pod.Overhead)
}

// most returns the greater amount of each resource.
func most(a, b corev1.ResourceList) corev1.ResourceList {
	greater := corev1.ResourceList{}
	for _, name := range requested {
		greater[name] = a[name]
		if more := b[name]; more.Cmp(a[name]) > 0 {
			greater[name] = more
		}
	}
	return greater
}

// asked adds how much pods ask for, by namespace where they are told apart.
func (s *state) asked(of map[string]corev1.ResourceList) error {
	for namespace, amounts := range of {
		for _, name := range requested {
			pairs := []string{"resource", string(name)}
			if namespace != "" {
				pairs = append(pairs, "namespace", namespace)
			}
			if err := s.add(number(amounts[name]), "umbel_requests", pairs...); err != nil {
				return err
			}
		}
	}
	return nil
}

// teams adds whose a namespace is, where its label says so.
func (s *state) teams(ctx context.Context) error {
	if !s.detailed() {
		return nil
	}
	return pages(func(o metav1.ListOptions) (string, error) {
		o.LabelSelector = v1alpha1.TeamLabel
		list, err := s.client.CoreV1().Namespaces().List(ctx, o)
		if err != nil {
			return "", fmt.Errorf("listing namespaces: %w", err)
		}
		for i := range list.Items {
			if err := s.add(1, "umbel_namespace", "namespace", list.Items[i].Name, "team", list.Items[i].Labels[v1alpha1.TeamLabel]); err != nil {
				return "", err
			}
		}
		return list.Continue, nil
	})
}

// containers adds what does not go well with the containers of a pod.
func (s *state) containers(pod *corev1.Pod) error {
	if !s.detailed() {
		return nil
	}
	for _, c := range pod.Status.ContainerStatuses {
		of := []string{"namespace", pod.Namespace, "pod", pod.Name, "container", c.Name}
		if c.RestartCount > 0 {
			if err := s.add(float64(c.RestartCount), "kube_pod_container_status_restarts_total", of...); err != nil {
				return err
			}
		}
		if waits := c.State.Waiting; waits != nil && waits.Reason != "" {
			if err := s.add(1, "kube_pod_container_status_waiting_reason", append(of, "reason", waits.Reason)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// deployments adds how many replicas deployments should have and how many are available.
func (s *state) deployments(ctx context.Context) error {
	if !s.detailed() {
		return nil
	}
	return pages(func(o metav1.ListOptions) (string, error) {
		list, err := s.client.AppsV1().Deployments("").List(ctx, o)
		if err != nil {
			return "", fmt.Errorf("listing deployments: %w", err)
		}
		for i := range list.Items {
			if err := s.deployment(&list.Items[i]); err != nil {
				return "", err
			}
		}
		return list.Continue, nil
	})
}

func (s *state) deployment(d *appsv1.Deployment) error {
	of := []string{"namespace", d.Namespace, "deployment", d.Name}
	wanted := int32(1)
	if d.Spec.Replicas != nil {
		wanted = *d.Spec.Replicas
	}
	if err := s.add(float64(wanted), "kube_deployment_spec_replicas", of...); err != nil {
		return err
	}
	return s.add(float64(d.Status.AvailableReplicas), "kube_deployment_status_replicas_available", of...)
}

// quotas adds what ResourceQuotas allow, and how much of it is used.
func (s *state) quotas(ctx context.Context) error {
	if !s.detailed() {
		return nil
	}
	return pages(func(o metav1.ListOptions) (string, error) {
		list, err := s.client.CoreV1().ResourceQuotas("").List(ctx, o)
		if err != nil {
			return "", fmt.Errorf("listing resource quotas: %w", err)
		}
		for i := range list.Items {
			q := &list.Items[i]
			for kind, amounts := range map[string]corev1.ResourceList{"hard": q.Status.Hard, "used": q.Status.Used} {
				for what, amount := range amounts {
					if err := s.add(number(amount), "kube_resourcequota", "namespace", q.Namespace, "resourcequota", q.Name, "resource", string(what), "type", kind); err != nil {
						return "", err
					}
				}
			}
		}
		return list.Continue, nil
	})
}

func (s *state) add(value float64, name string, pairs ...string) error {
	return s.batch.gauge(s.at, value, name, append(pairs, "job", "state")...)
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func number(q resource.Quantity) float64 { return q.AsApproximateFloat64() }

// pages reads a list page by page; read returns where the next one begins.
func pages(read func(metav1.ListOptions) (next string, err error)) error {
	o := metav1.ListOptions{Limit: page}
	for {
		next, err := read(o)
		if err != nil || next == "" {
			return err
		}
		o.Continue = next
	}
}
