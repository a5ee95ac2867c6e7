package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// PackageVariant is what is different for the clusters that a selector names. What several variants say of one cluster is
// put together in their order: components are added, and of variables the last one counts.
// +kubebuilder:validation:XValidation:rule="has(self.kustomize) || has(self.helm) || has(self.variables)",message="a variant says nothing: give it kustomize, helm or variables"
type PackageVariant struct {
	// clusterSelector names the clusters by their labels. Without one, or with an empty one, it is all of them.
	// +optional
	ClusterSelector *metav1.LabelSelector `json:"clusterSelector,omitempty"`
	// kustomize is what is added to the kustomization at the path of the source.
	// +optional
	Kustomize *KustomizeVariant `json:"kustomize,omitempty"`
	// helm is what is different where the source is a chart.
	// +optional
	Helm *HelmVariant `json:"helm,omitempty"`
	// variables are the values of ${package.variables.NAME}: texts, numbers or booleans. A field that is nothing but
	// the variable becomes what the value is, so that `replicas: ${package.variables.replicas}` is a number when the
	// value is one. A name is a letter, then letters, digits, '-' and '_'.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	Variables map[string]runtime.RawExtension `json:"variables,omitempty"`
}

// KustomizeVariant is what is added to a kustomization.
type KustomizeVariant struct {
	// components are folders with a kustomize component, relative to the kustomization, such as ../components/tls. They
	// come after those that it names itself.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('/')",message="a component is a path relative to the kustomization"
	Components []string `json:"components"`
}
