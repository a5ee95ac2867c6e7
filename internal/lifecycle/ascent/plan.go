package ascent

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

const (
	// deferUpgrade on a pool has it wait: otherwise Cluster API moves the control plane first, and then one pool after the other.
	deferUpgrade = "topology.cluster.x-k8s.io/defer-upgrade"
	// PoolLabel on a machine, and on what keeps machines, is the name of their pool.
	PoolLabel = "topology.cluster.x-k8s.io/deployment-name"
)

// Wish is what somebody wants of an upgrade.
type Wish struct {
	// Version is a Kubernetes such as 1.36; empty for the newest that is a step away.
	Version string
	Scope   Scope
	// Pool is the one that is upgraded, where Scope is OnePool.
	Pool string
}

// Scope is which parts of a cluster are upgraded.
type Scope string

const (
	// Everything is the control plane, and then all pools of machines.
	Everything Scope = ""
	// PlaneOnly is the control plane.
	PlaneOnly Scope = "control plane"
	// OnePool is a pool of machines.
	OnePool Scope = "pool"
)

// Pool is machines of a cluster, and which Kubernetes they are to be.
type Pool struct {
	Name, Version string
	Machines      int64
}

// Ground is what an upgrade begins from.
type Ground struct {
	Cluster *unstructured.Unstructured
	// Class is the ClusterClass of the Cluster; nil when it has none.
	Class *unstructured.Unstructured
	// Pools in the order in which they are upgraded. One whose MachineDeployment is to be made yet is not among them: it will be of
	// the version that the control plane has.
	Pools []Pool
}

// Climb is what an upgrade comes to.
type Climb struct {
	From, To string
	// Pools that are upgraded, and those that Stay where they are.
	Pools, Stay []Pool
	// Scoped are the names of all pools that are to be at the version in the end, also of those that are told to be already.
	Scoped []string
	// Planes are the members of its control plane.
	Planes int64
}

// Plan says what an upgrade would do, or why it cannot be.
func Plan(w Wish, g Ground) (Climb, error) {
	c := Climb{From: text(g.Cluster, "spec", "topology", "version"), Planes: max(1, number(g.Cluster, "spec", "topology", "controlPlane", "replicas"))}
	if c.From == "" {
		return c, errors.New("it is of no class (spec.topology): what it is made of has the version, and whoever wrote that can change it")
	}
	var err error
	if c.To, err = chooseTarget(w, c.From, g.Class); err != nil {
		return c, err
	}
	for _, p := range g.Pools {
		within := w.Scope == Everything || w.Scope == OnePool && p.Name == w.Pool
		if within {
			c.Scoped = append(c.Scoped, p.Name)
		}
		if p.Version != c.To && within {
			c.Pools = append(c.Pools, p)
		} else if p.Version != c.To {
			c.Stay = append(c.Stay, p)
		}
	}
	if w.Scope == OnePool && !slices.ContainsFunc(g.Pools, func(p Pool) bool { return p.Name == w.Pool }) {
		return c, fmt.Errorf("it has no pool %q: `umbel cluster describe` shows those that it has", w.Pool)
	}
	return c, errors.Join(checkServes(w, c, g), checkSkew(c, g))
}

// chooseTarget returns the version that an upgrade is to.
func chooseTarget(w Wish, from string, class *unstructured.Unstructured) (string, error) {
	now, err := version.ParseGeneric(from)
	if err != nil {
		return "", fmt.Errorf("its version is %q, which is none of Kubernetes: %w", from, err)
	}
	wanted := w.Version
	if w.Version == "" && w.Scope == OnePool {
		return from, nil // to where the control plane is
	}
	if w.Version == "" {
		wanted = nearest(now, class)
	}
	to, err := Version(cmp.Or(wanted, from), class)
	if err != nil {
		return "", err
	}
	return to, checkStep(now, from, to)
}

// checkStep refuses a way back, and more than one minor at a time.
func checkStep(now *version.Version, from, to string) error {
	next, err := version.ParseGeneric(to)
	switch {
	case err != nil:
		return fmt.Errorf("version %q is none of Kubernetes: %w", to, err)
	case next.LessThan(now):
		return fmt.Errorf("it has %s, and %s is older: Kubernetes does not go back, since an older one may not know what a newer one wrote", from, to)
	case next.Minor() > now.Minor()+1 || next.Major() != now.Major():
		return fmt.Errorf("it has %s, and %s is more than one minor away, which Kubernetes' own components do not bear: --version %d.%d is the next step", from, to, now.Major(), now.Minor()+1)
	}
	return nil
}

// nearest returns the newest version of a class that is at most one minor away, empty when there is none.
func nearest(now *version.Version, class *unstructured.Unstructured) string {
	for _, one := range slices.Backward(offered(class)) {
		if v, err := version.ParseGeneric(one); err == nil && v.Major() == now.Major() && v.Minor() <= now.Minor()+1 && v.AtLeast(now) {
			return strings.TrimPrefix(one, "v")
		}
	}
	return ""
}

// checkServes refuses what would have a kubelet be newer than its API server.
func checkServes(w Wish, c Climb, g Ground) error {
	if w.Scope == OnePool && c.From != c.To {
		return fmt.Errorf("pool %s cannot have %s while the control plane is to have %s: a kubelet is never newer than its API server; upgrade that first, with --control-plane-only --version %s",
			w.Pool, c.To, c.From, strings.TrimPrefix(c.To, "v"))
	}
	if served := Serves(g.Cluster); c.From != c.To && len(served) > 0 && !slices.Equal(served, []string{c.From}) {
		return fmt.Errorf("its control plane is on the way from %s to %s: wait for that to end, `umbel cluster describe %s` shows how far it is", strings.Join(served, " and "), c.From, g.Cluster.GetName())
	}
	return nil
}

// checkSkew refuses a step of the control plane before the pools are where it is: Cluster API does, and so no kubelet is ever more
// than one minor older than its API server; three is what Kubernetes bears.
func checkSkew(c Climb, g Ground) error {
	if c.From == c.To {
		return nil
	}
	var problems []error
	for _, p := range g.Pools {
		if p.Version != c.From {
			problems = append(problems, fmt.Errorf("pool %s is at %s still, and the control plane moves on when all pools are at %s: `umbel cluster upgrade %s --pool %s` first",
				p.Name, p.Version, c.From, g.Cluster.GetName(), p.Name))
		}
	}
	return errors.Join(problems...)
}

// Serves returns which versions the members of a cluster's control plane serve.
func Serves(cluster *unstructured.Unstructured) []string { return versionsIn(cluster, "controlPlane") }

// versionsIn returns which versions there are in a part of a cluster: controlPlane or workers.
func versionsIn(cluster *unstructured.Unstructured, part string) []string {
	all, _, _ := unstructured.NestedSlice(cluster.Object, "status", part, "versions")
	var versions []string
	for _, one := range all {
		entry, _ := one.(map[string]any)
		if v, _ := entry["version"].(string); v != "" {
			versions = append(versions, v)
		}
	}
	return versions
}

// Idle says whether there is nothing to change. The cluster may be on its way still.
func (c Climb) Idle() bool { return c.From == c.To && len(c.Pools) == 0 }

// Order returns the Cluster as the upgrade wants it.
func (c Climb) Order(cluster *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	ordered := cluster.DeepCopy()
	if err := unstructured.SetNestedField(ordered.Object, c.To, "spec", "topology", "version"); err != nil {
		return nil, err
	}
	all, found, err := unstructured.NestedSlice(ordered.Object, "spec", "topology", "workers", "machineDeployments")
	if err != nil || !found {
		return ordered, err
	}
	for _, one := range all {
		machines, _ := one.(map[string]any)
		stays := slices.ContainsFunc(c.Stay, func(p Pool) bool { return p.Name == machines["name"] })
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

// Lines say what an upgrade does, part by part.
func (c Climb) Lines() []string {
	plane := "control plane: stays at " + c.To
	if c.From != c.To {
		plane = fmt.Sprintf("control plane: %s → %s, in place: the API is away for some seconds, pods and Services are not", c.From, c.To)
	}
	lines := []string{plane}
	for _, p := range c.Pools {
		lines = append(lines, fmt.Sprintf("pool %s: %s → %s, machines: %d, one by one: a new one comes, and an old one is drained as PodDisruptionBudgets allow", p.Name, p.Version, c.To, p.Machines))
	}
	for _, p := range c.Stay {
		lines = append(lines, fmt.Sprintf("pool %s: stays at %s", p.Name, p.Version))
	}
	return lines
}

var versionForm = regexp.MustCompile(`^v?1\.[0-9]+(\.[0-9]+(-[0-9A-Za-z.+-]+)?)?$`)

// Version returns the newest version of a class that somebody can mean by a version such as 1.36 or v1.36.2; the newest of all when it
// is empty.
func Version(wanted string, class *unstructured.Unstructured) (string, error) {
	has := offered(class)
	full := "v" + strings.TrimPrefix(wanted, "v")
	if wanted != "" && !versionForm.MatchString(wanted) {
		return "", fmt.Errorf("version %q is none of Kubernetes: such as 1.36, or v1.36.2", wanted)
	}
	if len(has) == 0 {
		if strings.Count(full, ".") < 2 {
			return "", fmt.Errorf("class %q does not say which versions it has: give one in full, such as --version v1.36.2", class.GetName())
		}
		return full, nil
	}
	if wanted == "" {
		return has[len(has)-1], nil
	}
	for _, version := range slices.Backward(has) {
		if Means(wanted, version) {
			return version, nil
		}
	}
	return "", fmt.Errorf("kubernetes %s is not to be had with class %q, which has %s", full, class.GetName(), strings.Join(has, ", "))
}

// Means says whether somebody can mean a version in full by one such as 1.36, or by itself.
func Means(wanted, version string) bool {
	wanted = "v" + strings.TrimPrefix(wanted, "v")
	return version == wanted || strings.HasPrefix(version, wanted+".")
}

// offered returns the versions of a class, from the older to the newer; none when it does not say.
func offered(class *unstructured.Unstructured) []string {
	has, _, _ := unstructured.NestedStringSlice(class.Object, "spec", "kubernetesVersions")
	return has
}

func text(o *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(o.Object, path...)
	return s
}

func number(o *unstructured.Unstructured, path ...string) int64 {
	n, _, _ := unstructured.NestedInt64(o.Object, path...)
	return n
}
