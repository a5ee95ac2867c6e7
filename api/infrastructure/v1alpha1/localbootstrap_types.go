package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// LocalBootstrap tells a LocalMachine which cluster it joins. In the words of Cluster API it is a BootstrapConfig. A machine of
// this computer is given its certificate by the provider, which has the cluster's CA; so there is no token to hand over, and the
// Secret that the contract asks for holds nothing secret.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels="cluster.x-k8s.io/v1beta2=v1alpha1"
// +kubebuilder:resource:categories=cluster-api
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.metadata.labels.cluster\.x-k8s\.io/cluster-name`
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=`.status.dataSecretName`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type LocalBootstrap struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says nothing.
	// +optional
	Spec LocalBootstrapSpec `json:"spec,omitempty"`
	// status says where the data is.
	// +optional
	Status LocalBootstrapStatus `json:"status,omitempty"`
}

// LocalBootstrapSpec is empty: labels and taints of Nodes are Cluster API's to give.
type LocalBootstrapSpec struct{}

// LocalBootstrapStatus says where the data is.
// +kubebuilder:validation:MinProperties=1
type LocalBootstrapStatus struct {
	// initialization is what Cluster API waits for.
	// +optional
	Initialization *BootstrapInitialization `json:"initialization,omitempty"`
	// dataSecretName is the Secret with the data.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	DataSecretName string `json:"dataSecretName,omitempty"`
	// conditions: Ready, Paused.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BootstrapInitialization is what Cluster API waits for of a BootstrapConfig.
type BootstrapInitialization struct {
	// dataSecretCreated says that the Secret is there. It never becomes false again.
	// +optional
	DataSecretCreated *bool `json:"dataSecretCreated,omitempty"`
}

// LocalBootstrapList is a list of LocalBootstraps.
//
// +kubebuilder:object:root=true
type LocalBootstrapList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []LocalBootstrap `json:"items"`
}

// LocalBootstrapTemplate is what LocalBootstraps are made of. A ClusterClass names it.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels="cluster.x-k8s.io/v1beta2=v1alpha1"
// +kubebuilder:resource:categories=cluster-api
type LocalBootstrapTemplate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the template.
	Spec LocalBootstrapTemplateSpec `json:"spec"`
}

// LocalBootstrapTemplateSpec holds the template.
type LocalBootstrapTemplateSpec struct {
	// template of LocalBootstraps.
	Template LocalBootstrapTemplateResource `json:"template"`
}

// LocalBootstrapTemplateResource is a LocalBootstrap without a name.
type LocalBootstrapTemplateResource struct {
	// metadata that they get.
	// +optional
	Metadata Metadata `json:"metadata,omitempty"`
	// spec of them, which is empty.
	// +optional
	Spec LocalBootstrapSpec `json:"spec,omitempty"`
}

// LocalBootstrapTemplateList is a list of LocalBootstrapTemplates.
//
// +kubebuilder:object:root=true
type LocalBootstrapTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []LocalBootstrapTemplate `json:"items"`
}
