package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"umbel.dev/umbel/internal/delivery/asks"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// asking are parts of the annotations with which an object asks for something: one that has none of them is not read for it.
var asking = [][]byte{[]byte("umbel.dev/d"), []byte("config.kubernetes.io/depends-on"), []byte("client.lifecycle.config.k8s.io/mutation")}

// orders finds what objects ask of the agents by their annotations and nobody can do: an order among them that goes round, or
// names what is not there.
func orders(objects []object) error {
	var errs problems
	wishes, places := map[bundle.Key]asks.Asks{}, map[bundle.Key]place{}
	for _, o := range objects {
		if !slices.ContainsFunc(asking, func(part []byte) bool { return bytes.Contains(o.raw, part) }) {
			continue
		}
		var read struct {
			Metadata struct {
				Annotations map[string]any `json:"annotations"`
			} `json:"metadata"`
		}
		if err := json.Unmarshal(o.raw, &read); err != nil {
			errs.add(fmt.Errorf("%s: %s: %w", o.place, o.id, err))
			continue
		}
		wants, err := asks.Of(read.Metadata.Annotations)
		if err != nil {
			errs.add(fmt.Errorf("%s: %s: metadata.annotations: %w", o.place, o.id, err))
			continue
		}
		if len(wants.DependsOn) > 0 {
			wishes[o.id.Key()], places[o.id.Key()] = wants, o.place
		}
	}
	if len(wishes) == 0 {
		return errs.err()
	}
	there := make(map[bundle.Key]bool, len(objects))
	for _, o := range objects {
		there[o.id.Key()] = true
	}
	_, wrong := asks.Arrange(wishes, func(key bundle.Key) bool { return there[key] })
	for _, key := range slices.SortedFunc(maps.Keys(wrong), bundle.Key.Compare) {
		errs.add(fmt.Errorf("%s: %s: %w", places[key], key, wrong[key]))
	}
	return errs.err()
}
