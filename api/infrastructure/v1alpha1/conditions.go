package v1alpha1

// Finalizer keeps an object until what it stands for on the machine is gone.
const Finalizer = "infrastructure.umbel.dev/provider"

// Conditions of all kinds. Cluster API shows Ready of a cluster and a machine, and Available of a control plane.
const (
	// ConditionReady says whether what the object stands for is there.
	ConditionReady = "Ready"
	// ConditionAvailable says whether a control plane serves.
	ConditionAvailable = "Available"
	// ConditionPaused says whether the provider leaves the object alone.
	ConditionPaused = "Paused"
)

// Why.
const (
	// ReasonServing: it is there, and at work.
	ReasonServing = "Serving"
	// ReasonWaiting: something else has to be there first; the message says what.
	ReasonWaiting = "Waiting"
	// ReasonFailing: making it failed, and is tried again; the message says why.
	ReasonFailing = "Failing"
	// ReasonRefused: it cannot be made as it is asked for; the message says what to change.
	ReasonRefused = "Refused"
	// ReasonHibernated: it has ended, with its data, until its Cluster wakes.
	ReasonHibernated = "Hibernated"
	// ReasonLost: what it had on the machine is gone, and is not made anew; another one is to take its place.
	ReasonLost = "Lost"
	// ReasonEnding: it is being taken away.
	ReasonEnding = "Ending"
	// ReasonPaused and ReasonNotPaused are as in Cluster API.
	ReasonPaused    = "Paused"
	ReasonNotPaused = "NotPaused"
)

// Endpoint is where the API of a cluster is served.
// +kubebuilder:validation:MinProperties=1
type Endpoint struct {
	// host is an address or a name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Host string `json:"host,omitempty"`
	// port is a TCP port.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +optional
	Port int32 `json:"port,omitempty"`
}

// Metadata is what a template gives the objects that are made of it.
type Metadata struct {
	// labels of them.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// annotations of them.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
}
