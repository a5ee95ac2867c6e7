package cluster

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
)

// machinePool is some machines of a cluster that are alike.
type machinePool struct {
	Name     string            `json:"name"`
	Class    string            `json:"class"`
	Replicas int64             `json:"replicas"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// maxPoolName is how long the name of a pool may be: machines are called after it.
const maxPoolName = 30

var poolForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// parsePool reads NAME=NUMBER, and labels after it: NAME=NUMBER,KEY=VALUE,...
func parsePool(text string) (machinePool, error) {
	parts := strings.Split(text, ",")
	name, number, _ := strings.Cut(parts[0], "=")
	replicas, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		return machinePool{}, fmt.Errorf("pool %q: it is NAME=NUMBER, and labels of its nodes after that: gpu=2,node.cluster.x-k8s.io/tier=gpu", text)
	}
	p := machinePool{Name: name, Replicas: replicas}
	for _, label := range parts[1:] {
		key, value, is := strings.Cut(label, "=")
		if !is {
			return machinePool{}, fmt.Errorf("pool %q: label %q is no KEY=VALUE", text, label)
		}
		if p.Labels == nil {
			p.Labels = map[string]string{}
		}
		p.Labels[key] = value
	}
	return p, nil
}

// check says what is wrong with a pool, all of it.
func (p machinePool) check() error {
	var problems []error
	if !poolForm.MatchString(p.Name) || len(p.Name) > maxPoolName {
		problems = append(problems, fmt.Errorf("pool %q: lower case letters, digits and '-', at most %d characters, with a letter or digit at both ends", p.Name, maxPoolName))
	}
	if p.Replicas < 0 {
		problems = append(problems, fmt.Errorf("pool %q has %d machines: 0 or more", p.Name, p.Replicas))
	}
	for _, key := range slices.Sorted(maps.Keys(p.Labels)) {
		for _, wrong := range append(validation.IsQualifiedName(key), validation.IsValidLabelValue(p.Labels[key])...) {
			problems = append(problems, fmt.Errorf("pool %q: label %s=%s: %s", p.Name, key, p.Labels[key], wrong))
		}
		if !reachesNodes(key) {
			problems = append(problems, fmt.Errorf("pool %q: label %s stays on the machine: Cluster API gives a node those of node.cluster.x-k8s.io, node-restriction.kubernetes.io and node-role.kubernetes.io: "+
				"take node.cluster.x-k8s.io/%s", p.Name, key, key[strings.LastIndex(key, "/")+1:]))
		}
	}
	return errors.Join(problems...)
}

// reachesNodes says whether Cluster API keeps a label of a machine on its node too.
func reachesNodes(key string) bool {
	domain, _, _ := strings.Cut(key, "/")
	if domain == "node-role.kubernetes.io" {
		return strings.Contains(key, "/")
	}
	for _, whole := range []string{"node.cluster.x-k8s.io", "node-restriction.kubernetes.io"} {
		if strings.Contains(key, "/") && (domain == whole || strings.HasSuffix(domain, "."+whole)) {
			return true
		}
	}
	return false
}

// object returns the pool as a Cluster has it.
func (p machinePool) object() map[string]any {
	o := map[string]any{"class": p.Class, "name": p.Name, "replicas": p.Replicas}
	if len(p.Labels) > 0 {
		labels := map[string]any{}
		for k, v := range p.Labels {
			labels[k] = v
		}
		o["metadata"] = map[string]any{"labels": labels}
	}
	return o
}

// poolsOf returns the pools of a cluster, in their order there.
func poolsOf(cluster *unstructured.Unstructured) []machinePool {
	all, _, _ := unstructured.NestedSlice(cluster.Object, "spec", "topology", "workers", "machineDeployments")
	pools := []machinePool{}
	for _, one := range all {
		o, _ := one.(map[string]any)
		var p machinePool
		p.Name, _ = o["name"].(string)
		p.Class, _ = o["class"].(string)
		p.Replicas, _ = o["replicas"].(int64)
		p.Labels, _, _ = unstructured.NestedStringMap(o, "metadata", "labels")
		pools = append(pools, p)
	}
	return pools
}

// addition is the change of a Cluster that gives it one more pool, as a JSON patch. Other pools may have come meanwhile: the version
// of what was read is tested.
func addition(cluster *unstructured.Unstructured, p machinePool) ([]any, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if _, found, _ := unstructured.NestedMap(cluster.Object, "spec", "topology"); !found {
		return nil, fmt.Errorf("cluster %q was made without a class: it has no pools", cluster.GetName())
	}
	there := poolsOf(cluster)
	if slices.ContainsFunc(there, func(other machinePool) bool { return other.Name == p.Name }) {
		return nil, fmt.Errorf("cluster %q has a pool %q already: `umbel cluster pool scale` changes it", cluster.GetName(), p.Name)
	}
	const at = "/spec/topology/workers"
	patch := []any{unchanged(cluster)}
	_, workers, _ := unstructured.NestedMap(cluster.Object, "spec", "topology", "workers")
	switch {
	case !workers:
		return append(patch, operation("add", at, map[string]any{"machineDeployments": []any{p.object()}})), nil
	case len(there) == 0:
		return append(patch, operation("add", at+"/machineDeployments", []any{p.object()})), nil
	}
	return append(patch, operation("add", at+"/machineDeployments/-", p.object())), nil
}

// removal is the change of a Cluster that takes the pool at a place from it.
func removal(cluster *unstructured.Unstructured, i int) []any {
	return []any{unchanged(cluster), map[string]any{"op": "remove", "path": fmt.Sprintf("/spec/topology/workers/machineDeployments/%d", i)}}
}

// unchanged tests that an object is as it was read.
func unchanged(o *unstructured.Unstructured) any {
	return operation("test", "/metadata/resourceVersion", o.GetResourceVersion())
}

func operation(op, path string, value any) any {
	return map[string]any{"op": op, "path": path, "value": value}
}
