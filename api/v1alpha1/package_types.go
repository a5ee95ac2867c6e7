package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Package is configuration that clusters are to hold: a source, and the clusters that get it. Each version of it
// that renders becomes a Release.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=pkg,categories=umbel
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63",message="the name of a Package is a DNS label: lower case letters, digits and '-', at most 63 characters"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Clusters",type=string,JSONPath=`.status.clusters.summary`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.revision`
// +kubebuilder:printcolumn:name="Placement",type=string,JSONPath=`.spec.placementRef.name`,priority=1
// +kubebuilder:printcolumn:name="Path",type=string,JSONPath=`.spec.source.git.path`,priority=1
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Package struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says what is delivered, and where.
	Spec PackageSpec `json:"spec"`
	// status says how far that is.
	// +optional
	Status PackageStatus `json:"status,omitempty"`
}

// PackageSpec says what is delivered, and where.
// +kubebuilder:validation:XValidation:rule="!has(self.helm) || !has(self.source.inline)",fieldPath=".helm",message="manifests that stand in the Package are no chart: source has to be helm, git or oci"
// +kubebuilder:validation:XValidation:rule="!has(self.kustomize) || has(self.source.git) || has(self.source.oci)",fieldPath=".kustomize",message="only a folder has kustomizations: source has to be git or oci"
// +kubebuilder:validation:XValidation:rule="!has(self.kustomize) || !has(self.helm)",fieldPath=".kustomize",message="a folder is a chart or a kustomization: helm and kustomize exclude each other"
// +kubebuilder:validation:XValidation:rule="!has(self.kustomize) || !has(self.kustomize.remoteBases) || !((has(self.source.git) && has(self.source.git.verify)) || (has(self.source.oci) && has(self.source.oci.verify))) || self.kustomize.remoteBases.all(b, b.ref.matches('^[0-9a-f]{40}$'))",fieldPath=".kustomize.remoteBases",message="the source has to be signed (verify), and nobody signs what a tag of another repository is at: name the full hash of a commit in ref"
// +kubebuilder:validation:XValidation:rule="!has(self.source.inline) || (has(self.source.inline.objects) && size(self.source.inline.objects) > 0)",fieldPath=".source.inline",message="objects is empty: a Package never becomes empty by accident; to take its objects away, delete the Package"
type PackageSpec struct {
	// source is where the manifests come from.
	Source Source `json:"source"`
	// variants are what is different for some of the clusters.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Variants []PackageVariant `json:"variants,omitempty"`
	// helm says how a chart is rendered, where the source is one.
	// +optional
	Helm *HelmOptions `json:"helm,omitempty"`
	// kustomize says how kustomizations of the source are built.
	// +optional
	Kustomize *KustomizeOptions `json:"kustomize,omitempty"`
	// placementRef names the Placement, in the same namespace, that says which clusters get the Package.
	PlacementRef LocalReference `json:"placementRef"`
	// plan says whether a change waits until somebody has saved a Plan of it. The default is that it does not.
	// +optional
	Plan PlanPolicy `json:"plan,omitempty"`
	// deletes says what may be deleted without a word. Absent, the defaults hold.
	// +optional
	Deletes *PackageDeletes `json:"deletes,omitempty"`
	// rollout is how the clusters get to a new release: stage by stage, and no further when one fails. Without it all get it
	// at once. A change of it is for the next release.
	// +optional
	Rollout *RolloutStrategy `json:"rollout,omitempty"`
	// drift says what is done when somebody else changes what the Package holds on a member. The default is to put it back.
	// +optional
	Drift *DriftSpec `json:"drift,omitempty"`
	// health says of kinds, in CEL, when their objects are healthy. Other kinds are judged by kstatus.
	// +listType=map
	// +listMapKey=group
	// +listMapKey=kind
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Health []HealthRule `json:"health,omitempty"`
	// dependsOn are Packages that have to be healthy before a cluster gets this one, or a new release of it.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +optional
	DependsOn []PackageDependency `json:"dependsOn,omitempty"`
}

// LocalReference names an object in the same namespace.
type LocalReference struct {
	// name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Source is where manifests come from.
// +kubebuilder:validation:XValidation:rule="(has(self.git) ? 1 : 0) + (has(self.oci) ? 1 : 0) + (has(self.helm) ? 1 : 0) + (has(self.inline) ? 1 : 0) == 1",message="exactly one source has to be given: git, oci, helm or inline"
type Source struct {
	// git reads manifests from a folder of a Git repository.
	// +optional
	Git *GitSource `json:"git,omitempty"`
	// oci reads manifests from an artifact in an OCI registry.
	// +optional
	OCI *OCISource `json:"oci,omitempty"`
	// helm reads a chart from a repository of Helm charts.
	// +optional
	Helm *HelmSource `json:"helm,omitempty"`
	// inline is manifests that stand in the Package itself.
	// +optional
	Inline *InlineSource `json:"inline,omitempty"`
}

// InlineSource is manifests that stand in the Package itself. The source of a Release says inline and leaves the objects
// out: they are in its content.
type InlineSource struct {
	// objects are what clusters are to hold, each of them a whole manifest with a name. All of a Package has to fit into one
	// request to the API and one value of etcd, 1.5 MiB: what is larger belongs into a repository.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +optional
	Objects []InlineObject `json:"objects,omitempty"`
}

// PackageStatus says how far a Package is.
type PackageStatus struct {
	// observedGeneration is the generation of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Fetched, Verified where the source asks for it, Rendered, Placed, Delivered, and Ready computed from them.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// release is the name of the current Release: the newest revision that rendered.
	// +optional
	Release string `json:"release,omitempty"`
	// revision is the source revision of that Release.
	// +optional
	Revision string `json:"revision,omitempty"`
	// verified is the newest revision that was verified, where the source says by whom it has to be signed.
	// +optional
	Verified *Verified `json:"verified,omitempty"`
	// actsAs is the ServiceAccount of the clusters, as NAMESPACE/NAME, that the Package acts as there; empty for the platform's,
	// which act as the agent. Its Namespace says so.
	// +optional
	ActsAs string `json:"actsAs,omitempty"`
	// clusters counts the selected clusters by state.
	// +optional
	Clusters ClusterCounts `json:"clusters,omitempty"`
	// changes is what the current Release does compared to the one before, from the hub's knowledge: of the variant that deletes
	// most. Absent when that is not known.
	// +optional
	Changes *PackageChanges `json:"changes,omitempty"`
}

// PackageChanges is what a Release does to the clusters that get it.
type PackageChanges struct {
	Changes `json:",inline"`
	// against names the Release before.
	Against string `json:"against"`
	// overBudget says that at least one variant deletes more than the budget allows, and nobody has approved it for every
	// cluster: agents will apply the Release and hold its deletes back.
	// +optional
	OverBudget bool `json:"overBudget,omitempty"`
}

// ClusterCounts counts the clusters of a Package by state. Every selected cluster is in exactly one of ready,
// progressing, failing and unknown.
type ClusterCounts struct {
	// summary is READY/SELECTED, for tables.
	// +optional
	Summary string `json:"summary,omitempty"`
	// selected is how many clusters should hold the Package.
	Selected int32 `json:"selected"`
	// ready is how many hold the current Release with every object healthy.
	Ready int32 `json:"ready"`
	// progressing is how many are on their way to it.
	Progressing int32 `json:"progressing"`
	// failing is how many report a failure.
	Failing int32 `json:"failing"`
	// unknown is how many are not connected, so that their last word may be out of date.
	Unknown int32 `json:"unknown"`
	// removing is how many are not selected any more and still hold objects of it.
	// +optional
	Removing int32 `json:"removing,omitempty"`
}

// PackageList is a list of Packages.
// +kubebuilder:object:root=true
type PackageList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Package `json:"items"`
}
