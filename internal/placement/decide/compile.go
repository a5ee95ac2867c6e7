package decide

import (
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"umbel.dev/umbel/api/v1alpha1"
)

// whenUnfit is for how long a cluster stays that does not fit any more, where the spec does not say.
const whenUnfit = 5 * time.Minute

// Plan is the spec of a Placement, read once. Any number of goroutines may use it.
type Plan struct {
	generation  int64
	selector    labels.Selector
	fields      []requirement
	expressions []*expression
	tolerations []v1alpha1.Toleration
	seats       *seats        // nil: all that fit
	whenUnfit   time.Duration // how long what an agent says may not fit
	lot         string        // what the clusters' names are hashed with
}

// seats is how many clusters are selected, and which come first.
type seats struct {
	number          int
	spread          *v1alpha1.Spread
	scores          []score
	whenUnreachable time.Duration // 0: never
}

// score gives points to a cluster.
type score struct {
	weight     int64
	selector   labels.Selector
	expression *expression
}

// Compile reads the spec of a Placement. Its error names every field that is invalid; the caller must not take it for an
// empty selection.
func Compile(placement *v1alpha1.Placement) (*Plan, error) {
	spec, path := &placement.Spec, field.NewPath("spec")
	p := &Plan{
		generation: placement.Generation, tolerations: spec.Tolerations, whenUnfit: whenUnfit,
		lot: placement.Namespace + "/" + placement.Name + "/",
	}
	if d := spec.Stay.WhenUnfit; d != nil {
		p.whenUnfit = d.Duration
	}
	var invalid field.ErrorList
	p.selector, invalid = selectorOf(&spec.ClusterSelector, path.Child("clusterSelector"))
	for i, f := range spec.Fields {
		r, err := requirementOf(f, path.Child("fields").Index(i))
		if err != nil {
			invalid = append(invalid, err)
		}
		p.fields = append(p.fields, r)
	}
	for i, text := range spec.Expressions {
		e, err := expressionOf(text, path.Child("expressions").Index(i), condition)
		if err != nil {
			invalid = append(invalid, err)
		}
		p.expressions = append(p.expressions, e)
	}
	if spec.NumberOfClusters != nil {
		var more field.ErrorList
		p.seats, more = seatsOf(spec, path)
		invalid = append(invalid, more...)
	}
	if err := invalid.ToAggregate(); err != nil {
		return nil, err
	}
	return p, nil
}

func seatsOf(spec *v1alpha1.PlacementSpec, path *field.Path) (*seats, field.ErrorList) {
	s := &seats{number: int(*spec.NumberOfClusters), spread: spec.Spread}
	var invalid field.ErrorList
	if spec.Spread != nil {
		invalid = append(invalid, validation.ValidateLabels(map[string]string{spec.Spread.Label: ""}, path.Child("spread", "label"))...)
	}
	if d := spec.Stay.WhenUnreachable; d != nil {
		s.whenUnreachable = d.Duration
	}
	for i, given := range spec.Scores {
		at, one := path.Child("scores").Index(i), score{weight: int64(given.Weight)}
		if given.ClusterSelector != nil {
			var more field.ErrorList
			one.selector, more = selectorOf(given.ClusterSelector, at.Child("clusterSelector"))
			invalid = append(invalid, more...)
		} else {
			e, err := expressionOf(given.Expression, at.Child("expression"), points)
			if err != nil {
				invalid = append(invalid, err)
			}
			one.expression = e
		}
		s.scores = append(s.scores, one)
	}
	return s, invalid
}

// selectorOf reads a selector of labels. Its errors name every field that is invalid, in a fixed order.
func selectorOf(given *metav1.LabelSelector, path *field.Path) (labels.Selector, field.ErrorList) {
	var invalid field.ErrorList
	for _, key := range slices.Sorted(maps.Keys(given.MatchLabels)) {
		one := map[string]string{key: given.MatchLabels[key]}
		invalid = append(invalid, validation.ValidateLabels(one, path.Child("matchLabels").Key(key))...)
	}
	for i, expression := range given.MatchExpressions {
		invalid = append(invalid, validation.ValidateLabelSelectorRequirement(expression,
			validation.LabelSelectorValidationOptions{}, path.Child("matchExpressions").Index(i))...)
	}
	if len(invalid) > 0 {
		return nil, invalid
	}
	selector, err := metav1.LabelSelectorAsSelector(given)
	if err != nil {
		return nil, field.ErrorList{field.Invalid(path, fmt.Sprint(given), err.Error())}
	}
	return selector, nil
}
