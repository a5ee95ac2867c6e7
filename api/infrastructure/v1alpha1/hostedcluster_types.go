package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// HostedCluster is the place of a cluster on the hub's machine: its name, and the ranges of addresses that no other cluster
// there has. In the words of Cluster API it is an InfraCluster.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels="cluster.x-k8s.io/v1beta2=v1alpha1"
// +kubebuilder:resource:categories=cluster-api
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.metadata.labels.cluster\.x-k8s\.io/cluster-name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Pods",type=string,JSONPath=`.status.pods`
// +kubebuilder:printcolumn:name="Services",type=string,JSONPath=`.status.services`
// +kubebuilder:printcolumn:name="Load balancer",type=string,JSONPath=`.status.loadBalancer`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type HostedCluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says what its Cluster has no field for: most there is to say of such a cluster, that says.
	// +optional
	Spec HostedClusterSpec `json:"spec,omitempty"`
	// status says which place it has.
	// +optional
	Status HostedClusterStatus `json:"status,omitempty"`
}

// HostedClusterSpec says what a Cluster has no field for.
// +kubebuilder:validation:XValidation:rule="has(self.loadBalancer) == has(oldSelf.loadBalancer)",message="loadBalancer is claimed when the cluster is made, for good: make another cluster"
type HostedClusterSpec struct {
	// controlPlaneEndpoint is where the cluster's API is, when something else than a HostedControlPlane provides it.
	// +optional
	ControlPlaneEndpoint *Endpoint `json:"controlPlaneEndpoint,omitempty"`
	// loadBalancer has Services of type LoadBalancer get addresses that answer on the hub's machine. Without it there are none.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="loadBalancer is claimed when the cluster is made, for good: make another cluster"
	// +optional
	LoadBalancer *LoadBalancer `json:"loadBalancer,omitempty"`
}

// LoadBalancer is that of a cluster.
type LoadBalancer struct {
	// addresses is the pool that Services get theirs from: an IPv4 network of 1 to 256 addresses that no other cluster has, such as 10.200.129.0/28,
	// in the half of the machine's bridge that has no machines; or 0.0.0.0/28 for any of that size that is free.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:MinLength=1
	Addresses string `json:"addresses"`
}

// HostedClusterStatus says which place a cluster has.
// +kubebuilder:validation:MinProperties=1
type HostedClusterStatus struct {
	// initialization is what Cluster API waits for.
	// +optional
	Initialization *Provisioning `json:"initialization,omitempty"`
	// failureDomains are what can fail on its own: this machine.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +optional
	FailureDomains []FailureDomain `json:"failureDomains,omitempty"`
	// pods and services are the ranges of addresses that the cluster has.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Pods string `json:"pods,omitempty"`
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Services string `json:"services,omitempty"`
	// loadBalancer is the pool of addresses of Services of type LoadBalancer.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	LoadBalancer string `json:"loadBalancer,omitempty"`
	// conditions: Ready, Paused.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Provisioning is what Cluster API waits for of an InfraCluster and an InfraMachine.
type Provisioning struct {
	// provisioned says that it is there. It never becomes false again.
	// +optional
	Provisioned *bool `json:"provisioned,omitempty"`
}

// FailureDomain is something that can fail on its own.
type FailureDomain struct {
	// name of it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`
	// controlPlane says whether a control plane may be there.
	// +optional
	ControlPlane *bool `json:"controlPlane,omitempty"`
}

// HostedClusterList is a list of HostedClusters.
//
// +kubebuilder:object:root=true
type HostedClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []HostedCluster `json:"items"`
}

// HostedClusterTemplate is what HostedClusters are made of. A ClusterClass names it.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels="cluster.x-k8s.io/v1beta2=v1alpha1"
// +kubebuilder:resource:categories=cluster-api
type HostedClusterTemplate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the template.
	Spec HostedClusterTemplateSpec `json:"spec"`
}

// HostedClusterTemplateSpec holds the template.
type HostedClusterTemplateSpec struct {
	// template of HostedClusters.
	Template HostedClusterTemplateResource `json:"template"`
}

// HostedClusterTemplateResource is a HostedCluster without a name.
type HostedClusterTemplateResource struct {
	// metadata that they get.
	// +optional
	Metadata Metadata `json:"metadata,omitempty"`
	// spec of them.
	// +optional
	Spec HostedClusterSpec `json:"spec,omitempty"`
}

// HostedClusterTemplateList is a list of HostedClusterTemplates.
//
// +kubebuilder:object:root=true
type HostedClusterTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []HostedClusterTemplate `json:"items"`
}
