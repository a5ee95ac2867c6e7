package v1alpha1

// HistoryEntry is one thing that happened to an object of a Package on a member, as its agent wrote it down: what somebody else changed
// or deleted, or what a release deleted. It is no object of the API: the hub asks the agent for it.
// +kubebuilder:object:generate=false
type HistoryEntry struct {
	// ID tells an entry from the others of its member; later ones have higher ones, whatever the clock says. An entry that comes from a
	// status has none.
	ID int64 `json:"id,omitempty"`
	// Package is whose the object is.
	Package PackageKey `json:"package"`
	Drift   `json:",inline"`
	// Release, Cause and Deletion are of what a release deleted (HistoryPruned): which one, why it was allowed to, and under which
	// name `umbel undo` brings it back.
	Release  string        `json:"release,omitempty"`
	Cause    DeletionCause `json:"cause,omitempty"`
	Deletion string        `json:"deletion,omitempty"`
}

// HistoryPruned is the action of an entry that is no drift: a release does not have the object any more, or the Package does not
// belong on the member, so the agent deleted it.
const HistoryPruned DriftAction = "Pruned"
