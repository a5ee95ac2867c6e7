package outgoing

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// Fate is what becomes of an object that leaves its package.
type Fate int

const (
	// Deleted: it goes.
	Deleted Fate = iota
	// LetGo: it stays, without what we added.
	LetGo
	// Kept: it stays as it is, and is nobody's.
	Kept
)

// FateOf says what becomes of an object; adopted says that it was there before us, and word is what it says of that itself.
func FateOf(adopted bool, word string) Fate {
	switch {
	case word == v1alpha1.LeavingKeep:
		return Kept
	case word == v1alpha1.LeavingDelete || !adopted:
		return Deleted
	}
	return LetGo
}

// Nothing is what is sent to take off an object what we alone added to it: who it is, and nothing else.
func Nothing(apiVersion string, key bundle.Key, uid types.UID) ([]byte, error) {
	metadata := map[string]any{"name": key.Name, "uid": uid}
	if key.Namespace != "" {
		metadata["namespace"] = key.Namespace
	}
	return json.Marshal(map[string]any{"apiVersion": apiVersion, "kind": key.Kind, "metadata": metadata})
}

// Notes are the labels that Umbel puts on an object, and takes off with its name.
var Notes = []string{v1alpha1.PackageLabel, v1alpha1.OnLeavingLabel, v1alpha1.AdoptedFromLabel}
