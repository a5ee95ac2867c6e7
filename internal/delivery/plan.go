package delivery

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/variable"
)

// maxVariants bounds the variants of one Release, which is one object of the hub's API.
const maxVariants = 4000

// Cluster is what a decision needs to know of a cluster.
type Cluster struct {
	Name   v1alpha1.ClusterName
	Labels map[string]string
	// Properties are what it says of itself.
	Properties map[string]string
	// Leaving: the MemberCluster is being deleted.
	Leaving bool
}

// Seen is what a decision needs to know of a Package. What is nil is not known.
type Seen struct {
	// Deleting: the Package is being deleted.
	Deleting  bool
	Placement *v1alpha1.Placement
	Release   *v1alpha1.Release
	// Policy is how agents are to treat it.
	Policy Policy
	// Rule is the one under which a Release has to be verified; empty when it need not be.
	Rule string
	// Withheld are clusters that are not selected any more and keep it all the same.
	Withheld Withheld
	// Staged is what a Rollout says, for a Package that has a strategy; nil when all clusters get the Release at once.
	Staged *Staged
	// Doubt: the Package was restored from a backup, so that what is known of it is of an earlier time.
	Doubt Doubt
	// Bar is why it is not delivered at all.
	Bar Bar
	// Plans are what people have seen of changes, for a Package that changes nothing else.
	Plans Plans
	// Waits says which clusters wait, for another Package or for a Plan, and why.
	Waits map[v1alpha1.ClusterName]string
}

// Doubt says what of a Package may have changed since the hub knew it.
type Doubt int

const (
	// NoDoubt: the hub knows what it knows.
	NoDoubt Doubt = iota
	// DoubtSelection: its source was read again. Which clusters it is on may have changed since the backup, so none removes.
	DoubtSelection
	// DoubtAll: its source was not read again either. Clusters may hold a newer Release, so none goes back.
	DoubtAll
)

// doubtOf says what of a Package is in doubt. A restore leaves out how the Package was: what says that it is rendered was
// said since.
func doubtOf(pkg *v1alpha1.Package) Doubt {
	_, restored := pkg.Annotations[v1alpha1.RestoredAnnotation]
	switch {
	case !restored:
		return NoDoubt
	case meta.IsStatusConditionTrue(pkg.Status.Conditions, v1alpha1.ConditionRendered):
		return DoubtSelection
	}
	return DoubtAll
}

// Action is what a cluster is told of a Package.
type Action int

const (
	// Keep: nothing. The cluster keeps what it holds, be it something or nothing. It is what everything unknown means.
	Keep Action = iota
	// Deliver: the cluster is to hold a variant of the Release.
	Deliver
	// Remove: the cluster is to prune what it holds of the Package.
	Remove
)

// Assign decides what the cluster is told of a Package, and for Deliver which variant of the Release it gets.
//
//   - A cluster that leaves the fleet keeps what it holds.
//   - A Package that is being deleted is removed everywhere.
//   - One that its Namespace keeps from being delivered is not told either.
//   - What is in doubt after a restore is not told.
//   - One that waits for another Package, or for a Plan, keeps what it holds.
//   - A Release that is not verified, and has to be, is not told.
//   - Otherwise there has to be a Placement with a decision about its current spec. A cluster that it does not select
//     removes, if the decision stands and is about it, and not too many would at once; one that it selects gets its variant of
//     the Release, when there is one. Which Release that is says the Rollout, when the Package has a strategy.
func Assign(seen Seen, cluster Cluster) (Action, *v1alpha1.Variant) {
	if cluster.Leaving {
		return Keep, nil
	}
	if seen.Deleting {
		return Remove, nil
	}
	decision := decisionOf(seen.Placement)
	if decision == undecided || seen.Bar != (Bar{}) {
		return Keep, nil
	}
	if !selects(seen.Placement, cluster.Name) {
		if decision == decided && seen.Doubt == NoDoubt && !doubts(seen.Placement, cluster.Name) && !seen.Withheld.Has(cluster.Name) {
			return Remove, nil
		}
		return Keep, nil
	}
	release := seen.releaseFor(cluster.Name)
	if release == nil || seen.Doubt == DoubtAll || seen.Waits[cluster.Name] != "" {
		return Keep, nil
	}
	variant := VariantFor(&release.Spec, cluster)
	if variant == nil {
		return Keep, nil
	}
	return Deliver, variant
}

type decision int

const (
	undecided decision = iota // nothing is known of what the current spec selects
	standing                  // the current spec selects nothing that can be told: the last decision stands
	decided                   // status.clusters is what the current spec selects
)

func decisionOf(placement *v1alpha1.Placement) decision {
	if placement == nil {
		return undecided
	}
	condition := meta.FindStatusCondition(placement.Status.Conditions, v1alpha1.ConditionDecided)
	switch {
	case condition == nil || condition.ObservedGeneration != placement.Generation:
		return undecided
	case condition.Status == metav1.ConditionTrue && placement.Status.ObservedGeneration == placement.Generation:
		return decided
	case condition.Status == metav1.ConditionFalse && placement.Status.ObservedGeneration > 0:
		return standing
	default:
		return undecided
	}
}

func selects(placement *v1alpha1.Placement, cluster v1alpha1.ClusterName) bool {
	_, selected := slices.BinarySearch(placement.Status.Clusters, cluster)
	return selected
}

// doubts says whether the Placement could not tell of the cluster: then it is not selected, which is no decision.
func doubts(placement *v1alpha1.Placement, cluster v1alpha1.ClusterName) bool {
	_, doubted := slices.BinarySearch(placement.Status.Undecided, cluster)
	return doubted
}

// VariantFor returns the variant of a Release for a cluster; nil when the Release has none, or when the cluster lacks
// a value that the Release's manifests refer to.
func VariantFor(release *v1alpha1.ReleaseSpec, cluster Cluster) *v1alpha1.Variant {
	values, missing := Values(release.Variables, cluster)
	if missing != "" {
		return nil
	}
	return variantOf(release, values)
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
	facts := cluster.facts()
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

// Widen returns the variants sorted by their values, together with those of an earlier Release of the same content
// for values that no cluster has now: a cluster that comes back to them needs no new Release.
func Widen(variants, earlier []v1alpha1.Variant) []v1alpha1.Variant {
	all := slices.Concat(variants, earlier)
	byValues := func(a, b v1alpha1.Variant) int { return slices.Compare(a.Values, b.Values) }
	slices.SortStableFunc(all, byValues) // of two with the same values the newer stays in front
	return slices.CompactFunc(all, func(a, b v1alpha1.Variant) bool { return byValues(a, b) == 0 })
}

// SameSource says whether two sources are the same place; how often they are polled, and with which Secret, does not matter. A Package has one
// place for manifests of its own: which they are is a matter of the revision.
func SameSource(a, b v1alpha1.Source) bool {
	if a.Inline != nil || b.Inline != nil {
		return a.Inline != nil && b.Inline != nil
	}
	one, known := placeOf("", a)
	other, too := placeOf("", b)
	return known && too && one.sameAs(other)
}

// InlineRevision is the revision of manifests that stand in a Package: the SHA-256 of them all, in hex.
func InlineRevision(inline *v1alpha1.InlineSource) string {
	sum := sha256.New()
	for _, object := range inline.Objects {
		fmt.Fprintf(sum, "%d:%s\n", len(object.Raw), object.Raw) // the API writes the same object the same way
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Released is a source as a Release names it: the objects of an inline one are in the content, and not here once more.
func Released(from v1alpha1.Source) v1alpha1.Source {
	if from.Inline != nil {
		return v1alpha1.Source{Inline: &v1alpha1.InlineSource{}}
	}
	return *from.DeepCopy()
}

// revisionOf names a revision of a source in a few words.
func revisionOf(from v1alpha1.Source, revision string) string {
	what := "commit"
	switch {
	case from.OCI != nil:
		what = "artifact"
	case from.Helm != nil:
		what = "chart " + from.Helm.Chart
	case from.Inline != nil:
		what = "inline version"
	}
	return what + " " + source.Short(revision)
}

// ReleaseName makes the name of a Release of what it holds: the Package's name and eight hex digits of a hash.
func ReleaseName(spec v1alpha1.ReleaseSpec) (string, error) {
	// Nothing that is here but in doubt: the order of variables and variants is fixed, and maps there are none.
	content, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("naming a release of %s: %w", spec.PackageRef.Name, err)
	}
	sum := sha256.Sum256(content)
	return spec.PackageRef.Name + "-" + hex.EncodeToString(sum[:4]), nil
}
