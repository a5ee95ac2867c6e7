package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// LocalMachine is a machine of a cluster on the hub's machine: namespaces with containerd, a kubelet and kube-proxy, in which
// real pods run. In the words of Cluster API it is an InfraMachine.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels="cluster.x-k8s.io/v1beta2=v1alpha1"
// +kubebuilder:resource:categories=cluster-api
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.metadata.labels.cluster\.x-k8s\.io/cluster-name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.status.addresses[0].address`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type LocalMachine struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says which machine.
	// +optional
	Spec LocalMachineSpec `json:"spec,omitempty"`
	// status says how it does.
	// +optional
	Status LocalMachineStatus `json:"status,omitempty"`
}

// LocalMachineSpec says which machine.
type LocalMachineSpec struct {
	// providerID is by what its Node is known. The provider writes it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	ProviderID string `json:"providerID,omitempty"`
}

// LocalMachineStatus says how a machine does.
// +kubebuilder:validation:MinProperties=1
type LocalMachineStatus struct {
	// initialization is what Cluster API waits for.
	// +optional
	Initialization *Provisioning `json:"initialization,omitempty"`
	// addresses of the machine.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +optional
	Addresses []MachineAddress `json:"addresses,omitempty"`
	// failureDomain that the machine is in.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	FailureDomain string `json:"failureDomain,omitempty"`
	// certificatesExpire is when the first of its kubelet's and kube-proxy's certificates ends. Each is issued anew after two thirds of its life, while it is at work.
	// +optional
	CertificatesExpire *metav1.Time `json:"certificatesExpire,omitempty"`
	// conditions: Ready, Paused.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// MachineAddress is an address of a machine.
type MachineAddress struct {
	// type is Hostname or InternalIP.
	// +kubebuilder:validation:Enum=Hostname;InternalIP
	Type string `json:"type"`
	// address itself.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Address string `json:"address"`
}

// LocalMachineList is a list of LocalMachines.
//
// +kubebuilder:object:root=true
type LocalMachineList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []LocalMachine `json:"items"`
}

// LocalMachineTemplate is what LocalMachines are made of. A ClusterClass names it.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:labels="cluster.x-k8s.io/v1beta2=v1alpha1"
// +kubebuilder:resource:categories=cluster-api
type LocalMachineTemplate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the template.
	Spec LocalMachineTemplateSpec `json:"spec"`
}

// LocalMachineTemplateSpec holds the template.
type LocalMachineTemplateSpec struct {
	// template of LocalMachines.
	Template LocalMachineTemplateResource `json:"template"`
}

// LocalMachineTemplateResource is a LocalMachine without a name.
type LocalMachineTemplateResource struct {
	// metadata that they get.
	// +optional
	Metadata Metadata `json:"metadata,omitempty"`
	// spec of them.
	// +optional
	Spec LocalMachineSpec `json:"spec,omitempty"`
}

// LocalMachineTemplateList is a list of LocalMachineTemplates.
//
// +kubebuilder:object:root=true
type LocalMachineTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []LocalMachineTemplate `json:"items"`
}
