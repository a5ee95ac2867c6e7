package render

import "fmt"

// inlineField is the field of a Package in which manifests stand.
const inlineField = "spec.source.inline.objects"

// Inline is the Maker of manifests that stand in a Package itself, each of them JSON. In errors and in statuses the field
// of the Package stands where otherwise the file does.
func Inline(manifests [][]byte) Maker {
	return func(choice Choice) (*Rendered, error) {
		if len(choice.Components) > 0 {
			return nil, fmt.Errorf("component %q of spec.variants has nothing to be added to: objects that stand in the Package are no kustomization", choice.Components[0])
		}
		if err := choice.noChart("what stands in the Package"); err != nil {
			return nil, err
		}
		return inline(manifests)
	}
}

func inline(manifests [][]byte) (*Rendered, error) {
	if len(manifests) == 0 {
		return nil, fmt.Errorf("%s: %w", inlineField, ErrEmpty)
	}
	var found []object
	for i, manifest := range manifests {
		at := place{file: fmt.Sprintf("%s[%d]", inlineField, i)}
		value, err := decode(manifest)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		if value == nil {
			return nil, fmt.Errorf("%s: holds nothing where an object has to be", at)
		}
		objects, err := flatten(at, value)
		if err != nil {
			return nil, err
		}
		found = append(found, objects...)
	}
	if err := refuseHooks(found); err != nil {
		return nil, err
	}
	if err := refuseSealed(found, "and stands in the Package itself, where the API server sorts its fields, so that its MAC cannot be verified: put it into a source"); err != nil {
		return nil, err
	}
	return collect("", found)
}
