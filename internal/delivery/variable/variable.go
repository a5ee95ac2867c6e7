package variable

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	// Name is the variable of a cluster's name.
	Name = "cluster.name"
	// Label begins the variables of a cluster's labels; the label's key follows.
	Label = "cluster.labels."
	// Property begins the variables of a cluster's properties; the name of the ClusterProperty follows.
	Property = "cluster.properties."

	// otherwise stands between a variable and what counts where a cluster has none.
	otherwise = ":-"
	// guard begins a variable that counts for the clusters of a selector only.
	guard = "if "

	maxDefault = 256
)

// Cluster is what values of variables are made of.
type Cluster struct {
	Name               v1alpha1.ClusterName
	Labels, Properties map[string]string
}

// Value returns a cluster's value of a variable, and whether it has one.
func Value(variable string, cluster Cluster) (value string, has bool) {
	if selector, inner, guarded := cutGuard(variable); guarded {
		if !Matches(selector, cluster) {
			return "", true
		}
		variable = inner
	}
	if IsSelector(variable) {
		return strconv.FormatBool(Matches(variable, cluster)), true
	}
	name, fallback, hasDefault := strings.Cut(variable, otherwise)
	value, has = lookUp(name, cluster)
	if hasDefault && value == "" {
		return fallback, true
	}
	return value, has
}

func lookUp(name string, cluster Cluster) (value string, has bool) {
	if name == Name {
		return string(cluster.Name), true
	}
	if key, is := strings.CutPrefix(name, Label); is {
		value, has = cluster.Labels[key]
		return value, has
	}
	if key, is := strings.CutPrefix(name, Property); is {
		value, has = cluster.Properties[key]
		return value, has
	}
	return "", false
}

// Check says what is wrong with a variable that somebody wrote, without selectors and guards, which nobody writes.
func Check(variable string) error {
	name, fallback, hasDefault := strings.Cut(variable, otherwise)
	if hasDefault {
		if err := checkDefault(fallback); err != nil {
			return fmt.Errorf("${%s}: %w", variable, err)
		}
	}
	if name == Name {
		if hasDefault {
			return fmt.Errorf("${%s}: every cluster has a name, so it needs no default", variable)
		}
		return nil
	}
	if key, is := strings.CutPrefix(name, Label); is {
		if errs := validation.IsQualifiedName(key); len(errs) > 0 {
			return fmt.Errorf("${%s}: %q cannot be the key of a label: %s", name, key, strings.Join(errs, ", "))
		}
		return nil
	}
	if key, is := strings.CutPrefix(name, Property); is {
		if errs := content.IsDNS1123Subdomain(key); len(errs) > 0 {
			return fmt.Errorf("${%s}: %q cannot be the name of a ClusterProperty: %s", name, key, strings.Join(errs, ", "))
		}
		return nil
	}
	return fmt.Errorf("there is no variable ${%s}: use ${%s}, ${%sKEY} or ${%sNAME}, or write $${%s} for the text itself",
		variable, Name, Label, Property, variable)
}

// checkDefault: a default is text, and short. A variable in it would be one that nobody looks for.
func checkDefault(text string) error {
	if strings.Contains(text, "${") {
		return fmt.Errorf("the default %q has to be text: a variable is not put into it", text)
	}
	if len(text) > maxDefault {
		return fmt.Errorf("the default has %d bytes, at most %d are taken", len(text), maxDefault)
	}
	return nil
}

// Split takes the default off a reference such as cluster.labels.tier:-gold.
func Split(reference string) (name, fallback string, hasDefault bool) {
	return strings.Cut(reference, otherwise)
}

// Guarded is a variable that counts only where a selector is true.
func Guarded(selector, variable string) string { return guard + selector + " " + variable }

// Unguarded takes the selector off a guarded variable. Without one the selector is empty.
func Unguarded(variable string) (selector, inner string) {
	if selector, inner, guarded := cutGuard(variable); guarded {
		return selector, inner
	}
	return "", variable
}

func cutGuard(variable string) (selector, inner string, guarded bool) {
	rest, guarded := strings.CutPrefix(variable, guard)
	if !guarded {
		return "", "", false
	}
	end := closing(rest)
	if end < 0 || end+1 >= len(rest) || rest[end+1] != ' ' {
		return "", "", false
	}
	return rest[:end+1], rest[end+2:], true
}

// closing is where the bracket ends that is opened first.
func closing(text string) int {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// Lacks says in words what a cluster lacks that has no value of a variable, such as: label region.
func Lacks(variable string) string {
	_, variable = Unguarded(variable)
	name, _, _ := strings.Cut(variable, otherwise)
	if key, is := strings.CutPrefix(name, Label); is {
		return "label " + key
	}
	if key, is := strings.CutPrefix(name, Property); is {
		return "property " + key
	}
	return "value of " + name
}
