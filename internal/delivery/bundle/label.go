package bundle

import (
	"bytes"
	"encoding/json"
	"errors"

	"umbel.dev/umbel/api/v1alpha1"
)

// Label puts a Package's label on an object, as an agent sends it to its API server, and returns its annotations, by which the
// object may ask for something.
func Label(raw []byte, key v1alpha1.PackageKey) (body []byte, annotations map[string]any, err error) {
	var o map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // numbers pass through as they were written
	if err := dec.Decode(&o); err != nil {
		return nil, nil, err
	}
	metadata, ok := o["metadata"].(map[string]any)
	if !ok {
		return nil, nil, errors.New("metadata is not an object")
	}
	labels, ok := metadata["labels"].(map[string]any)
	if !ok {
		labels = map[string]any{}
		metadata["labels"] = labels
	}
	labels[v1alpha1.PackageLabel] = key.LabelValue()
	annotations, _ = metadata["annotations"].(map[string]any)
	body, err = json.Marshal(o)
	return body, annotations, err
}
