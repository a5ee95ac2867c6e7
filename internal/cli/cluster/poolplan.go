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

	"umbel.dev/umbel/api/v1alpha1"
)

// machinePool is some machines of a cluster that are alike.
type machinePool struct {
	Name     string `json:"name"`
	Class    string `json:"class"`
	Replicas int64  `json:"replicas"`
	// Zone is what can fail on its own in which its machines are, as the infrastructure calls it; empty for that of the class, if it has one.
	Zone   string            `json:"zone,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	Taints []poolTaint       `json:"taints,omitempty"`
	// Follows is set where the number of machines follows the pods. Replicas means nothing then.
	Follows *bounds `json:"follows,omitempty"`
}

// bounds are how few and how many machines a pool may have, as its pods need, and for how long one is not needed before it goes; empty
// for the ten minutes that are usual.
type bounds struct {
	Min  int64  `json:"min"`
	Max  int64  `json:"max"`
	Idle string `json:"idle,omitempty"`
}

// idleAnnotation is cluster-autoscaler's.
const idleAnnotation = "cluster.x-k8s.io/autoscaling-options-scaledownunneededtime"

// check says what is wrong with bounds.
func (b bounds) check() error {
	if b.Min < 0 || b.Max < max(1, b.Min) {
		return fmt.Errorf("--min %d --max %d: the first is 0 or more, and the second as many at least, and 1", b.Min, b.Max)
	}
	return nil
}

// size is how many machines a pool is to have, for people.
func (p machinePool) size() string {
	if p.Follows != nil {
		return fmt.Sprintf("%d-%d", p.Follows.Min, p.Follows.Max)
	}
	return strconv.FormatInt(p.Replicas, 10)
}

// maxPoolName is how long the name of a pool may be: machines are called after it.
const maxPoolName = 30

var poolForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// parsePool reads NAME=NUMBER, and its zone, labels and taints after it: NAME=NUMBER,zone=ZONE,KEY=VALUE,KEY=VALUE:EFFECT,...
func parsePool(text string) (machinePool, error) {
	parts := strings.Split(text, ",")
	name, number, _ := strings.Cut(parts[0], "=")
	replicas, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		return machinePool{}, fmt.Errorf("pool %q: it is NAME=NUMBER, and its zone, labels and taints of its nodes after that: gpu=2,zone=east,node.cluster.x-k8s.io/tier=gpu,gpu=yes:NoSchedule", text)
	}
	p := machinePool{Name: name, Replicas: replicas}
	for _, label := range parts[1:] {
		if strings.Contains(label, ":") { // which no label has
			t, err := parseTaint(label)
			if err != nil {
				return machinePool{}, fmt.Errorf("pool %q: %w", text, err)
			}
			p.Taints = append(p.Taints, t)
			continue
		}
		key, value, is := strings.Cut(label, "=")
		switch {
		case !is:
			return machinePool{}, fmt.Errorf("pool %q: label %q is no KEY=VALUE", text, label)
		case key == "zone": // no label of nodes is called so
			if value == "" || p.Zone != "" {
				return machinePool{}, fmt.Errorf("pool %q: it is in one zone, zone=ZONE", text)
			}
			p.Zone = value
			continue
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
		if !v1alpha1.ReachesNodes(key) {
			problems = append(problems, fmt.Errorf("pool %q: label %s stays on the machine: Cluster API gives a node those of node.cluster.x-k8s.io, node-restriction.kubernetes.io and node-role.kubernetes.io: "+
				"take node.cluster.x-k8s.io/%s", p.Name, key, key[strings.LastIndex(key, "/")+1:]))
		}
	}
	taken := map[string]bool{}
	for _, t := range p.Taints {
		if err := t.check(); err != nil {
			problems = append(problems, fmt.Errorf("pool %q: %w", p.Name, err))
		}
		if taken[t.Key+":"+t.Effect] {
			problems = append(problems, fmt.Errorf("pool %q: taint %s is there twice, by its key and effect", p.Name, t))
		}
		taken[t.Key+":"+t.Effect] = true
	}
	return errors.Join(problems...)
}

// poolTaint is a taint of a pool's nodes, as Cluster API has it: kept there for as long as the pool has it.
type poolTaint struct {
	Key         string `json:"key"`
	Value       string `json:"value,omitempty"`
	Effect      string `json:"effect"`
	Propagation string `json:"propagation"`
}

// String is as kubectl writes it: KEY=VALUE:EFFECT, or KEY:EFFECT.
func (t poolTaint) String() string {
	if t.Value == "" {
		return t.Key + ":" + t.Effect
	}
	return t.Key + "=" + t.Value + ":" + t.Effect
}

// parseTaint reads KEY=VALUE:EFFECT, or KEY:EFFECT.
func parseTaint(text string) (poolTaint, error) {
	what, effect, has := strings.Cut(text, ":")
	if !has {
		return poolTaint{}, fmt.Errorf("taint %q: it is KEY=VALUE:EFFECT, or KEY:EFFECT, such as gpu=yes:NoSchedule", text)
	}
	key, value, _ := strings.Cut(what, "=")
	return poolTaint{Key: key, Value: value, Effect: effect, Propagation: "Always"}, nil
}

// check says what is wrong with a taint, all of it.
func (t poolTaint) check() error {
	var problems []error
	wrong := func(what string) { problems = append(problems, fmt.Errorf("taint %s: %s", t, what)) }
	for _, said := range append(validation.IsQualifiedName(t.Key), validation.IsValidLabelValue(t.Value)...) {
		wrong(said)
	}
	if effects := []string{"NoSchedule", "PreferNoSchedule", "NoExecute"}; !slices.Contains(effects, t.Effect) {
		wrong(fmt.Sprintf("the effect %q is none of %s", t.Effect, strings.Join(effects, ", ")))
	}
	domain, _, _ := strings.Cut(t.Key, "/")
	if slices.Contains([]string{"node.kubernetes.io", "node.cloudprovider.kubernetes.io", "node-role.kubernetes.io"}, domain) {
		wrong("taints of " + domain + " are Kubernetes' own: take another key")
	}
	return errors.Join(problems...)
}

// object returns the pool as a Cluster has it.
func (p machinePool) object() map[string]any {
	o := map[string]any{"class": p.Class, "name": p.Name}
	if len(p.Labels) > 0 {
		labels := map[string]any{}
		for k, v := range p.Labels {
			labels[k] = v
		}
		o["metadata"] = map[string]any{"labels": labels}
	}
	if p.Zone != "" {
		o["failureDomain"] = p.Zone
	}
	p.sized(o)
	var taints []any
	for _, t := range p.Taints {
		taint := map[string]any{"key": t.Key, "effect": t.Effect, "propagation": t.Propagation}
		if t.Value != "" {
			taint["value"] = t.Value
		}
		taints = append(taints, taint)
	}
	if len(taints) > 0 {
		o["taints"] = taints
	}
	return o
}

// sized gives a pool of a Cluster its number of machines. Where that follows the pods the Cluster names none: Cluster API would keep it.
func (p machinePool) sized(o map[string]any) {
	for _, key := range []string{v1alpha1.PoolMinAnnotation, v1alpha1.PoolMaxAnnotation, idleAnnotation} {
		unstructured.RemoveNestedField(o, "metadata", "annotations", key)
	}
	delete(o, "replicas")
	if p.Follows == nil {
		o["replicas"] = p.Replicas
	}
	annotations, _, _ := unstructured.NestedStringMap(o, "metadata", "annotations")
	if p.Follows != nil {
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[v1alpha1.PoolMinAnnotation] = strconv.FormatInt(p.Follows.Min, 10)
		annotations[v1alpha1.PoolMaxAnnotation] = strconv.FormatInt(p.Follows.Max, 10)
		if p.Follows.Idle != "" {
			annotations[idleAnnotation] = p.Follows.Idle
		}
	}
	unstructured.RemoveNestedField(o, "metadata", "annotations")
	if len(annotations) > 0 {
		_ = unstructured.SetNestedStringMap(o, annotations, "metadata", "annotations") // metadata is a map, or not there
	}
	if metadata, _ := o["metadata"].(map[string]any); metadata != nil && len(metadata) == 0 {
		delete(o, "metadata")
	}
}

// followsOf reads between how many machines a pool is, nil for one that has as many as it is told.
func followsOf(annotations map[string]string) *bounds {
	least, errLeast := strconv.ParseInt(annotations[v1alpha1.PoolMinAnnotation], 10, 32)
	most, errMost := strconv.ParseInt(annotations[v1alpha1.PoolMaxAnnotation], 10, 32)
	if errLeast != nil || errMost != nil {
		return nil
	}
	return &bounds{Min: least, Max: most, Idle: annotations[idleAnnotation]}
}

// resized is the change of a Cluster that gives the pool at a place as many machines as p is to have.
func resized(cluster *unstructured.Unstructured, i int, p machinePool) []any {
	all, _, _ := unstructured.NestedSlice(cluster.Object, "spec", "topology", "workers", "machineDeployments")
	o, _ := all[i].(map[string]any) // NestedSlice has made a copy
	p.sized(o)
	return []any{unchanged(cluster), operation("replace", fmt.Sprintf("/spec/topology/workers/machineDeployments/%d", i), o)}
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
		p.Zone, _ = o["failureDomain"].(string)
		p.Labels, _, _ = unstructured.NestedStringMap(o, "metadata", "labels")
		taints, _, _ := unstructured.NestedSlice(o, "taints")
		p.Taints = taintsOf(taints)
		annotations, _, _ := unstructured.NestedStringMap(o, "metadata", "annotations")
		p.Follows = followsOf(annotations)
		pools = append(pools, p)
	}
	return pools
}

// zonesOf returns the zones that a cluster's infrastructure says it has; none where it says nothing.
func zonesOf(cluster *unstructured.Unstructured) []string {
	all, _, _ := unstructured.NestedSlice(cluster.Object, "status", "failureDomains")
	var zones []string
	for _, one := range all {
		zone, _ := one.(map[string]any)
		if name, _ := zone["name"].(string); name != "" {
			zones = append(zones, name)
		}
	}
	slices.Sort(zones)
	return zones
}

// taintsOf reads taints of Cluster API.
func taintsOf(all []any) []poolTaint {
	var taints []poolTaint
	for _, one := range all {
		o, _ := one.(map[string]any)
		var t poolTaint
		t.Key, _ = o["key"].(string)
		t.Value, _ = o["value"].(string)
		t.Effect, _ = o["effect"].(string)
		t.Propagation, _ = o["propagation"].(string)
		taints = append(taints, t)
	}
	return taints
}

// addition is the change of a Cluster that gives it one more pool, as a JSON patch. Other pools may have come meanwhile: the generation
// of what was read is tested.
func addition(cluster *unstructured.Unstructured, p machinePool) ([]any, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if _, found, _ := unstructured.NestedMap(cluster.Object, "spec", "topology"); !found {
		return nil, fmt.Errorf("cluster %q was made without a class: it has no pools", cluster.GetName())
	}
	if zones := zonesOf(cluster); p.Zone != "" && len(zones) > 0 && !slices.Contains(zones, p.Zone) {
		return nil, fmt.Errorf("cluster %q has no zone %q that is ready for machines: it has %s", cluster.GetName(), p.Zone, strings.Join(zones, ", "))
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

// unchanged tests that what is wanted of an object is as it was read. How it is may change all the time.
func unchanged(o *unstructured.Unstructured) any {
	return operation("test", "/metadata/generation", o.GetGeneration())
}

func operation(op, path string, value any) any {
	return map[string]any{"op": op, "path": path, "value": value}
}
