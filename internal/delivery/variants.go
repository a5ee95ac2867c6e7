package delivery

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/delivery/variable"
)

// ofPackage begins the variables that the variants of a Package give.
const ofPackage = "package.variables."

// Inputs is the SHA-256, in hex, of what variants say; empty when there are none.
func Inputs(variants []v1alpha1.PackageVariant) (string, error) {
	if len(variants) == 0 {
		return "", nil
	}
	content, err := json.Marshal(variants)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), nil
}

// variantsOf reads the variants of a Package. Its errors name the field.
func variantsOf(given []v1alpha1.PackageVariant) ([]render.Variant, error) {
	var variants []render.Variant
	for i, v := range given {
		field := fmt.Sprintf("spec.variants[%d]", i)
		var variant render.Variant
		if v.ClusterSelector != nil {
			selector, err := variable.Matching(v.ClusterSelector)
			if err != nil && !errors.Is(err, variable.ErrSelectsAll) {
				return nil, fmt.Errorf("%s.clusterSelector: %w", field, err)
			}
			variant.Selector = selector
		}
		if v.Kustomize != nil {
			variant.Components = v.Kustomize.Components
		}
		if v.Helm != nil {
			variant.Values = []render.Values{{From: field + ".helm.values", Document: v.Helm.Values.Raw}}
		}
		variant.Variables = map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(v.Variables)) {
			if err := render.CheckName(name); err != nil {
				return nil, fmt.Errorf("%s.variables: %w", field, err)
			}
			value, err := render.Scalar(v.Variables[name].Raw)
			if err != nil {
				return nil, fmt.Errorf("%s.variables.%s: %w", field, name, err)
			}
			variant.Variables[name] = value
		}
		variants = append(variants, variant)
	}
	return variants, nil
}

// lackingFor says which clusters of a class get no content because of an error that concerns nobody else.
func lackingFor(class decide.Class, err error) []decide.Missing {
	var lacks string
	if unset, ok := errors.AsType[*render.UnsetError](err); ok {
		lacks = ofPackage + unset.Name
	} else if !errors.Is(err, render.ErrNothing) {
		return nil
	}
	var missing []decide.Missing
	for _, cluster := range class.Clusters {
		missing = append(missing, decide.Missing{Cluster: cluster, Variable: lacks})
	}
	return missing
}
