package autoscale

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/contract"
)

// What upstream's autoscaler calls the annotations of a MachineDeployment, where it knows clusters by Cluster API.
const (
	optionAfter = "cluster.x-k8s.io/autoscaling-options-scaledownunneededtime"
	optionBelow = "cluster.x-k8s.io/autoscaling-options-scaledownutilizationthreshold"
	capacity    = "capacity.cluster-autoscaler.kubernetes.io/"
)

// usualAfter and usualBelow are upstream's.
const (
	usualAfter = 10 * time.Minute
	usualBelow = 0.5
)

// poolOf reads a pool from its MachineDeployment; not ok for one whose number does not follow the pods.
func poolOf(d *unstructured.Unstructured, nodes []string) (p Pool, ok bool, err error) {
	a := d.GetAnnotations()
	if a[v1alpha1.PoolMinAnnotation] == "" || a[v1alpha1.PoolMaxAnnotation] == "" {
		return Pool{}, false, nil
	}
	p = Pool{Name: d.GetName(), Nodes: nodes, After: usualAfter, Below: usualBelow}
	var problems []error
	read := func(key string, into func(string) error) {
		if text, has := a[key]; has {
			if err := into(text); err != nil {
				problems = append(problems, fmt.Errorf("annotation %s is %q: %w", key, text, err))
			}
		}
	}
	read(v1alpha1.PoolMinAnnotation, number(&p.Min))
	read(v1alpha1.PoolMaxAnnotation, number(&p.Max))
	read(optionAfter, func(text string) (err error) { p.After, err = time.ParseDuration(text); return err })
	read(optionBelow, func(text string) (err error) { p.Below, err = strconv.ParseFloat(text, 64); return err })
	if len(problems) == 0 && (p.Min < 0 || p.Max < p.Min) {
		problems = append(problems, fmt.Errorf("it is to have %d to %d machines", p.Min, p.Max))
	}
	replicas, _, _ := unstructured.NestedInt64(d.Object, "spec", "replicas")
	p.Replicas = int32(replicas)
	if p.Like, err = likeOf(d); err != nil {
		problems = append(problems, err)
	}
	return p, true, errors.Join(problems...)
}

func number(into *int32) func(string) error {
	return func(text string) error {
		n, err := strconv.ParseInt(text, 10, 32)
		*into = int32(n)
		return err
	}
}

// likeOf is what a new node of a pool is like, as far as its MachineDeployment says.
func likeOf(d *unstructured.Unstructured) (corev1.Node, error) {
	n := corev1.Node{}
	n.Name = d.GetName()
	n.Labels = map[string]string{corev1.LabelOSStable: "linux", corev1.LabelHostname: d.GetName()}
	var problems []error
	for key, text := range d.GetAnnotations() {
		name, ok := strings.CutPrefix(key, capacity)
		into, known := map[string]corev1.ResourceName{"cpu": corev1.ResourceCPU, "memory": corev1.ResourceMemory, "ephemeral-disk": corev1.ResourceEphemeralStorage, "maxPods": corev1.ResourcePods}[name]
		switch {
		case ok && known:
			amount, err := resource.ParseQuantity(text)
			if err != nil {
				problems = append(problems, fmt.Errorf("annotation %s is %q: %w", key, text, err))
			}
			if n.Status.Allocatable == nil {
				n.Status.Allocatable = corev1.ResourceList{}
			}
			n.Status.Allocatable[into] = amount
		case ok && name == "labels":
			for _, label := range strings.Split(text, ",") {
				key, value, _ := strings.Cut(label, "=")
				n.Labels[key] = value
			}
		case ok && name == "taints":
			for _, taint := range strings.Split(text, ",") {
				what, effect, _ := strings.Cut(taint, ":")
				key, value, _ := strings.Cut(what, "=")
				n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)})
			}
		}
	}
	labels, _, _ := unstructured.NestedStringMap(d.Object, "spec", "template", "metadata", "labels")
	for key, value := range labels {
		if v1alpha1.ReachesNodes(key) {
			n.Labels[key] = value
		}
	}
	taints, _, _ := unstructured.NestedSlice(d.Object, "spec", "template", "spec", "taints")
	n.Spec.Taints = append(n.Spec.Taints, contract.Taints(taints)...)
	return n, errors.Join(problems...)
}

// learn fills in what nodes that are there say of new ones: how much a node of the pool holds, and which processor all have.
func learn(p *Pool, nodes []corev1.Node) {
	p.Like.Labels = maps.Clone(p.Like.Labels)
	for _, node := range nodes {
		if slices.Contains(p.Nodes, node.Name) && !readySince(&node).IsZero() {
			p.Like.Status.Allocatable = node.Status.Allocatable
		}
		if p.Like.Labels[corev1.LabelArchStable] == "" || slices.Contains(p.Nodes, node.Name) {
			p.Like.Labels[corev1.LabelArchStable] = node.Labels[corev1.LabelArchStable]
		}
	}
}
