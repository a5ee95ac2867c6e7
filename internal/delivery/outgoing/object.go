package outgoing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/asks"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/sealed"
)

// Object is an object of a package as it is sent.
type Object struct {
	ID bundle.ID
	// File is where it stands in the source.
	File string
	// Body is the bytes that are sent, but that values of one that is Sealed are encrypted.
	Body []byte
	// Sealed: values came encrypted. They are from Files, or are files themselves.
	Sealed bool
	Files  []string
	// TakeOver: fields that others own are taken.
	TakeOver bool
	Asks     asks.Asks
	// Wrong says why it cannot be sent; the others of its package are not to suffer from that.
	Wrong error
}

// Of returns an object of a bundle as it is sent for a package.
func Of(key v1alpha1.PackageKey, item bundle.Item) (Object, error) {
	o := Object{ID: item.ID, File: item.File}
	rest, files, isSealed, wrong := sealed.Split(item.Object)
	if wrong != nil {
		rest = item.Object
	}
	o.Sealed, o.Files = isSealed, files
	var fields map[string]any
	decoder := json.NewDecoder(bytes.NewReader(rest))
	decoder.UseNumber() // numbers pass through as they were written
	if err := decoder.Decode(&fields); err != nil {
		return o, fmt.Errorf("%s in %s: %w", o.ID, o.File, err)
	}
	o.Wrong = errors.Join(wrong, sealed.Fold(fields))
	metadata, is := fields["metadata"].(map[string]any)
	if !is {
		return o, fmt.Errorf("%s in %s: metadata is not an object", o.ID, o.File)
	}
	labels, is := metadata["labels"].(map[string]any)
	if !is {
		labels = map[string]any{}
		metadata["labels"] = labels
	}
	labels[v1alpha1.PackageLabel] = key.LabelValue()
	annotations, _ := metadata["annotations"].(map[string]any)
	o.TakeOver = annotations[v1alpha1.TakeOverAnnotation] == "true"
	if o.Asks, wrong = asks.Of(annotations); wrong != nil {
		o.Wrong = errors.Join(o.Wrong, wrong)
	}
	var err error
	if o.Body, err = json.Marshal(fields); err != nil {
		return o, fmt.Errorf("%s in %s: %w", o.ID, o.File, err)
	}
	return o, nil
}

// All returns the rendered objects of a package as they are sent.
func All(key v1alpha1.PackageKey, entries []bundle.Entry) ([]Object, error) {
	objects := make([]Object, len(entries))
	wishes, at := map[bundle.Key]asks.Asks{}, make(map[bundle.Key]int, len(entries))
	for i, entry := range entries {
		id, err := bundle.Identify(entry.Object)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", entry.File, err)
		}
		if objects[i], err = Of(key, bundle.Item{Entry: entry, ID: id}); err != nil {
			return nil, err
		}
		if at[id.Key()] = i; len(objects[i].Asks.DependsOn) > 0 {
			wishes[id.Key()] = objects[i].Asks
		}
	}
	_, wrong := asks.Arrange(wishes, func(key bundle.Key) bool { _, there := at[key]; return there })
	for key, err := range wrong {
		objects[at[key]].Wrong = errors.Join(objects[at[key]].Wrong, err)
	}
	return objects, nil
}
