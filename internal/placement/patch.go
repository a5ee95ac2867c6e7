package placement

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// mostEdits is how many names of a list are written one by one; of more the list is written.
const mostEdits = 100

// operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// patchOf returns the JSON patch that makes a Placement's status say an outcome; nil when it does already. It changes this
// version alone. Of ten thousand names those are in it that came, by their places, and the places of those that left.
func patchOf(placement *v1alpha1.Placement, o outcome) ([]byte, error) {
	before, after := &placement.Status, &o.status
	ops := append(make([]operation, 0, 8), operation{"replace", "/metadata/resourceVersion", placement.ResourceVersion})
	if before.ObservedGeneration == 0 && len(before.Conditions) == 0 { // nobody wrote it, so that there may be none
		whole := *after
		whole.Clusters = o.clusters()
		ops = append(ops, operation{"add", "/status", whole})
	} else {
		ops = fields(ops, before, after)
		ops = append(ops, names(before.Clusters, o)...)
	}
	if len(ops) == 1 { // nothing but the version
		return nil, nil
	}
	data, err := json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("encoding a status: %w", err)
	}
	return data, nil
}

// fields writes what differs beside the clusters.
func fields(ops []operation, before, after *v1alpha1.PlacementStatus) []operation {
	if before.ObservedGeneration != after.ObservedGeneration {
		ops = append(ops, operation{"add", "/status/observedGeneration", after.ObservedGeneration})
	}
	if before.Selected != after.Selected {
		ops = append(ops, operation{"add", "/status/selected", after.Selected})
	}
	ops = said(ops, before.Conditions, after.Conditions)
	if !slices.Equal(before.Undecided, after.Undecided) {
		ops = append(ops, list("/status/undecided", after.Undecided))
	}
	if !slices.EqualFunc(before.Leaving, after.Leaving, sameLeaving) {
		ops = append(ops, list("/status/leaving", after.Leaving))
	}
	return ops
}

// said writes the conditions that differ: of one that says the same in other words the words.
func said(ops []operation, before, after []metav1.Condition) []operation {
	const path = "/status/conditions"
	if !slices.EqualFunc(before, after, sameButWords) {
		return append(ops, operation{"add", path, after})
	}
	for i := range after {
		if message := after[i].Message; message != before[i].Message {
			ops = append(ops, operation{"replace", path + "/" + strconv.Itoa(i) + "/message", message})
		}
	}
	return ops
}

func sameButWords(a, b metav1.Condition) bool {
	return a.Type == b.Type && a.Status == b.Status && a.Reason == b.Reason && a.ObservedGeneration == b.ObservedGeneration &&
		a.LastTransitionTime.Equal(&b.LastTransitionTime)
}

func sameLeaving(a, b v1alpha1.Leaving) bool {
	return a.Because == b.Because && a.Since.Equal(&b.Since) && a.Until.Equal(&b.Until) && slices.Equal(a.Clusters, b.Clusters)
}

// list writes a list that differs. One that becomes empty was there.
func list[T any](path string, items []T) operation {
	if len(items) == 0 {
		return operation{Op: "remove", Path: path}
	}
	return operation{"add", path, items}
}

// names writes who came and who left.
func names(before []v1alpha1.ClusterName, o outcome) (ops []operation) {
	const path = "/status/clusters"
	switch changes := len(o.Came) + len(o.Left); {
	case changes == 0:
		return nil
	case len(before) == 0 || len(before) == len(o.Left) || changes > mostEdits:
		return []operation{list(path, o.clusters())}
	}
	for _, name := range slices.Backward(o.Left) { // the last first: the places before it stay
		at, _ := slices.BinarySearch(before, name)
		ops = append(ops, operation{Op: "remove", Path: fmt.Sprintf("%s/%d", path, at)})
	}
	for i, name := range o.Came {
		at, _ := slices.BinarySearch(before, name)
		gone, _ := slices.BinarySearch(o.Left, name)
		ops = append(ops, operation{"add", fmt.Sprintf("%s/%d", path, at-gone+i), name})
	}
	return ops
}
