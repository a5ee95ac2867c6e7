package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/version"
)

// Cluster API moves the control plane first and then one pool after the other. A pool with deferUpgrade waits.
const (
	deferUpgrade = "topology.cluster.x-k8s.io/defer-upgrade"
	poolLabel    = "topology.cluster.x-k8s.io/deployment-name"
)

// ascent is what somebody wants of an upgrade.
type ascent struct {
	// version is a Kubernetes such as 1.36; empty for the newest that is a step away.
	version string
	scope   scope
	// pool is the one that is upgraded, where scope is onePool.
	pool string
}

// scope is which parts of a cluster are upgraded.
type scope string

const (
	everything scope = ""
	planeOnly  scope = "control plane"
	onePool    scope = "pool"
)

// pool is machines of a cluster, and which Kubernetes they are to be.
type pool struct {
	name, version string
	machines      int64
}

// ground is what an ascent begins from.
type ground struct {
	cluster *unstructured.Unstructured
	class   *unstructured.Unstructured
	// pools in the order in which they are upgraded.
	pools []pool
}

// climb is what an upgrade comes to.
type climb struct {
	from, to string
	// pools that are upgraded, and those that stay where they are.
	pools, stay []pool
	// scoped are the names of all pools that are to be at the version in the end, also of those that are told to be already.
	scoped []string
	// planes are the members of its control plane.
	planes int64
}

// planUpgrade says what an upgrade would do, or why it cannot be.
func planUpgrade(a ascent, g ground) (climb, error) {
	c := climb{from: text(g.cluster, "spec", "topology", "version"), planes: max(1, number(g.cluster, "spec", "topology", "controlPlane", "replicas"))}
	if c.from == "" {
		return c, errors.New("it is of no class (spec.topology): what it is made of has the version, and whoever wrote that can change it")
	}
	var err error
	if c.to, err = chooseTarget(a, c.from, g.class); err != nil {
		return c, err
	}
	for _, p := range g.pools {
		within := a.scope == everything || a.scope == onePool && p.name == a.pool
		if within {
			c.scoped = append(c.scoped, p.name)
		}
		if p.version != c.to && within {
			c.pools = append(c.pools, p)
		} else if p.version != c.to {
			c.stay = append(c.stay, p)
		}
	}
	if a.scope == onePool && !slices.ContainsFunc(g.pools, func(p pool) bool { return p.name == a.pool }) {
		return c, fmt.Errorf("it has no pool %q: `umbel cluster describe` shows those that it has", a.pool)
	}
	return c, errors.Join(checkServes(a, c, g), checkSkew(c, g))
}

// chooseTarget returns the version that an upgrade is to.
func chooseTarget(a ascent, from string, class *unstructured.Unstructured) (string, error) {
	now, err := version.ParseGeneric(from)
	if err != nil {
		return "", fmt.Errorf("its version is %q, which is none of Kubernetes: %w", from, err)
	}
	wanted := a.version
	if a.version == "" && a.scope == onePool {
		return from, nil // to where the control plane is
	}
	if a.version == "" {
		wanted = nearest(now, class)
	}
	to, err := chooseVersion(wish{version: cmp.Or(wanted, from), class: class.GetName()}, class)
	if err != nil {
		return "", err
	}
	next, err := version.ParseGeneric(to)
	switch {
	case err != nil:
		return "", fmt.Errorf("version %q is none of Kubernetes: %w", to, err)
	case next.LessThan(now):
		return "", fmt.Errorf("it has %s, and %s is older: Kubernetes does not go back, since an older one may not know what a newer one wrote", from, to)
	case next.Minor() > now.Minor()+1 || next.Major() != now.Major():
		return "", fmt.Errorf("it has %s, and %s is more than one minor away, which Kubernetes' own components do not bear: --version %d.%d is the next step", from, to, now.Major(), now.Minor()+1)
	}
	return to, nil
}

// nearest returns the newest version of a class that is at most one minor away, empty when there is none.
func nearest(now *version.Version, class *unstructured.Unstructured) string {
	has, _, _ := unstructured.NestedStringSlice(class.Object, "spec", "kubernetesVersions") // from the older to the newer
	for _, one := range slices.Backward(has) {
		if v, err := version.ParseGeneric(one); err == nil && v.Major() == now.Major() && v.Minor() <= now.Minor()+1 && v.AtLeast(now) {
			return strings.TrimPrefix(one, "v")
		}
	}
	return ""
}

// checkServes refuses what would have a kubelet be newer than its API server.
func checkServes(a ascent, c climb, g ground) error {
	if a.scope == onePool && c.from != c.to {
		return fmt.Errorf("pool %s cannot have %s while the control plane is to have %s: a kubelet is never newer than its API server; upgrade that first, with --control-plane-only --version %s",
			a.pool, c.to, c.from, strings.TrimPrefix(c.to, "v"))
	}
	if served := serves(g.cluster); c.from != c.to && len(served) > 0 && !slices.Equal(served, []string{c.from}) {
		return fmt.Errorf("its control plane is on the way from %s to %s: wait for that to end, `umbel cluster describe %s` shows how far it is", strings.Join(served, " and "), c.from, g.cluster.GetName())
	}
	return nil
}

// checkSkew refuses a step of the control plane before the pools are where it is: Cluster API does, and so no kubelet is ever more
// than one minor older than its API server; three is what Kubernetes bears.
func checkSkew(c climb, g ground) error {
	if c.from == c.to {
		return nil
	}
	var problems []error
	for _, p := range g.pools {
		if p.version != c.from {
			problems = append(problems, fmt.Errorf("pool %s is at %s still, and the control plane moves on when all pools are at %s: `umbel cluster upgrade %s --pool %s` first",
				p.name, p.version, c.from, g.cluster.GetName(), p.name))
		}
	}
	return errors.Join(problems...)
}

// serves returns which versions the members of a cluster's control plane serve.
func serves(cluster *unstructured.Unstructured) []string {
	all, _, _ := unstructured.NestedSlice(cluster.Object, "status", "controlPlane", "versions")
	var versions []string
	for _, one := range all {
		entry, _ := one.(map[string]any)
		if v, _ := entry["version"].(string); v != "" {
			versions = append(versions, v)
		}
	}
	return versions
}

// idle says whether there is nothing to change. The cluster may be on its way still.
func (c climb) idle() bool { return c.from == c.to && len(c.pools) == 0 }

// order returns the Cluster as the upgrade wants it.
func (c climb) order(cluster *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	ordered := cluster.DeepCopy()
	if err := unstructured.SetNestedField(ordered.Object, c.to, "spec", "topology", "version"); err != nil {
		return nil, err
	}
	all, found, err := unstructured.NestedSlice(ordered.Object, "spec", "topology", "workers", "machineDeployments")
	if err != nil || !found {
		return ordered, err
	}
	for _, one := range all {
		machines, _ := one.(map[string]any)
		stays := slices.ContainsFunc(c.stay, func(p pool) bool { return p.name == machines["name"] })
		if !stays {
			unstructured.RemoveNestedField(machines, "metadata", "annotations", deferUpgrade)
			continue
		}
		if err := unstructured.SetNestedField(machines, "", "metadata", "annotations", deferUpgrade); err != nil {
			return nil, err
		}
	}
	return ordered, unstructured.SetNestedSlice(ordered.Object, all, "spec", "topology", "workers", "machineDeployments")
}

// lines say what an upgrade does, part by part.
func (c climb) lines() []string {
	plane := "control plane: stays at " + c.to
	if c.from != c.to {
		plane = fmt.Sprintf("control plane: %s → %s, in place: the API is away for some seconds, pods and Services are not", c.from, c.to)
	}
	lines := []string{plane}
	for _, p := range c.pools {
		lines = append(lines, fmt.Sprintf("pool %s: %s → %s, machines: %d, one by one: a new one comes, and an old one is drained as PodDisruptionBudgets allow", p.name, p.version, c.to, p.machines))
	}
	for _, p := range c.stay {
		lines = append(lines, fmt.Sprintf("pool %s: stays at %s", p.name, p.version))
	}
	return lines
}

// deprecated is an API that somebody asked a cluster's API server for since it started, and that will not be served for ever.
type deprecated struct {
	group, version, resource string
	// removed is the Kubernetes without it, such as 1.40; empty where that is not known.
	removed string
}

func (d deprecated) String() string {
	name := d.version + " " + d.resource
	if d.group != "" {
		name = d.group + "/" + name
	}
	if d.removed == "" {
		return name + ", which is deprecated"
	}
	return name + ", which Kubernetes " + d.removed + " does not serve any more"
}

// gone says whether a version of Kubernetes does not serve it.
func (d deprecated) gone(in string) bool {
	removed, err := version.ParseGeneric(d.removed)
	if err != nil {
		return false
	}
	target, err := version.ParseGeneric(in)
	return err == nil && !target.LessThan(removed)
}

var label = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)

// deprecatedIn finds them in the metrics of an API server.
func deprecatedIn(metrics string) []deprecated {
	var all []deprecated
	for line := range strings.Lines(metrics) {
		labels, ok := strings.CutPrefix(line, "apiserver_requested_deprecated_apis{")
		if !ok || strings.HasSuffix(strings.TrimSpace(line), " 0") {
			continue
		}
		of := map[string]string{}
		for _, pair := range label.FindAllStringSubmatch(labels, -1) {
			of[pair[1]] = pair[2]
		}
		all = append(all, deprecated{group: of["group"], version: of["version"], resource: of["resource"], removed: of["removed_release"]})
	}
	slices.SortFunc(all, func(a, b deprecated) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}

// barred says why nothing is upgraded for the sake of the deprecated APIs that one API server knows of. Others may have been asked
// for more: each counts for itself, and the hub reaches one. Within a minor nothing is taken away.
func (c climb) barred(inUse []deprecated) error {
	var gone []string
	for _, d := range inUse {
		if d.gone(c.to) {
			gone = append(gone, d.String())
		}
	}
	if len(gone) > 0 {
		return fmt.Errorf("in use are %s; move their users to what takes their place, or say --despite-removed-apis", strings.Join(gone, "; and "))
	}
	from, err := version.ParseGeneric(c.from)
	to, errTo := version.ParseGeneric(c.to)
	if err == nil && errTo == nil && from.Minor() == to.Minor() || c.planes == 1 {
		return nil
	}
	return fmt.Errorf("which deprecated APIs are in use is known of one of its %d API servers only, each of which counts for itself; look at the metric apiserver_requested_deprecated_apis of the others, and say --despite-removed-apis",
		c.planes)
}
