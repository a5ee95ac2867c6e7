package v1alpha1

import (
	"encoding/json"
	"slices"
)

// InlineObject is one manifest that stands in a Package. What every manifest has is described here, so that the API
// refuses what lacks it; the rest of it is kept as it is.
// +kubebuilder:pruning:PreserveUnknownFields
type InlineObject struct {
	// apiVersion of the object: VERSION or GROUP/VERSION.
	// +kubebuilder:validation:MinLength=1
	APIVersion string `json:"apiVersion"`
	// kind of the object.
	// +kubebuilder:validation:MinLength=1
	Kind string `json:"kind"`
	// metadata of the object.
	Metadata InlineMetadata `json:"metadata"`

	// Raw is the whole manifest as JSON, with the fields above. It alone counts when an InlineObject is written.
	Raw []byte `json:"-"`
}

// InlineMetadata is what is looked at of a manifest's metadata.
// +kubebuilder:pruning:PreserveUnknownFields
type InlineMetadata struct {
	// name of the object.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// namespace of the object.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// labels of the object.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// annotations of the object.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Inline returns the manifest of an object that can be written as JSON.
func Inline(object any) (InlineObject, error) {
	raw, err := json.Marshal(object)
	if err != nil {
		return InlineObject{}, err
	}
	var inline InlineObject
	err = json.Unmarshal(raw, &inline)
	return inline, err
}

// MarshalJSON writes the whole manifest.
func (o InlineObject) MarshalJSON() ([]byte, error) {
	if o.Raw != nil {
		return o.Raw, nil
	}
	type fields InlineObject
	return json.Marshal(fields(o))
}

// UnmarshalJSON keeps the whole manifest.
func (o *InlineObject) UnmarshalJSON(raw []byte) error {
	type fields InlineObject
	*o = InlineObject{}
	if err := json.Unmarshal(raw, (*fields)(o)); err != nil {
		return err
	}
	o.Raw = slices.Clone(raw)
	return nil
}
