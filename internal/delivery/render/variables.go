package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"umbel.dev/umbel/internal/delivery/sealed"
	"umbel.dev/umbel/internal/delivery/variable"
)

const (
	ofCluster = "cluster."
	// ofPackage begins the variables that the Package's variants give.
	ofPackage = "package.variables."
)

// openings of a reference to a variable. Any other ${…} is somebody else's, such as a script's.
var openings = [...]string{"${" + ofCluster, "${" + ofPackage}

// packageVariable is what a variable of a Package may be called.
var packageVariable = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)

// refersTo says whether there is a reference to a variable, or one that is escaped, in a text.
func refersTo(text string) bool {
	return strings.Contains(text, openings[0]) || strings.Contains(text, openings[1])
}

// reference is where the first reference begins, and with which opening; -1 when there is none.
func reference(text string) (at int, opening string) {
	at = -1
	for _, candidate := range openings {
		if found := strings.Index(text, candidate); found >= 0 && (at < 0 || found < at) {
			at, opening = found, candidate
		}
	}
	return at, opening
}

// expand replaces the variables of a text by what value gives for them.
func expand(text string, value func(name string) (string, error)) (string, error) {
	if !refersTo(text) {
		return text, nil
	}
	var out strings.Builder
	for {
		at, opening := reference(text)
		if at < 0 {
			out.WriteString(text)
			return out.String(), nil
		}
		if at > 0 && text[at-1] == '$' {
			out.WriteString(text[:at-1] + opening)
			text = text[at+len(opening):]
			continue
		}
		name, rest, closed := strings.Cut(text[at+len("${"):], "}")
		if !closed {
			return "", fmt.Errorf("%q has no closing }: write $%s for the text itself", text[at:min(len(text), at+40)], opening)
		}
		put, err := value(name)
		if err != nil {
			return "", err
		}
		out.WriteString(text[:at] + put)
		text = rest
	}
}

// alone returns the variable when a text is nothing but a reference to it.
func alone(text string) (name string, is bool) {
	at, _ := reference(text)
	if at != 0 || strings.IndexByte(text, '}') != len(text)-1 {
		return "", false
	}
	return text[len("${") : len(text)-1], true
}

// fieldError is an error about a field, whose path grows on the way out.
type fieldError struct {
	field string
	err   error
}

func (e *fieldError) Error() string { return e.field + ": " + e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

// within says that an error is about a field below another one: a key, or [INDEX].
func within(field string, err error) error {
	inner, ok := errors.AsType[*fieldError](err)
	switch {
	case !ok:
		return &fieldError{field: field, err: err}
	case strings.HasPrefix(inner.field, "["):
		inner.field = field + inner.field
	default:
		inner.field = field + "." + inner.field
	}
	return inner
}

// eachText calls visit for every text of a value. Variables in keys are an error.
func eachText(value any, visit func(text string) error) error {
	switch value := value.(type) {
	case string:
		return visit(value)
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			if refersTo(key) {
				return within(key, errors.New("variables are put into values only, not into keys"))
			}
			if err := eachText(value[key], visit); err != nil {
				return within(key, err)
			}
		}
	case []any:
		for i, item := range value {
			if err := eachText(item, visit); err != nil {
				return within("["+strconv.Itoa(i)+"]", err)
			}
		}
	}
	return nil
}

// open is the object without the encrypted files that travel with it: they are verified as they are.
func (o object) open() map[string]any {
	if _, has := o.fields[sealed.Field].([]any); !has {
		return o.fields
	}
	fields := maps.Clone(o.fields)
	delete(fields, sealed.Field)
	return fields
}

// variables returns the variables that an object refers to, sorted: those of the cluster with their defaults, and those of
// the Package.
func variables(o object) ([]string, error) {
	used := map[string]bool{}
	err := eachText(o.open(), func(text string) error {
		_, err := expand(text, func(name string) (string, error) {
			used[name] = true
			return "", known(name)
		})
		return err
	})
	if inner, ok := errors.AsType[*fieldError](err); ok {
		return nil, wrong(o, inner.field, "%w", inner.err)
	}
	return slices.Sorted(maps.Keys(used)), err
}

// known says whether there can be such a variable.
func known(reference string) error {
	if !strings.HasPrefix(reference, ofPackage) {
		return variable.Check(reference)
	}
	name, fallback, hasDefault := variable.Split(reference)
	if name = strings.TrimPrefix(name, ofPackage); !packageVariable.MatchString(name) {
		return fmt.Errorf("${%s}: %q cannot be the name of a variable: a letter, then letters, digits, - and _, at most 63", reference, name)
	}
	if hasDefault && strings.Contains(fallback, "${") {
		return fmt.Errorf("${%s}: the default %q has to be text: a variable is not put into it", reference, fallback)
	}
	return nil
}

// UnsetError says that no variant gives a variable of the Package to the clusters of a class.
type UnsetError struct {
	// Name of the variable.
	Name string
}

func (e *UnsetError) Error() string {
	return fmt.Sprintf("no variant of the Package gives ${%[1]s%[2]s} a value here: add one to spec.variants, or a default: ${%[1]s%[2]s:-…}", ofPackage, e.Name)
}

// values are what is put in for variables: of the cluster, by the reference with its default, and of the Package.
type values struct {
	cluster map[string]string
	given   map[string]any
}

// of returns the value of a reference: a text, a number or a boolean.
func (v values) of(reference string) (any, error) {
	if !strings.HasPrefix(reference, ofPackage) {
		put, ok := v.cluster[reference]
		if !ok {
			return nil, fmt.Errorf("no value for ${%s}", reference)
		}
		return put, nil
	}
	name, fallback, hasDefault := variable.Split(reference)
	name = strings.TrimPrefix(name, ofPackage)
	if value, ok := v.given[name]; ok {
		return value, nil
	}
	if !hasDefault {
		return nil, &UnsetError{Name: name}
	}
	return scalar(fallback), nil
}

// scalar reads a default as YAML reads what has no quotes: numbers and booleans are what they look like.
func scalar(text string) any {
	if text == "true" || text == "false" {
		return text == "true"
	}
	var number json.Number
	if json.Unmarshal([]byte(text), &number) == nil && !strings.HasPrefix(text, `"`) && text != "null" {
		return number
	}
	return text
}

// inText is how a value stands in a longer text.
func inText(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case bool:
		return strconv.FormatBool(value)
	case json.Number:
		return value.String()
	default:
		return fmt.Sprint(value)
	}
}

// substitute returns a copy of a value with the variables' values put in.
func (v values) substitute(value any) (any, error) {
	switch value := value.(type) {
	case string:
		return v.text(value)
	case map[string]any:
		copied := make(map[string]any, len(value))
		for key, item := range value {
			put, err := v.substitute(item)
			if err != nil {
				return nil, within(key, err)
			}
			copied[key] = put
		}
		return copied, nil
	case []any:
		copied := make([]any, len(value))
		for i, item := range value {
			put, err := v.substitute(item)
			if err != nil {
				return nil, within("["+strconv.Itoa(i)+"]", err)
			}
			copied[i] = put
		}
		return copied, nil
	default:
		return value, nil
	}
}

func (v values) text(text string) (any, error) {
	if !refersTo(text) {
		return text, nil
	}
	if reference, is := alone(text); is {
		return v.of(reference)
	}
	return expand(text, func(reference string) (string, error) {
		value, err := v.of(reference)
		return inText(value), err
	})
}
