package decide

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/variable"
)

// VariantFor returns the variant of a Release for a cluster; nil when the Release has none, or when the cluster lacks
// a value that the Release's manifests refer to.
func VariantFor(release *v1alpha1.ReleaseSpec, cluster Cluster) *v1alpha1.Variant {
	values, missing := Values(release.Variables, cluster)
	if missing != "" {
		return nil
	}
	return variantOf(release, values)
}

// DigestFor returns the digest of the content that a Release has for a cluster; empty when it has none.
func DigestFor(release *v1alpha1.ReleaseSpec, member *v1alpha1.MemberCluster) string {
	if variant := VariantFor(release, ClusterOf(member)); variant != nil {
		return variant.Digest
	}
	return ""
}

// variantOf finds a variant among those of a Release, which are sorted by their values (see Widen).
func variantOf(release *v1alpha1.ReleaseSpec, values []string) *v1alpha1.Variant {
	i, found := slices.BinarySearchFunc(release.Variants, values, func(v v1alpha1.Variant, values []string) int {
		return slices.Compare(v.Values, values)
	})
	if !found {
		return nil
	}
	return &release.Variants[i]
}

// Values returns the cluster's values of the variables, in their order, or the first variable that it has none for.
func Values(variables []string, cluster Cluster) (values []string, missing string) {
	facts := cluster.Facts()
	for _, name := range variables {
		value, has := variable.Value(name, facts)
		if !has {
			return nil, name
		}
		values = append(values, value)
	}
	return values, ""
}

// Class is clusters that get the same content.
type Class struct {
	Values   []string
	Clusters []v1alpha1.ClusterName
}

// Missing is a cluster for which there is no content: it lacks the value of a variable or, without one, the selectors leave
// no object for it.
type Missing struct {
	Cluster  v1alpha1.ClusterName
	Variable string
}

// Tell says in words what is missing. files says which file refers to a variable.
func (m Missing) Tell(files map[string]string) string {
	if m.Variable == "" {
		return fmt.Sprintf("the selectors of the objects leave none for cluster %s: have the Placement leave it out, or give it an object", m.Cluster)
	}
	_, name := variable.Unguarded(m.Variable)
	if file := files[m.Variable]; file != "" {
		return fmt.Sprintf("cluster %s has no %s, which %s refers to as ${%s}", m.Cluster, variable.Lacks(name), file, name)
	}
	return fmt.Sprintf("no variant gives cluster %s a value for ${%s}: add one to spec.variants, or a default: ${%[2]s:-…}", m.Cluster, name)
}

// Classes sorts clusters into classes by their values of the variables, in the order of the values. Without variables
// there is one class, even of no cluster.
func Classes(variables []string, clusters []Cluster) ([]Class, []Missing) {
	byValues := map[string]*Class{}
	if len(variables) == 0 {
		byValues[""] = &Class{}
	}
	var missing []Missing
	for _, cluster := range clusters {
		values, lacks := Values(variables, cluster)
		if lacks != "" {
			missing = append(missing, Missing{Cluster: cluster.Name, Variable: lacks})
			continue
		}
		key := strings.Join(values, "\x00")
		if byValues[key] == nil {
			byValues[key] = &Class{Values: values}
		}
		byValues[key].Clusters = append(byValues[key].Clusters, cluster.Name)
	}
	var classes []Class
	for _, key := range slices.Sorted(maps.Keys(byValues)) {
		slices.Sort(byValues[key].Clusters)
		classes = append(classes, *byValues[key])
	}
	slices.SortFunc(missing, func(a, b Missing) int { return strings.Compare(string(a.Cluster), string(b.Cluster)) })
	return classes, missing
}

// Covers says whether the Release has a variant for each of the classes.
func Covers(release *v1alpha1.ReleaseSpec, classes []Class) bool {
	return !slices.ContainsFunc(classes, func(c Class) bool { return variantOf(release, c.Values) == nil })
}

// HasAll says whether the Release has these very variants.
func HasAll(release *v1alpha1.ReleaseSpec, variants []v1alpha1.Variant) bool {
	return !slices.ContainsFunc(variants, func(want v1alpha1.Variant) bool {
		have := variantOf(release, want.Values)
		return have == nil || have.Digest != want.Digest
	})
}

// Widen returns the variants sorted by their values, together with those of an earlier Release of the same content
// for values that no cluster has now: a cluster that comes back to them needs no new Release.
func Widen(variants, earlier []v1alpha1.Variant) []v1alpha1.Variant {
	all := slices.Concat(variants, earlier)
	byValues := func(a, b v1alpha1.Variant) int { return slices.Compare(a.Values, b.Values) }
	slices.SortStableFunc(all, byValues) // of two with the same values the newer stays in front
	return slices.CompactFunc(all, func(a, b v1alpha1.Variant) bool { return byValues(a, b) == 0 })
}
