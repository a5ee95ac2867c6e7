package variable

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	matches = "cluster.matches("
	named   = "cluster.named("
)

// ErrSelectsAll says that a selector asks for nothing, so that every cluster would match.
var ErrSelectsAll = errors.New("selects nothing in particular")

// IsSelector says whether a variable is a selector, whose value is true or false.
func IsSelector(variable string) bool {
	return strings.HasPrefix(variable, matches) || strings.HasPrefix(variable, named)
}

// Parse reads a selector as it is written in an annotation, such as env in (dev,test),!edge.
func Parse(text string) (string, error) {
	selector, err := labels.Parse(text)
	if err != nil {
		return "", fmt.Errorf("%q is no selector of labels: %w", text, err)
	}
	return write(selector)
}

// Matching reads a selector of the API.
func Matching(selector *metav1.LabelSelector) (string, error) {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return "", err
	}
	return write(parsed)
}

// Named is the selector of clusters by their names.
func Named(names []string) (string, error) {
	var known []string
	for _, name := range names {
		name = strings.ToLower(strings.TrimSpace(name))
		if errs := validation.IsDNS1123Label(name); len(errs) > 0 {
			return "", fmt.Errorf("%q cannot be the name of a cluster: %s", name, strings.Join(errs, ", "))
		}
		known = append(known, name)
	}
	if len(known) == 0 {
		return "", ErrSelectsAll
	}
	slices.Sort(known)
	return named + strings.Join(slices.Compact(known), ",") + ")", nil
}

// write writes a selector in the one way that it has.
func write(selector labels.Selector) (string, error) {
	requirements, selectable := selector.Requirements()
	if !selectable {
		return "", errors.New("it matches nothing")
	}
	if len(requirements) == 0 {
		return "", ErrSelectsAll
	}
	var each []string
	for _, r := range requirements {
		text, err := writeRequirement(r)
		if err != nil {
			return "", err
		}
		each = append(each, text)
	}
	slices.Sort(each)
	return matches + strings.Join(slices.Compact(each), ",") + ")", nil
}

func writeRequirement(r labels.Requirement) (string, error) {
	values := r.Values().UnsortedList()
	slices.Sort(values)
	list := "(" + strings.Join(values, ",") + ")"
	switch r.Operator() {
	case selection.Exists:
		return r.Key(), nil
	case selection.DoesNotExist:
		return "!" + r.Key(), nil
	case selection.Equals, selection.DoubleEquals, selection.In:
		if len(values) == 1 {
			return r.Key() + "=" + values[0], nil
		}
		return r.Key() + " in " + list, nil
	case selection.NotEquals, selection.NotIn:
		if len(values) == 1 {
			return r.Key() + "!=" + values[0], nil
		}
		return r.Key() + " notin " + list, nil
	default:
		return "", fmt.Errorf("%s: the operator %s is not known here: use =, !=, in, notin, KEY or !KEY", r.Key(), r.Operator())
	}
}

// Matches says whether a cluster matches a selector that Parse, Matching or Named gave. What is none of these matches
// nothing.
func Matches(selector string, cluster Cluster) bool {
	if names, is := strings.CutPrefix(selector, named); is {
		return contains(strings.TrimSuffix(names, ")"), string(cluster.Name))
	}
	rest, is := strings.CutPrefix(selector, matches)
	if !is || !strings.HasSuffix(rest, ")") {
		return false
	}
	rest = rest[:len(rest)-1]
	for rest != "" {
		end := requirementEnd(rest)
		if !meets(rest[:end], cluster.Labels) {
			return false
		}
		rest = strings.TrimPrefix(rest[end:], ",")
	}
	return true
}

// requirementEnd is where the first requirement ends: at a comma outside of brackets.
func requirementEnd(text string) int {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return len(text)
}

// meets says whether labels meet one requirement. Neither keys nor values have a space, a bracket, = or ! in them.
func meets(requirement string, labels map[string]string) bool {
	if key, list, is := strings.Cut(requirement, " in ("); is {
		value, has := labels[key]
		return has && contains(strings.TrimSuffix(list, ")"), value)
	}
	if key, list, is := strings.Cut(requirement, " notin ("); is {
		value, has := labels[key]
		return !has || !contains(strings.TrimSuffix(list, ")"), value)
	}
	if key, unwanted, is := strings.Cut(requirement, "!="); is {
		value, has := labels[key]
		return !has || value != unwanted
	}
	if key, wanted, is := strings.Cut(requirement, "="); is {
		value, has := labels[key]
		return has && value == wanted
	}
	if key, is := strings.CutPrefix(requirement, "!"); is {
		_, has := labels[key]
		return !has
	}
	_, has := labels[requirement]
	return has
}

// contains says whether a list with commas holds the item.
func contains(list, item string) bool {
	for {
		first, rest, more := strings.Cut(list, ",")
		if first == item {
			return true
		}
		if !more {
			return false
		}
		list = rest
	}
}
