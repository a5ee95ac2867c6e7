package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

const (
	// CoreProvider is the name of the Provider that is Cluster API itself. The hub makes it when there is another one.
	CoreProvider = "cluster-api"

	// LocalProvider is the name of the Provider that is Umbel's own, of clusters on the hub's machine. It has no program of its own.
	LocalProvider = "local"

	// ProviderLabel stands on the kinds and webhooks that the hub brought into its API for a Provider. Its value is the
	// Provider's name. What has no such label is somebody else's.
	ProviderLabel = "umbel.dev/provider"

	// ProviderVersionAnnotation says which version the program of a Provider is, as it says itself: `umbel provider add` writes it.
	ProviderVersionAnnotation = "umbel.dev/provider-version"

	// ProviderFinalizer keeps a Provider until nothing is left that it alone can end.
	ProviderFinalizer = "umbel.dev/provider"

	// MaxProviderName is how long the name of a Provider may be: as the rule at Provider says.
	MaxProviderName = 63
)

// Why a Provider is Ready or not, beside the reasons that all kinds have.
const (
	// ReasonServing means that its process runs, and serves its webhooks.
	ReasonServing = "Serving"
	// ReasonForeign means that somebody else runs it on the hub's API; the hub starts nothing, and uses it.
	ReasonForeign = "Foreign"
	// ReasonStarting means that its process was started and does not serve yet.
	ReasonStarting = "Starting"
	// ReasonProcessEnds means that its process ends again and again.
	ReasonProcessEnds = "ProcessEnds"
	// ReasonWaitingForCore means that Cluster API itself does not serve yet.
	ReasonWaitingForCore = "WaitingForCore"
	// ReasonNotStarted means that it cannot be started: the message says what is missing, and where.
	ReasonNotStarted = "NotStarted"
	// ReasonInUse means that it is to go, and objects that it alone can end are still there.
	ReasonInUse = "InUse"
)

// Provider is a provider of Cluster API that the hub runs as a process of its own. As long as there is one the hub runs Cluster
// API itself as well, which is the Provider cluster-api; without any it runs nothing and costs nothing.
//
// Its program and the manifests that its project releases lie on the hub's machine: `umbel provider add` puts them there. No
// object can name another program.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=umbel
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63",message="the name of a Provider is a DNS label: lower case letters, digits and '-', at most 63 characters"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Provider struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says how it is run.
	// +optional
	Spec ProviderSpec `json:"spec,omitempty"`
	// status says whether it runs.
	// +optional
	Status ProviderStatus `json:"status,omitempty"`
}

// ProviderSpec says how a provider is run.
type ProviderSpec struct {
	// args are given to its program, before those by which it finds the hub's API and serves its webhooks. They are no place
	// for secrets: whoever may read Providers reads them.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=1024
	// +optional
	Args []string `json:"args,omitempty"`

	// digest is that of the program and the manifests that were put on the hub's machine for it. What lies there is started only
	// when it has this digest. Empty: whatever lies there.
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('^sha256:[0-9a-f]{64}$')",message="digest is sha256:, and 64 hexadecimal digits"
	// +optional
	Digest string `json:"digest,omitempty"`
}

// ProviderStatus says whether a provider runs.
type ProviderStatus struct {
	// observedGeneration is the generation of the spec that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Ready.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ProviderList is a list of Providers.
//
// +kubebuilder:object:root=true
type ProviderList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Provider `json:"items"`
}
