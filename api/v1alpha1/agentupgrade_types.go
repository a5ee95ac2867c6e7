package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// AgentUpgradeName is the name of the one AgentUpgrade of a fleet.
const AgentUpgradeName = "agents"

// AgentUpgrade says which program the agents of the fleet are to run, and how carefully they get there. There is one for a
// fleet, so that no two pull at a cluster.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=au,categories=umbel
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'agents'",message="there is one AgentUpgrade in a fleet, and its name is agents"
// +kubebuilder:printcolumn:name="Build",type=string,JSONPath=`.spec.build`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Done",type=integer,JSONPath=`.status.done`
// +kubebuilder:printcolumn:name="Clusters",type=integer,JSONPath=`.status.selected`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.failed`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AgentUpgrade struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says what is to run where, and in which steps.
	Spec AgentUpgradeSpec `json:"spec"`
	// status says how far it is.
	// +optional
	Status AgentUpgradeStatus `json:"status,omitempty"`
}

// UpgradeIntent says whether an upgrade goes on.
// +kubebuilder:validation:Enum=Run;Pause;Abort
type UpgradeIntent string

const (
	// UpgradeRun goes on, unless a cluster fails.
	UpgradeRun UpgradeIntent = "Run"
	// UpgradePause tells no further cluster. Those that were told carry on.
	UpgradePause UpgradeIntent = "Pause"
	// UpgradeAbort takes back what was told to clusters that have not done it. Those that run the new agent keep it.
	UpgradeAbort UpgradeIntent = "Abort"
)

// AgentUpgradeSpec says what is to run where, and in which steps.
type AgentUpgradeSpec struct {
	// clusterSelector selects MemberClusters by label; an empty one selects every cluster.
	// +kubebuilder:default={}
	// +optional
	ClusterSelector metav1.LabelSelector `json:"clusterSelector,omitempty"`

	// build is the program: a tag of umbel/agent in the hub's registry, which is its version, a hyphen, and the first 12 hex
	// digits of its SHA-256. ConfigMap umbel-system/hub-info names the image of the one that this hub brings.
	// +kubebuilder:validation:Pattern=`^.+-[0-9a-f]{12}$`
	// +kubebuilder:validation:MaxLength=128
	Build string `json:"build"`

	// image holds the same program in another registry, for the clusters whose agent is not from the hub's. Without it they
	// are left out.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Image string `json:"image,omitempty"`

	// wave is how many clusters change at once, as a number or as a part of all that are selected.
	// +kubebuilder:default="10%"
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 1 : self.matches('^([1-9][0-9]?|100)%$')",message="wave is a number of clusters from 1, or a part of them from 1% to 100%"
	// +optional
	Wave intstr.IntOrString `json:"wave,omitempty"`

	// canary is how many clusters change first, before any other.
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +optional
	Canary int32 `json:"canary,omitempty"`

	// bake is how long a wave has to have been well before the next begins.
	// +kubebuilder:default="1m"
	// +optional
	Bake metav1.Duration `json:"bake,omitempty"`

	// intent says whether it goes on: Run, Pause or Abort.
	// +kubebuilder:default=Run
	// +optional
	Intent UpgradeIntent `json:"intent,omitempty"`

	// attempt, when it is raised, lets clusters that failed try again.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Attempt int64 `json:"attempt,omitempty"`
}

// UpgradeStep says where one cluster stands in an upgrade.
// +kubebuilder:validation:Enum=Waiting;Offline;Changing;Failed;LeftOut
type UpgradeStep string

const (
	// StepWaiting: its turn has not come.
	StepWaiting UpgradeStep = "Waiting"
	// StepOffline: it is not connected, or suspended. It is in nobody's way, and its turn comes when it is back.
	StepOffline UpgradeStep = "Offline"
	// StepChanging: its agent was told.
	StepChanging UpgradeStep = "Changing"
	// StepFailed: its agent failed the rehearsal, was rolled back, did not come back, or says nothing.
	StepFailed UpgradeStep = "Failed"
	// StepLeftOut: it cannot be upgraded from here; the message says why.
	StepLeftOut UpgradeStep = "LeftOut"
)

// AgentUpgradeStatus says how far an upgrade is.
type AgentUpgradeStatus struct {
	// observedGeneration is the generation of the spec that the rest is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Advancing and Upgraded, and Ready computed from them.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// wave counts the waves that have begun.
	// +optional
	Wave int32 `json:"wave,omitempty"`
	// waveBegan is when the last of them began.
	// +optional
	WaveBegan *metav1.Time `json:"waveBegan,omitempty"`
	// selected is the number of clusters.
	// +optional
	Selected int32 `json:"selected"`
	// done is how many of them run the build and are connected.
	// +optional
	Done int32 `json:"done"`
	// changing, waiting, offline, failed and leftOut are the others.
	// +optional
	Changing int32 `json:"changing"`
	// +optional
	Waiting int32 `json:"waiting"`
	// +optional
	Offline int32 `json:"offline"`
	// +optional
	Failed int32 `json:"failed"`
	// +optional
	LeftOut int32 `json:"leftOut"`
	// clusters are those that are not done: failed ones first, then those that change, are left out, offline, and wait; at
	// most 100.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=100
	// +optional
	Clusters []ClusterUpgrade `json:"clusters,omitempty"`
}

// ClusterUpgrade is where one cluster stands in an upgrade.
type ClusterUpgrade struct {
	// name of the MemberCluster.
	Name ClusterName `json:"name"`
	// step says where it stands.
	Step UpgradeStep `json:"step"`
	// message says what happens there, or what went wrong.
	// +optional
	Message string `json:"message,omitempty"`
}

// AgentUpgradeList is a list of AgentUpgrades.
// +kubebuilder:object:root=true
type AgentUpgradeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AgentUpgrade `json:"items"`
}
