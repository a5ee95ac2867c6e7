package bundle

import (
	"bytes"
	"encoding/json"
	"errors"

	"umbel.dev/umbel/api/v1alpha1"
)

// Label puts a Package's label on an object, as an agent sends it to its API server, and says whether the object asks for its
// fields to be taken over.
func Label(raw []byte, key v1alpha1.PackageKey) (_ []byte, takeOver bool, err error) {
	var o map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // numbers pass through as they were written
	if err := dec.Decode(&o); err != nil {
		return nil, false, err
	}
	metadata, ok := o["metadata"].(map[string]any)
	if !ok {
		return nil, false, errors.New("metadata is not an object")
	}
	labels, ok := metadata["labels"].(map[string]any)
	if !ok {
		labels = map[string]any{}
		metadata["labels"] = labels
	}
	labels[v1alpha1.PackageLabel] = key.LabelValue()
	annotations, _ := metadata["annotations"].(map[string]any)
	body, err := json.Marshal(o)
	return body, annotations[v1alpha1.TakeOverAnnotation] == "true", err
}
