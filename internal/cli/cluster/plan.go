package cluster

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/ascent"
	"umbel.dev/umbel/internal/lifecycle/local/balancer"
)

// wish is what somebody wants of a new cluster.
type wish struct {
	namespace, name string
	// class is the name of a ClusterClass, version a Kubernetes such as 1.36 (empty: the newest).
	class, version string
	workers        int
	// zone is where those machines are, empty for what the class says.
	zone string
	// planes is how many members the control plane has.
	planes int
	// pools are more machines than those.
	pools  []machinePool
	labels map[string]string
	// pods and services are ranges of addresses; empty ones are chosen.
	pods, services string
	// balancer is the range of addresses of Services of type LoadBalancer, empty for none.
	balancer string
	// protect keeps it from being deleted.
	protect bool
	// restore is the snapshot that it begins with, as a request to its control plane; empty for none.
	restore string
}

// beginningWith returns the wish for a cluster that begins with a snapshot: its Services have the addresses that they have there, and it
// has the same Kubernetes unless another is asked for.
func (w wish) beginningWith(from origin, now time.Time) wish {
	w.restore, w.services = from.request(now), from.snapshot.Services
	w.version = cmp.Or(w.version, from.snapshot.Version)
	return w
}

// seen is what there is on the hub when a cluster is wished for.
type seen struct {
	// classes are the ClusterClasses in the hub's namespace and in that of the wish.
	classes []unstructured.Unstructured
	// clusters are all Clusters.
	clusters []unstructured.Unstructured
	// places are the HostedClusters: clusters on the hub's machine, and their addresses.
	places []unstructured.Unstructured
	// member is what the fleet has under the name, nil for nothing.
	member *v1alpha1.MemberCluster
	// hub is what members dial, as HOST:PORT; empty when that is not known.
	hub string
}

// order is what a wish comes to.
type order struct {
	wish
	classNamespace string
	// workerClass is that of the machines.
	workerClass string
}

const (
	// poolName is that of a cluster's first machines.
	poolName = "workers"
	// maxLocalName is how long the name of a cluster on the hub's machine may be: links and namespaces are called so.
	maxLocalName = 40
)

// preflight says what is in the way of a wish, all of it, and otherwise what to order.
func preflight(w wish, s seen) (order, error) {
	o := order{wish: w}
	problems := []error{checkName(w, s), checkPlanes(w), checkRanges(w, s), checkHub(w, s), checkPools(w)}
	class, err := chooseClass(w, s.classes)
	if err != nil {
		return o, errors.Join(append(problems, err)...)
	}
	o.classNamespace = class.GetNamespace()
	o.version, err = ascent.Version(w.version, class)
	problems = append(problems, err)
	problems = append(problems, checkBalancer(w, s, class))
	o.workerClass, err = chooseWorkers(w, class)
	return o, errors.Join(append(problems, err)...)
}

func checkName(w wish, s seen) error {
	switch {
	case !v1alpha1.ValidClusterName(v1alpha1.ClusterName(w.name)):
		return fmt.Errorf("name %q: lower case letters, digits and '-', at most 63 characters, with a letter or digit at both ends", w.name)
	case w.class == v1alpha1.LocalProvider && len(w.name) > maxLocalName:
		return fmt.Errorf("name %q: of a cluster on the hub's machine it has at most %d characters", w.name, maxLocalName)
	}
	for _, other := range s.clusters {
		if other.GetName() == w.name {
			return fmt.Errorf("the name %q is taken by the Cluster of that name in namespace %s: `umbel cluster describe %s -n %s` shows it; take another name",
				w.name, other.GetNamespace(), w.name, other.GetNamespace())
		}
	}
	if s.member != nil {
		return fmt.Errorf("the name %q is taken by a cluster that is attached to the fleet: take another name, or `umbel leave %s` first", w.name, w.name)
	}
	return nil
}

// checkPlanes refuses a control plane of which no more can be lost than of a smaller one.
func checkPlanes(w wish) error {
	switch {
	case w.class == v1alpha1.LocalProvider && w.planes != 1 && w.planes != 3:
		return fmt.Errorf("control plane of %d members: on the hub's machine it has 1, or 3, of which one may be lost", w.planes)
	case w.planes < 1 || w.planes%2 == 0:
		return fmt.Errorf("control plane of %d members: an odd number, since of one more no more may be lost", w.planes)
	}
	return nil
}

// checkHub refuses a cluster whose agent could not come: a machine's loopback is its own.
func checkHub(w wish, s seen) error {
	at, err := netip.ParseAddrPort(s.hub)
	loopback := err == nil && at.Addr().IsLoopback() || strings.HasPrefix(s.hub, "localhost:")
	if loopback && w.class == v1alpha1.LocalProvider {
		return fmt.Errorf("members dial this hub at %s, which machines of a cluster cannot reach: `umbel up` starts one that they can", s.hub)
	}
	return nil
}

func chooseClass(w wish, classes []unstructured.Unstructured) (*unstructured.Unstructured, error) {
	var names []string
	var chosen *unstructured.Unstructured
	for i, c := range classes {
		names = append(names, c.GetName())
		if c.GetName() == w.class && (chosen == nil || c.GetNamespace() == w.namespace) {
			chosen = &classes[i]
		}
	}
	slices.Sort(names)
	switch {
	case chosen != nil:
		return chosen, nil
	case w.class == v1alpha1.LocalProvider:
		return nil, fmt.Errorf("class %q is not there: `umbel provider add %s` brings it, and takes some seconds; `umbel provider list -o wide` says what is in its way", w.class, v1alpha1.LocalProvider)
	case len(names) == 0:
		return nil, fmt.Errorf("class %q is not there, and no other ClusterClass in the namespaces %s and %s", w.class, w.namespace, v1alpha1.SystemNamespace)
	}
	return nil, fmt.Errorf("class %q is not there: there are %s", w.class, strings.Join(slices.Compact(names), ", "))
}

// chooseWorkers returns the class of a cluster's machines: the first one.
func chooseWorkers(w wish, class *unstructured.Unstructured) (string, error) {
	pools, _, _ := unstructured.NestedSlice(class.Object, "spec", "workers", "machineDeployments")
	if w.workers < 0 {
		return "", fmt.Errorf("workers is %d: 0 or more", w.workers)
	}
	if len(pools) == 0 {
		if w.machines() > 0 || len(w.pools) > 0 {
			return "", fmt.Errorf("class %q has no machines: make the cluster with --workers 0", w.class)
		}
		return "", nil
	}
	pool, _ := pools[0].(map[string]any)
	name, _ := pool["class"].(string)
	return name, nil
}

// machines is how many a wish has in all.
func (w wish) machines() int64 {
	n := int64(w.workers)
	for _, p := range w.pools {
		n += p.Replicas
	}
	return n
}

func checkPools(w wish) error {
	var problems []error
	inZone := w.zone != "" || slices.ContainsFunc(w.pools, func(p machinePool) bool { return p.Zone != "" })
	if inZone && w.class == v1alpha1.LocalProvider {
		problems = append(problems, fmt.Errorf("class %q has no zones: all its machines are on the hub's", w.class))
	}
	taken := map[string]bool{poolName: true} // that of --workers
	for _, p := range w.pools {
		problems = append(problems, p.check())
		if taken[p.Name] {
			problems = append(problems, fmt.Errorf("pool %q is there twice: %s is the one of --workers", p.Name, poolName))
		}
		taken[p.Name] = true
	}
	return errors.Join(problems...)
}

// checkRanges refuses addresses that another cluster has.
func checkRanges(w wish, s seen) error {
	var problems []error
	taken := rangesOf(s)
	for _, own := range []struct{ what, text string }{{"pods", w.pods}, {"services", w.services}} {
		if own.text == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(own.text)
		if err != nil || prefix != prefix.Masked() {
			problems = append(problems, fmt.Errorf("--%s %q is no network: write its first address and its size, such as 10.64.0.0/16", own.what, own.text))
			continue
		}
		for _, other := range taken {
			if w.restore != "" && own.what == "services" && other.services {
				continue // they are seen inside of a cluster only, and are what they are in the snapshot
			}
			if other.prefix.Overlaps(prefix) {
				problems = append(problems, fmt.Errorf("--%s %s overlaps %s, which is %s: take another", own.what, prefix, other.prefix, other.of))
				break
			}
		}
		taken = append(taken, occupied{prefix, "asked for as the " + own.what + " of this cluster", false})
	}
	return errors.Join(problems...)
}

// balancerVariable is that of a ClusterClass whose clusters can have a load balancer.
const balancerVariable = "loadBalancer"

// checkBalancer refuses addresses of Services of type LoadBalancer that another cluster has, or that the class would not know of.
func checkBalancer(w wish, s seen, class *unstructured.Unstructured) error {
	if w.balancer == "" {
		return nil
	}
	variables, _, _ := unstructured.NestedSlice(class.Object, "spec", "variables")
	if !slices.ContainsFunc(variables, func(v any) bool {
		variable, _ := v.(map[string]any)
		return variable["name"] == balancerVariable
	}) {
		return fmt.Errorf("--load-balancer-pool: class %q has no variable %s, so its clusters have what load balancer their provider brings", w.class, balancerVariable)
	}
	pool, err := netip.ParsePrefix(w.balancer)
	if err == nil {
		err = balancer.Validate(pool)
	}
	if err != nil {
		return fmt.Errorf("--load-balancer-pool %q: %w", w.balancer, err)
	}
	for _, p := range s.places {
		taken, err := netip.ParsePrefix(text(&p, "status", "loadBalancer"))
		if err == nil && taken.Overlaps(pool) {
			return fmt.Errorf("--load-balancer-pool %s overlaps %s, which is the load balancer's of cluster %s: take another", pool, taken,
				cmp.Or(p.GetLabels()["cluster.x-k8s.io/cluster-name"], p.GetName()))
		}
	}
	return nil
}

// occupied is a range that somebody has.
type occupied struct {
	prefix netip.Prefix
	of     string
	// services says that it is one of Services.
	services bool
}

// rangesOf returns the addresses of the clusters that there are, and what else is taken on the hub's machine.
func rangesOf(s seen) []occupied {
	var all []occupied
	add := func(text, what, of string) {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			all = append(all, occupied{prefix, fmt.Sprintf("the %s of cluster %s", what, of), what == "services"})
		}
	}
	for _, class := range s.classes {
		var taken []infra.TakenRange
		// What a class says that nobody can read, another umbel wrote: the provider refuses what is taken in any case.
		_ = json.Unmarshal([]byte(class.GetAnnotations()[infra.TakenAnnotation]), &taken)
		for _, one := range taken {
			if prefix, err := netip.ParsePrefix(one.Range); err == nil {
				all = append(all, occupied{prefix, one.Of, one.Services})
			}
		}
	}
	for _, c := range s.clusters {
		for _, what := range []string{"pods", "services"} {
			blocks, _, _ := unstructured.NestedStringSlice(c.Object, "spec", "clusterNetwork", what, "cidrBlocks")
			for _, block := range blocks {
				add(block, what, c.GetName())
			}
		}
	}
	for _, p := range s.places {
		name := cmp.Or(p.GetLabels()["cluster.x-k8s.io/cluster-name"], p.GetName())
		for _, what := range []string{"pods", "services"} {
			add(text(&p, "status", what), what, name)
		}
	}
	return all
}

// allPools are those that are ordered, with the first one; none where the class has no machines.
func (o order) allPools() []machinePool {
	if o.workerClass == "" {
		return nil
	}
	all := []machinePool{{Name: poolName, Class: o.workerClass, Replicas: int64(o.workers), Zone: o.zone}}
	for _, p := range o.pools {
		p.Class = o.workerClass
		all = append(all, p)
	}
	return all
}

// growth is the cluster that is ordered, for its infrastructure.
func (o order) growth(classes []unstructured.Unstructured) growth {
	class, err := chooseClass(o.wish, classes)
	if err != nil {
		class = &unstructured.Unstructured{} // preflight has refused it
	}
	return growth{cluster: o.object(), class: class, pools: o.allPools(), planes: int64(o.planes), fresh: true}
}

// object returns the Cluster that is ordered.
func (o order) object() *unstructured.Unstructured {
	labels := map[string]any{}
	for k, v := range o.labels {
		labels[k] = v
	}
	topology := map[string]any{
		"classRef": map[string]any{"name": o.class, "namespace": o.classNamespace},
		"version":  o.version,
	}
	plane := map[string]any{}
	if o.planes > 1 {
		plane["replicas"] = int64(o.planes)
	}
	if o.restore != "" {
		plane["metadata"] = map[string]any{"annotations": map[string]any{infra.RestoreAnnotation: o.restore}}
	}
	if len(plane) > 0 {
		topology["controlPlane"] = plane
	}
	if o.balancer != "" {
		topology["variables"] = []any{map[string]any{"name": balancerVariable, "value": o.balancer}}
	}
	if pools := o.allPools(); len(pools) > 0 {
		var all []any
		for _, p := range pools {
			all = append(all, p.object())
		}
		topology["workers"] = map[string]any{"machineDeployments": all}
	}
	spec := map[string]any{"topology": topology}
	network := map[string]any{}
	for what, block := range map[string]string{"pods": o.pods, "services": o.services} {
		if block != "" {
			network[what] = map[string]any{"cidrBlocks": []any{block}}
		}
	}
	if len(network) > 0 {
		spec["clusterNetwork"] = network
	}
	annotations := map[string]any{v1alpha1.JoinAnnotation: "true"}
	if o.protect {
		annotations[v1alpha1.ProtectedAnnotation] = "true"
	}
	metadata := map[string]any{"name": o.name, "namespace": o.namespace, "annotations": annotations}
	if len(labels) > 0 {
		metadata["labels"] = labels
	}
	cluster := &unstructured.Unstructured{Object: map[string]any{"metadata": metadata, "spec": spec}}
	cluster.SetGroupVersionKind(kind("Cluster"))
	return cluster
}

// pools returns the names of a cluster's pools of machines, and how many each has.
func pools(cluster *unstructured.Unstructured) (names []string, replicas map[string]int64) {
	replicas = map[string]int64{}
	all, _, _ := unstructured.NestedSlice(cluster.Object, "spec", "topology", "workers", "machineDeployments")
	for _, one := range all {
		pool, _ := one.(map[string]any)
		name, _ := pool["name"].(string)
		n, _ := pool["replicas"].(int64)
		names, replicas[name] = append(names, name), n
	}
	return names, replicas
}

// choosePool returns the place of a pool among those of a cluster. No name means the only one.
func choosePool(cluster *unstructured.Unstructured, name string) (int, error) {
	names, _ := pools(cluster)
	i := slices.Index(names, name)
	switch {
	case len(names) == 0:
		return 0, fmt.Errorf("cluster %q has no machines of its own: it was made without, or without a class", cluster.GetName())
	case name == "" && len(names) == 1:
		return 0, nil
	case name == "":
		return 0, fmt.Errorf("cluster %q has the pools %s: say which one with --pool", cluster.GetName(), strings.Join(names, ", "))
	case i < 0:
		return 0, fmt.Errorf("cluster %q has no pool %q: it has %s", cluster.GetName(), name, strings.Join(names, ", "))
	}
	return i, nil
}
