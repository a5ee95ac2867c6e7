package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Release is one rendered version of a Package. It never changes. Its content is in the OCI registry, by digest.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=rel,categories=umbel
// +kubebuilder:validation:XValidation:rule="self.spec == oldSelf.spec",message="a Release never changes; a new version of the Package makes a new one"
// +kubebuilder:printcolumn:name="Package",type=string,JSONPath=`.spec.packageRef.name`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.spec.revision`
// +kubebuilder:printcolumn:name="Objects",type=integer,JSONPath=`.spec.variants[0].objects`
// +kubebuilder:printcolumn:name="Verified",type=string,JSONPath=`.metadata.annotations.umbel\.dev/verified`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Release struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what was rendered, and from what.
	Spec ReleaseSpec `json:"spec"`
}

// ReleaseSpec is what was rendered, and from what.
type ReleaseSpec struct {
	// packageRef names the Package, in the same namespace.
	PackageRef LocalReference `json:"packageRef"`
	// source is the source as it was when this was rendered.
	Source Source `json:"source"`
	// revision is the source revision, such as a Git commit.
	// +kubebuilder:validation:MinLength=1
	Revision string `json:"revision"`
	// inputs is the SHA-256, in hex, of what the Package's variants said when this was rendered; empty without variants.
	// +optional
	Inputs string `json:"inputs,omitempty"`
	// remoteBases are the repositories beside the source that kustomizations might refer to, each at its commit.
	// +listType=atomic
	// +optional
	RemoteBases []ReleasedBase `json:"remoteBases,omitempty"`
	// repository is where the content is stored: the OCI repository's name, without the registry's address.
	// +kubebuilder:validation:MinLength=1
	Repository string `json:"repository"`
	// variables are what clusters differ by, sorted: the variables that the manifests refer to, such as cluster.name or
	// cluster.labels.region, and the selectors of objects and variants, such as cluster.matches(env=prod), which are
	// true or false. Clusters with the same values get the same content.
	// +listType=atomic
	// +optional
	Variables []string `json:"variables,omitempty"`
	// leftOut names what the source has and is not delivered, and why, such as hooks of a Helm chart that are for a deletion.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	// +optional
	LeftOut []string `json:"leftOut,omitempty"`
	// variants are the contents, one for each combination of values that a selected cluster had.
	// +kubebuilder:validation:MinItems=1
	// +listType=atomic
	Variants []Variant `json:"variants"`
	// against names the Release before, to which changes and deletes compare this one; empty for the first.
	// +optional
	Against string `json:"against,omitempty"`
	// deletes names objects that are in that one and not in this one, as KIND[.GROUP] [NAMESPACE/]NAME; at most ten.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Deletes []string `json:"deletes,omitempty"`
}

// Variant is the content for the clusters that have the same values.
type Variant struct {
	// values of the Release's variables, in the same order.
	// +listType=atomic
	// +optional
	Values []string `json:"values,omitempty"`
	// digest of the content, as sha256:….
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	Digest string `json:"digest"`
	// size of the content in bytes.
	Size int64 `json:"size"`
	// objects is how many objects it holds.
	Objects int32 `json:"objects"`
	// changes is what the clusters that get this content will see, compared to what they had in the Release before; where they
	// had different contents, compared to the one of which most objects go. Absent when that is not known.
	// +optional
	Changes *Changes `json:"changes,omitempty"`
}

// Changes counts the objects by what a Release does to them. What a cluster holds in truth may be something else: its agent
// counts again before it deletes.
type Changes struct {
	// added is how many objects are new.
	Added int32 `json:"added"`
	// changed is how many differ.
	Changed int32 `json:"changed"`
	// deleted is how many go.
	Deleted int32 `json:"deleted"`
	// protected is how many of these are Namespaces, CustomResourceDefinitions and PersistentVolumeClaims.
	// +optional
	Protected int32 `json:"protected,omitempty"`
}

// ReleaseList is a list of Releases.
// +kubebuilder:object:root=true
type ReleaseList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Release `json:"items"`
}
