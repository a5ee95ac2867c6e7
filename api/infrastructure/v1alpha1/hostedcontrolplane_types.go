package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// HostedControlPlane is the control plane of a cluster as processes on the hub's machine: etcd, API server, controller manager
// and scheduler, in a machine of their own without a node, or three times that. In the words of Cluster API it is a ControlPlane without Machines.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:metadata:labels="cluster.x-k8s.io/v1beta2=v1alpha1"
// +kubebuilder:resource:categories=cluster-api,shortName=hcp
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.metadata.labels.cluster\.x-k8s\.io/cluster-name`
// +kubebuilder:printcolumn:name="Available",type=string,JSONPath=`.status.conditions[?(@.type=="Available")].status`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name="Endpoint",type=string,JSONPath=`.spec.controlPlaneEndpoint.host`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Available")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type HostedControlPlane struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says which control plane.
	Spec HostedControlPlaneSpec `json:"spec"`
	// status says how it does.
	// +optional
	Status HostedControlPlaneStatus `json:"status,omitempty"`
}

// HostedControlPlaneSpec says which control plane.
type HostedControlPlaneSpec struct {
	// version of Kubernetes, such as v1.36.2.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Version string `json:"version"`

	// replicas is how many members it has: one, or three, of which one may be lost.
	// +kubebuilder:default=1
	// +kubebuilder:validation:XValidation:rule="self == 1 || self == 3",message="replicas is 1 or 3: of an even number of members, and of more on one machine, no more could be lost"
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`

	// controlPlaneEndpoint is where it serves. The provider writes it.
	// +optional
	ControlPlaneEndpoint *Endpoint `json:"controlPlaneEndpoint,omitempty"`
}

// HostedControlPlaneStatus says how a control plane does.
// +kubebuilder:validation:MinProperties=1
type HostedControlPlaneStatus struct {
	// initialization is what Cluster API waits for.
	// +optional
	Initialization *ControlPlaneInitialization `json:"initialization,omitempty"`
	// version of Kubernetes that serves now, and versions the same as a list.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Version string `json:"version,omitempty"`
	// +listType=map
	// +listMapKey=version
	// +kubebuilder:validation:MaxItems=100
	// +optional
	Versions []ServedVersion `json:"versions,omitempty"`
	// replicas is how many members there are; readyReplicas, availableReplicas and upToDateReplicas how many of them serve,
	// and serve what spec asks for.
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`
	// +optional
	ReadyReplicas *int32 `json:"readyReplicas,omitempty"`
	// +optional
	AvailableReplicas *int32 `json:"availableReplicas,omitempty"`
	// +optional
	UpToDateReplicas *int32 `json:"upToDateReplicas,omitempty"`
	// members are the members, the first one first.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=9
	// +optional
	Members []ControlPlaneMember `json:"members,omitempty"`
	// selector selects nothing: the members are no Machines.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Selector string `json:"selector,omitempty"`
	// externalManagedControlPlane says that the control plane has no Nodes.
	// +optional
	ExternalManagedControlPlane *bool `json:"externalManagedControlPlane,omitempty"`
	// certificatesExpire is when the first of its certificates ends. Each is issued anew after two thirds of its life, while it is at work.
	// +optional
	CertificatesExpire *metav1.Time `json:"certificatesExpire,omitempty"`
	// restored is the request (annotation infrastructure.umbel.dev/restore) whose snapshot it holds, or has begun with.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Restored string `json:"restored,omitempty"`
	// conditions: Available, Paused; Restored once a restore was asked for.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ControlPlaneInitialization is what Cluster API waits for of a ControlPlane.
type ControlPlaneInitialization struct {
	// controlPlaneInitialized says that the API has served. It never becomes false again.
	// +optional
	ControlPlaneInitialized *bool `json:"controlPlaneInitialized,omitempty"`
}

// ControlPlaneMember is one of the members of a control plane: an etcd, an API server, a controller manager and a scheduler in a
// machine of their own.
type ControlPlaneMember struct {
	// name of its machine.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`
	// address is where this member serves the API; the control plane's is with one of them.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Address string `json:"address,omitempty"`
	// ready says whether it serves.
	// +optional
	Ready *bool `json:"ready,omitempty"`
	// message says why it does not.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Message string `json:"message,omitempty"`
}

// ServedVersion is a version of Kubernetes and how many members serve it.
type ServedVersion struct {
	// version such as v1.36.2.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Version string `json:"version"`
	// replicas is how many members serve it.
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`
}

// HostedControlPlaneList is a list of HostedControlPlanes.
//
// +kubebuilder:object:root=true
type HostedControlPlaneList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []HostedControlPlane `json:"items"`
}

// HostedControlPlaneTemplate is what HostedControlPlanes are made of. A ClusterClass names it.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels="cluster.x-k8s.io/v1beta2=v1alpha1"
// +kubebuilder:resource:categories=cluster-api
type HostedControlPlaneTemplate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the template.
	Spec HostedControlPlaneTemplateSpec `json:"spec"`
}

// HostedControlPlaneTemplateSpec holds the template.
type HostedControlPlaneTemplateSpec struct {
	// template of HostedControlPlanes.
	Template HostedControlPlaneTemplateResource `json:"template"`
}

// HostedControlPlaneTemplateResource is a HostedControlPlane without a name, and without what the Cluster says: the version
// and the number of replicas.
type HostedControlPlaneTemplateResource struct {
	// metadata that they get.
	// +optional
	Metadata Metadata `json:"metadata,omitempty"`
	// spec of them, which is empty.
	// +optional
	Spec HostedControlPlaneTemplateResourceSpec `json:"spec,omitempty"`
}

// HostedControlPlaneTemplateResourceSpec is empty: all that there is to say, the Cluster says.
type HostedControlPlaneTemplateResourceSpec struct{}

// HostedControlPlaneTemplateList is a list of HostedControlPlaneTemplates.
//
// +kubebuilder:object:root=true
type HostedControlPlaneTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []HostedControlPlaneTemplate `json:"items"`
}
