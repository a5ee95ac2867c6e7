package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"

	"umbel.dev/umbel/internal/delivery/bundle"
)

// serverFields of metadata are written by a server and mean nothing in a source.
var serverFields = []string{
	"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields",
	"resourceVersion", "selfLink", "uid",
}

// check finds what no API server would take, or would take as something else than was meant, and drops what only a
// server writes.
func check(o object) error {
	if err := checkType(o); err != nil {
		return err
	}
	metadata, ok := o.fields["metadata"].(map[string]any)
	if !ok {
		return wrong(o, "metadata", "is %s, has to be a map with a name", describe(o.fields["metadata"]))
	}
	for _, field := range serverFields {
		delete(metadata, field)
	}
	delete(o.fields, "status")
	if _, generated := metadata["generateName"]; generated {
		return wrong(o, "metadata.generateName", "an object that is delivered needs a name of its own: set metadata.name instead")
	}
	if _, owned := metadata["ownerReferences"]; owned {
		return wrong(o, "metadata.ownerReferences", "an owner is known by an identity that only one cluster has: remove the field")
	}
	if err := checkName(o, metadata, "name"); err != nil {
		return err
	}
	if _, given := metadata["namespace"]; given {
		if err := checkName(o, metadata, "namespace"); err != nil {
			return err
		}
	}
	for _, field := range []string{"labels", "annotations"} {
		if err := checkStrings(o, metadata, field); err != nil {
			return err
		}
	}
	return nil
}

func checkType(o object) error {
	for _, field := range []string{"apiVersion", "kind"} {
		value, given := o.fields[field]
		if !given {
			if strings.HasPrefix(o.place.file, inlineField) {
				return fmt.Errorf("%s: %s is missing: it has to be a Kubernetes manifest", o.place, field)
			}
			return fmt.Errorf("%s: %s is missing: below the path of a Package every .yaml, .yml and .json file has to be a Kubernetes manifest", o.place, field)
		}
		if text, ok := value.(string); !ok || text == "" {
			return wrong(o, field, "is %s, has to be a string that is not empty", describe(value))
		}
	}
	if strings.Count(o.fields["apiVersion"].(string), "/") > 1 {
		return wrong(o, "apiVersion", "%q has to be VERSION or GROUP/VERSION", o.fields["apiVersion"])
	}
	if refersTo(o.fields["apiVersion"].(string)) || refersTo(o.fields["kind"].(string)) {
		return wrong(o, "kind", "variables are not put into apiVersion and kind")
	}
	return nil
}

// checkName checks a name, which may still have variables in it.
func checkName(o object, metadata map[string]any, field string) error {
	value, given := metadata[field]
	if !given {
		return wrong(o, "metadata."+field, "is missing")
	}
	text, ok := value.(string)
	if !ok {
		return wrong(o, "metadata."+field, "is %s, has to be a string: put it in quotes", describe(value))
	}
	if text == "" {
		return wrong(o, "metadata."+field, "is empty")
	}
	if refersTo(text) {
		return nil
	}
	if errs := content.IsPathSegmentName(text); len(errs) > 0 {
		return wrong(o, "metadata."+field, "%q is not valid: %s", text, strings.Join(errs, ", "))
	}
	return nil
}

// checkStrings checks a map of strings. `version: 1.10` in labels is a number to YAML, and the classic mistake.
func checkStrings(o object, metadata map[string]any, field string) error {
	value, given := metadata[field]
	if !given {
		return nil
	}
	if value == nil {
		delete(metadata, field)
		return nil
	}
	entries, ok := value.(map[string]any)
	if !ok {
		return wrong(o, "metadata."+field, "is %s, has to be a map of strings", describe(value))
	}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		if _, ok := entries[key].(string); !ok {
			return wrong(o, "metadata."+field+"."+key, "is %s, has to be a string: put it in quotes", describe(entries[key]))
		}
	}
	return nil
}

// wrong is an error about a field of an object.
func wrong(o object, field, format string, args ...any) error {
	return fmt.Errorf("%s: %s: %s: "+format, append([]any{o.place, identify(o.fields), field}, args...)...)
}

// identify says who an object is, as far as it does.
func identify(fields map[string]any) bundle.ID {
	metadata, _ := fields["metadata"].(map[string]any)
	text := func(m map[string]any, key string) string {
		s, _ := m[key].(string)
		return s
	}
	return bundle.ID{
		APIVersion: text(fields, "apiVersion"), Kind: text(fields, "kind"),
		Namespace: text(metadata, "namespace"), Name: text(metadata, "name"),
	}
}
