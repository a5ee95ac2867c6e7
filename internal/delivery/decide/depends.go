package decide

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"umbel.dev/umbel/api/v1alpha1"
)

// Dependency is a Package that another one waits for, and what is known of it.
type Dependency struct {
	Key v1alpha1.PackageKey
	// Selector says on which clusters it has to be healthy; nil is the one that waits.
	Selector labels.Selector
	// Wrong says why nobody can tell whether it is healthy: it does not exist, or its selector cannot be read.
	Wrong   string
	Seen    Seen
	Members []Member
	Timeout time.Duration
}

// Waits says which of the clusters wait for other Packages, and for what: in the same words for all that wait for the same. A cluster
// that holds the release already waits for nothing: what becomes of a dependency later takes nothing away. So a first delivery
// waits, and each new release; the way back to a release that was there does not.
func Waits(dependencies []Dependency, seen Seen, members []Member) map[v1alpha1.ClusterName]string {
	if len(dependencies) == 0 || seen.Release == nil || seen.Placement == nil || seen.Deleting || seen.Staged != nil && seen.Staged.Back {
		return nil
	}
	waits := map[v1alpha1.ClusterName]string{}
	missing := make([]func() func(v1alpha1.ClusterName) string, len(dependencies))
	for i := range dependencies {
		missing[i] = sync.OnceValue(dependencies[i].missing)
	}
	for _, member := range members {
		if !selects(seen.Placement, member.Name) {
			continue
		}
		release := seen.releaseFor(member.Name)
		if release == nil {
			continue
		}
		want := VariantFor(&release.Spec, member.Cluster)
		if want == nil || member.Holds != nil && member.Holds.Digest == want.Digest {
			continue
		}
		for _, lacks := range missing {
			if why := lacks()(member.Name); why != "" {
				waits[member.Name] = why
				break
			}
		}
	}
	return waits
}

// missing returns what says what a dependency lacks for a cluster, or nothing. All of its clusters are looked at once, however
// many others wait.
func (d Dependency) missing() func(v1alpha1.ClusterName) string {
	everywhere := func(why string) func(v1alpha1.ClusterName) string {
		return func(v1alpha1.ClusterName) string { return why }
	}
	switch {
	case d.Wrong != "":
		return everywhere(d.Wrong)
	case d.Seen.Placement == nil || d.Seen.Release == nil:
		return everywhere(fmt.Sprintf("package %s has not been delivered anywhere yet", d.Key))
	case d.Selector != nil:
		return everywhere(d.missingAcross())
	}
	healthy := make(map[v1alpha1.ClusterName]bool, len(d.Members))
	for _, member := range d.Members {
		healthy[member.Name] = stateOf(d.Seen, member) == ready
	}
	return func(cluster v1alpha1.ClusterName) string {
		switch {
		case !selects(d.Seen.Placement, cluster):
			return fmt.Sprintf("package %s does not go to this cluster", d.Key)
		case !healthy[cluster]:
			return fmt.Sprintf("package %s is not healthy on this cluster", d.Key)
		}
		return ""
	}
}

// missingAcross says what a dependency lacks on the clusters that its selector selects.
func (d Dependency) missingAcross() string {
	var away, ill []v1alpha1.ClusterName
	healthy := 0
	for _, member := range d.Members {
		if !selects(d.Seen.Placement, member.Name) || !d.Selector.Matches(labels.Set(member.Labels)) {
			continue
		}
		switch stateOf(d.Seen, member) {
		case ready:
			healthy++
		case unknown:
			away = append(away, member.Name) // one that is away blocks nobody
		default:
			ill = append(ill, member.Name)
		}
	}
	slices.Sort(away)
	switch {
	case len(ill) > 0:
		return fmt.Sprintf("package %s is not healthy on cluster %s", d.Key, slices.Min(ill)) // the same one each time
	case healthy > 0:
		return ""
	case len(away) > 0:
		return fmt.Sprintf("package %s: of the clusters with %s none is connected (%s)", d.Key, d.Selector, Names(away))
	}
	return fmt.Sprintf("package %s is on no cluster with %s", d.Key, d.Selector)
}

// Cycle returns the way from a Package back to itself, or nil.
func Cycle(from v1alpha1.PackageKey, dependsOn func(v1alpha1.PackageKey) []v1alpha1.PackageKey) []string {
	seen := map[v1alpha1.PackageKey]bool{}
	var walk func(at v1alpha1.PackageKey, way []string) []string
	walk = func(at v1alpha1.PackageKey, way []string) []string {
		way = append(way, string(at))
		for _, next := range dependsOn(at) {
			if next == from {
				return append(way, string(from))
			}
			if seen[next] {
				continue
			}
			seen[next] = true
			if found := walk(next, way); found != nil {
				return found
			}
		}
		return nil
	}
	return walk(from, nil)
}

// Dependencies makes the condition of what clusters wait for, and says when it is to be looked at again. before is the
// condition as it was.
func Dependencies(all []Dependency, waits map[v1alpha1.ClusterName]string, before *metav1.Condition, now time.Time) (metav1.Condition, time.Duration) {
	c := metav1.Condition{Type: v1alpha1.ConditionDependencies, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDependenciesHealthy}
	var keys []string
	patience := time.Duration(0)
	for _, d := range all {
		keys = append(keys, string(d.Key))
		if patience == 0 || d.Timeout < patience {
			patience = d.Timeout
		}
	}
	c.Message = "no cluster waits for " + strings.Join(keys, ", ")
	if len(waits) == 0 {
		return c, 0
	}
	var clusters []v1alpha1.ClusterName
	for cluster := range waits {
		clusters = append(clusters, cluster)
	}
	slices.Sort(clusters)
	c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonWaiting
	c.Message = fmt.Sprintf("%s %s: %s (%s: %s)", v1alpha1.Counted(len(clusters), "cluster"), v1alpha1.Agreeing(len(clusters), "waits", "wait"), Names(clusters), clusters[0], waits[clusters[0]])
	waited := time.Duration(0)
	if before != nil && before.Status == metav1.ConditionFalse {
		waited = now.Sub(before.LastTransitionTime.Time)
	}
	if waited >= patience {
		c.Reason = v1alpha1.ReasonDependencyTimeout
		c.Message = fmt.Sprintf("for more than %s %s", patience, c.Message)
		return c, 0
	}
	return c, patience - waited
}
