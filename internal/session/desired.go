package session

import (
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// DesiredSet is what the hub knows that one member is to hold. A package that is in neither field is unknown: the
// member keeps it as it is. A package that is in both is assigned.
type DesiredSet struct {
	// Assign are the packages that the member is to hold. The messages are shared and never written to.
	Assign map[v1alpha1.PackageKey]*wire.Assignment
	// Remove are the packages whose objects the member is to prune. Only a decision puts a name here, never the
	// absence of one. It may name packages that the member does not hold.
	Remove []v1alpha1.PackageKey
	// Undo names deletions of the agent's journal that are to be undone. Each is told once in a session: the agent keeps it.
	Undo []string
}
