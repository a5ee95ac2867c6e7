package placement

import (
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"umbel.dev/umbel/api/v1alpha1"
)

// Select returns the sorted names of the clusters that the spec selects. Its error says which field of the spec is
// invalid; the caller must not take it for an empty selection.
func Select(spec v1alpha1.PlacementSpec, clusters []v1alpha1.MemberCluster) ([]v1alpha1.ClusterName, error) {
	selector, err := parse(spec)
	if err != nil {
		return nil, err
	}
	var names []v1alpha1.ClusterName
	for i := range clusters {
		if selects(selector, &clusters[i]) {
			names = append(names, v1alpha1.ClusterName(clusters[i].Name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// parse reads the spec's selector. Its error names every field that is invalid, in a fixed order.
func parse(spec v1alpha1.PlacementSpec) (labels.Selector, error) {
	path := field.NewPath("spec", "clusterSelector")
	var invalid field.ErrorList
	for _, key := range slices.Sorted(maps.Keys(spec.ClusterSelector.MatchLabels)) {
		one := map[string]string{key: spec.ClusterSelector.MatchLabels[key]}
		invalid = append(invalid, validation.ValidateLabels(one, path.Child("matchLabels").Key(key))...)
	}
	for i, expression := range spec.ClusterSelector.MatchExpressions {
		invalid = append(invalid, validation.ValidateLabelSelectorRequirement(expression,
			validation.LabelSelectorValidationOptions{}, path.Child("matchExpressions").Index(i))...)
	}
	if err := invalid.ToAggregate(); err != nil {
		return nil, err
	}
	selector, err := metav1.LabelSelectorAsSelector(&spec.ClusterSelector)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return selector, nil
}

// selects says whether a cluster belongs to the selection. One that was never let in does not: it is no member yet. One
// that is suspended keeps its place, since what is not selected is pruned.
func selects(selector labels.Selector, cluster *v1alpha1.MemberCluster) bool {
	return cluster.DeletionTimestamp.IsZero() && admitted(cluster) && selector.Matches(labels.Set(cluster.Labels))
}

func admitted(cluster *v1alpha1.MemberCluster) bool {
	return cluster.Spec.Admission != v1alpha1.AdmissionPending && cluster.Spec.Admission != v1alpha1.AdmissionDenied
}
