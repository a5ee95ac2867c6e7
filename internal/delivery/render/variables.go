package render

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	opening = "${cluster."
	escaped = "$" + opening
	// VariableName is the variable of a cluster's name.
	VariableName = "cluster.name"
	// VariableLabel begins the variables of a cluster's labels; the label's key follows.
	VariableLabel = "cluster.labels."
)

// variables returns the variables that an object refers to, sorted.
func variables(o object) ([]string, error) {
	used := map[string]bool{}
	var walk func(field string, value any) error
	walk = func(field string, value any) error {
		switch value := value.(type) {
		case string:
			_, err := expand(value, func(name string) (string, error) {
				used[name] = true
				return "", known(name)
			})
			if err != nil {
				return wrong(o, field, "%w", err)
			}
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(value)) {
				if strings.Contains(key, opening) {
					return wrong(o, join(field, key), "variables are put into values only, not into keys")
				}
				if err := walk(join(field, key), value[key]); err != nil {
					return err
				}
			}
		case []any:
			for i, item := range value {
				if err := walk(field+"["+strconv.Itoa(i)+"]", item); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := walk("", o.fields); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(used)), nil
}

func join(field, key string) string {
	if field == "" {
		return key
	}
	return field + "." + key
}

// known says whether there is such a variable.
func known(name string) error {
	key, isLabel := strings.CutPrefix(name, VariableLabel)
	if name != VariableName && !isLabel {
		return fmt.Errorf("there is no variable ${%s}: use ${%s} or ${%sKEY}, or write $${%s} for the text itself", name, VariableName, VariableLabel, name)
	}
	if !isLabel {
		return nil
	}
	if errs := validation.IsQualifiedName(key); len(errs) > 0 {
		return fmt.Errorf("${%s}: %q cannot be the key of a label: %s", name, key, strings.Join(errs, ", "))
	}
	return nil
}

// expand replaces the variables of a text by what value gives for them.
func expand(text string, value func(name string) (string, error)) (string, error) {
	if !strings.Contains(text, opening) {
		return text, nil
	}
	var out strings.Builder
	for {
		at := strings.Index(text, opening)
		if at < 0 {
			out.WriteString(text)
			return out.String(), nil
		}
		if at > 0 && text[at-1] == '$' {
			out.WriteString(text[:at-1] + opening)
			text = text[at-1+len(escaped):]
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

// substitute returns a copy of a value with the variables' values put in.
func substitute(value any, values map[string]string) (any, error) {
	switch value := value.(type) {
	case string:
		return expand(value, func(name string) (string, error) {
			put, ok := values[name]
			if !ok {
				return "", fmt.Errorf("no value for ${%s}", name)
			}
			return put, nil
		})
	case map[string]any:
		copied := make(map[string]any, len(value))
		for key, item := range value {
			put, err := substitute(item, values)
			if err != nil {
				return nil, err
			}
			copied[key] = put
		}
		return copied, nil
	case []any:
		copied := make([]any, len(value))
		for i, item := range value {
			put, err := substitute(item, values)
			if err != nil {
				return nil, err
			}
			copied[i] = put
		}
		return copied, nil
	default:
		return value, nil
	}
}
