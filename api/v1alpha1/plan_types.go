package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// PlanPolicy says whether a Package may change what nobody has seen a plan of.
// +kubebuilder:validation:Enum=Optional;Required
type PlanPolicy string

// The policies.
const (
	// PlanOptional: what renders is released. It is the default.
	PlanOptional PlanPolicy = "Optional"
	// PlanRequired: a Release needs a Plan of its very content, and a cluster changes only as a Plan says of it.
	PlanRequired PlanPolicy = "Required"
)

// Plan is what somebody has seen that a change does: which content which cluster would get, and what that would change there.
// `umbel plan --save` makes one. It never changes, and goes with its Package.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=umbel
// +kubebuilder:validation:XValidation:rule="self.spec == oldSelf.spec",message="a Plan never changes: make another one with umbel plan --save"
// +kubebuilder:printcolumn:name="Package",type=string,JSONPath=`.spec.packageRef.name`
// +kubebuilder:printcolumn:name="Clusters",type=integer,JSONPath=`.spec.clusters`
// +kubebuilder:printcolumn:name="Changes",type=string,JSONPath=`.spec.summary`
// +kubebuilder:printcolumn:name="Source",type=string,JSONPath=`.spec.source`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Plan struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what was seen.
	Spec PlanSpec `json:"spec"`
}

// PlanSpec is what was seen.
type PlanSpec struct {
	// packageRef names the Package, in the same namespace.
	PackageRef LocalReference `json:"packageRef"`
	// source says for people what was rendered.
	// +kubebuilder:validation:MaxLength=1024
	Source string `json:"source"`
	// summary says for people what changes.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Summary string `json:"summary,omitempty"`
	// clusters is how many clusters were asked.
	Clusters int32 `json:"clusters"`
	// contents are what clusters would get, each different one once.
	// +listType=map
	// +listMapKey=digest
	// +kubebuilder:validation:MinItems=1
	Contents []PlannedContent `json:"contents"`
}

// PlannedContent is one content, and what it would change.
type PlannedContent struct {
	// digest of the content, as a Release has it.
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	Digest string `json:"digest"`
	// deletes are the objects that it would delete on some of the clusters, as KIND[.GROUP] [NAMESPACE/]NAME.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10000
	// +optional
	Deletes []string `json:"deletes,omitempty"`
	// clusters are those that were asked about it.
	// +listType=atomic
	// +optional
	Clusters []PlannedCluster `json:"clusters,omitempty"`
}

// PlannedCluster is what a content would add and change on one cluster.
type PlannedCluster struct {
	// name of the cluster.
	Name ClusterName `json:"name"`
	// changes is a hash of what would be added and changed there, with every line that differs.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{32}$`
	Changes string `json:"changes"`
}

// PlanList is a list of Plans.
// +kubebuilder:object:root=true
type PlanList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Plan `json:"items"`
}
