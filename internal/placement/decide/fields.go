package decide

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"

	"umbel.dev/umbel/api/v1alpha1"
)

// answer is what is known of whether a cluster meets something.
type answer int

const (
	yes answer = iota
	no
	unknown
)

func answerOf(is bool) answer {
	if is {
		return yes
	}
	return no
}

// The fields that are not properties.
const (
	fieldName       = "name"
	fieldKubernetes = "kubernetesVersion"
	fieldAgent      = "agentVersion"
	fieldProperty   = "properties."
)

// requirement is something that a cluster has to meet, read once.
type requirement struct {
	v1alpha1.FieldRequirement
	version  *version.Version   // of AtLeast and Below, for versions
	quantity *resource.Quantity // the same for properties
}

func requirementOf(given v1alpha1.FieldRequirement, path *field.Path) (requirement, *field.Error) {
	r := requirement{FieldRequirement: given}
	property, isProperty := strings.CutPrefix(given.Field, fieldProperty)
	versioned := given.Field == fieldKubernetes || given.Field == fieldAgent
	if given.Field != fieldName && !versioned && (!isProperty || property == "") {
		return r, field.NotSupported(path.Child("field"), given.Field, []string{fieldName, fieldKubernetes, fieldAgent, fieldProperty + "NAME"})
	}
	values := path.Child("values")
	switch given.Operator {
	case v1alpha1.FieldIn, v1alpha1.FieldNotIn:
		if len(given.Values) == 0 {
			return r, field.Required(values, fmt.Sprintf("operator %s takes at least one", given.Operator))
		}
	case v1alpha1.FieldExists, v1alpha1.FieldDoesNotExist:
		if len(given.Values) > 0 {
			return r, field.Forbidden(values, fmt.Sprintf("operator %s takes none", given.Operator))
		}
	case v1alpha1.FieldAtLeast, v1alpha1.FieldBelow:
		if given.Field == fieldName {
			return r, field.Invalid(path.Child("operator"), given.Operator, "a name is neither above nor below another")
		}
		if len(given.Values) != 1 {
			return r, field.Invalid(values, given.Values, fmt.Sprintf("operator %s takes exactly one", given.Operator))
		}
		return r.bounded(values.Index(0), versioned)
	default:
		return r, field.NotSupported(path.Child("operator"), given.Operator, []v1alpha1.FieldOperator{
			v1alpha1.FieldIn, v1alpha1.FieldNotIn, v1alpha1.FieldExists, v1alpha1.FieldDoesNotExist, v1alpha1.FieldAtLeast, v1alpha1.FieldBelow,
		})
	}
	return r, nil
}

// bounded reads the value of AtLeast and Below.
func (r requirement) bounded(path *field.Path, versioned bool) (requirement, *field.Error) {
	if versioned {
		v, err := version.ParseGeneric(r.Values[0])
		if err != nil {
			return r, field.Invalid(path, r.Values[0], "is no version such as v1.36.3")
		}
		r.version = v
		return r, nil
	}
	if endless(r.Values[0]) {
		return r, field.Invalid(path, r.Values[0], "is larger or smaller than quantities are")
	}
	q, err := resource.ParseQuantity(r.Values[0])
	if err != nil {
		return r, field.Invalid(path, r.Values[0], "is no quantity such as 100, 1500m or 64Gi")
	}
	r.quantity = &q
	return r, nil
}

// value returns the cluster's value. Of a cluster whose agent has never spoken only the name is known.
func (r *requirement) value(c *Cluster) (value string, has, known bool) {
	switch r.Field {
	case fieldName:
		return string(c.Name), true, true
	case fieldKubernetes:
		value = c.KubernetesVersion
	case fieldAgent:
		value = c.AgentVersion
	default:
		value, has = c.Properties[r.Field[len(fieldProperty):]]
		return value, has, has || c.heard()
	}
	return value, value != "", value != ""
}

// met says whether the cluster meets the requirement.
func (r *requirement) met(c *Cluster) answer {
	value, has, known := r.value(c)
	if !known {
		return unknown
	}
	switch r.Operator {
	case v1alpha1.FieldIn:
		return answerOf(has && slices.Contains(r.Values, value))
	case v1alpha1.FieldNotIn:
		return answerOf(!has || !slices.Contains(r.Values, value))
	case v1alpha1.FieldExists:
		return answerOf(has)
	case v1alpha1.FieldDoesNotExist:
		return answerOf(!has)
	}
	if !has {
		return no
	}
	above, ok := r.atLeast(value)
	if !ok {
		return unknown
	}
	return answerOf(above == (r.Operator == v1alpha1.FieldAtLeast))
}

// atLeast says whether a value is at least the requirement's; ok is false when it cannot be compared. What follows the
// numbers of a version, such as -gke.100, does not count.
func (r *requirement) atLeast(value string) (is, ok bool) {
	if r.version != nil {
		v, err := version.ParseGeneric(value)
		return err == nil && v.AtLeast(r.version), err == nil
	}
	if endless(value) {
		return false, false
	}
	q, err := resource.ParseQuantity(value)
	return err == nil && q.Cmp(*r.quantity) >= 0, err == nil
}

// endless says whether a text is a number like 1e999999999, which a comparison as a quantity would write out, digit by
// digit: a member could keep the hub busy with one property for ever.
func endless(text string) bool {
	at := strings.IndexAny(text, "eE")
	if at < 0 {
		return false
	}
	exponent := strings.TrimLeft(text[at+1:], "+-0")
	return len(exponent) > 2 && strings.Trim(exponent, "0123456789") == ""
}

// String reads the requirement as a selector does.
func (r *requirement) String() string {
	switch r.Operator {
	case v1alpha1.FieldExists, v1alpha1.FieldDoesNotExist:
		return fmt.Sprintf("%s %s", r.Field, r.Operator)
	case v1alpha1.FieldAtLeast, v1alpha1.FieldBelow:
		return fmt.Sprintf("%s %s %s", r.Field, r.Operator, r.Values[0])
	}
	const few = 5
	shown := strings.Join(r.Values[:min(few, len(r.Values))], ",")
	if len(r.Values) > few {
		shown += fmt.Sprintf(",… and %d more", len(r.Values)-few)
	}
	return fmt.Sprintf("%s %s (%s)", r.Field, r.Operator, shown)
}
