package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Placement names clusters by their labels. Packages refer to it; several may share one.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=pl,categories=umbel
// +kubebuilder:printcolumn:name="Selected",type=integer,JSONPath=`.status.selected`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Placement struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says which clusters are meant.
	Spec PlacementSpec `json:"spec"`
	// status says which clusters those are now.
	// +optional
	Status PlacementStatus `json:"status,omitempty"`
}

// PlacementSpec says which clusters are meant.
type PlacementSpec struct {
	// clusterSelector selects MemberClusters by label. It has to be given; an empty one ({}) selects every cluster.
	ClusterSelector metav1.LabelSelector `json:"clusterSelector"`
}

// PlacementStatus says which clusters a Placement selects.
type PlacementStatus struct {
	// observedGeneration is the generation of the spec that clusters was decided from.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Decided, and Ready computed from it.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// selected is the number of clusters.
	// +optional
	Selected int32 `json:"selected"`
	// clusters are the names of the selected MemberClusters, sorted.
	// +listType=set
	// +optional
	Clusters []ClusterName `json:"clusters,omitempty"`
}

// PlacementList is a list of Placements.
// +kubebuilder:object:root=true
type PlacementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Placement `json:"items"`
}
