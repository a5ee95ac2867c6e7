package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Rollout is how the clusters of a Package get to one of its Releases. The hub makes one for each Release of a Package that
// has a strategy, and for each way back; the newest says what each cluster is told. One that people make (`umbel cluster
// upgrade --clusters`) is how clusters get to another version of Kubernetes. What it is about never changes. People say in its
// spec whether it goes on (`umbel rollout`).
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ro,categories=umbel
// +kubebuilder:printcolumn:name="Package",type=string,JSONPath=`.spec.packageRef.name`
// +kubebuilder:printcolumn:name="Release",type=string,JSONPath=`.spec.release`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Moved",type=integer,JSONPath=`.status.moved`
// +kubebuilder:printcolumn:name="Clusters",type=integer,JSONPath=`.status.clusters`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.failed`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Progressing")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Rollout struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says what is rolled out, and whether that goes on.
	Spec RolloutSpec `json:"spec"`
	// status says which clusters were moved. It is all that the hub remembers of a rollout.
	// +optional
	Status RolloutStatus `json:"status,omitempty"`
}

// RolloutPurpose says why there is a rollout.
// +kubebuilder:validation:Enum=Release;Rollback
type RolloutPurpose string

const (
	// RolloutForward brings the clusters to a new release, stage by stage.
	RolloutForward RolloutPurpose = "Release"
	// RolloutBack brings them back to an earlier one, as fast as maxUnavailable lets it.
	RolloutBack RolloutPurpose = "Rollback"
)

// RolloutIntent says what people want of a rollout.
// +kubebuilder:validation:Enum=Run;Pause;Abort;Back
type RolloutIntent string

const (
	// IntentRun goes on, unless too many clusters fail.
	IntentRun RolloutIntent = "Run"
	// IntentPause moves no further cluster.
	IntentPause RolloutIntent = "Pause"
	// IntentAbort ends it for good where it is: every cluster keeps what it was told.
	IntentAbort RolloutIntent = "Abort"
	// IntentBack ends it and brings the clusters back, to spec.backTo or the last good release.
	IntentBack RolloutIntent = "Back"
)

// RolloutSpec says what is rolled out, and whether that goes on.
// +kubebuilder:validation:XValidation:rule="has(self.packageRef) == has(oldSelf.packageRef) && (!has(self.packageRef) || self.packageRef == oldSelf.packageRef) && has(self.kubernetes) == has(oldSelf.kubernetes) && (!has(self.kubernetes) || self.kubernetes == oldSelf.kubernetes) && self.number == oldSelf.number && self.purpose == oldSelf.purpose && self.release == oldSelf.release && has(self.previous) == has(oldSelf.previous) && (!has(self.previous) || self.previous == oldSelf.previous) && self.newest == oldSelf.newest && self.strategy == oldSelf.strategy",message="what a Rollout is about never changes: only intent, backTo, attempt, approvals, promoted and excused do"
// +kubebuilder:validation:XValidation:rule="has(self.packageRef) != has(self.kubernetes)",message="a Rollout is about a Package (packageRef) or about Kubernetes (kubernetes), and not both"
// +kubebuilder:validation:XValidation:rule="!has(self.kubernetes) || self.release.matches('^v1[.][0-9]+[.][0-9]+(-[0-9A-Za-z.+-]+)?$')",fieldPath=".release",message="release of a Rollout about Kubernetes is a version in full, such as v1.36.3"
// +kubebuilder:validation:XValidation:rule="!has(self.kubernetes) || self.purpose == 'Release' && self.intent != 'Back' && !has(self.backTo) && !has(self.previous) && self.strategy.onFailure != 'Rollback'",message="Kubernetes does not go back: a Rollout about it has no purpose or onFailure Rollback, no intent Back, no backTo and no previous"
type RolloutSpec struct {
	// packageRef names the Package, in the same namespace. The hub makes such Rollouts.
	// +optional
	PackageRef LocalReference `json:"packageRef,omitzero"`
	// kubernetes says which clusters get another version of Kubernetes. People make such Rollouts.
	// +optional
	Kubernetes *KubernetesRollout `json:"kubernetes,omitempty"`
	// number of the rollout among those of the Package; its name is the Package's, a hyphen, and this.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:default=1
	// +optional
	Number int64 `json:"number,omitempty"`
	// purpose says why there is a rollout.
	// +kubebuilder:default=Release
	// +optional
	Purpose RolloutPurpose `json:"purpose,omitempty"`
	// release is the Release that the clusters get, or the version of Kubernetes, such as v1.36.3.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Release string `json:"release"`
	// previous is the last good Release, which clusters hold that were not moved; empty when there is none.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Previous string `json:"previous,omitempty"`
	// newest is the current Release of the Package when this was made. Another one begins another rollout.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:default=""
	// +optional
	Newest string `json:"newest"`
	// strategy is that of the Package when this was made.
	Strategy RolloutStrategy `json:"strategy"`

	// intent says whether it goes on: Run, Pause, Abort or Back.
	// +kubebuilder:default=Run
	// +optional
	Intent RolloutIntent `json:"intent,omitempty"`
	// backTo is the Release that Back means; the default is the last good one.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	BackTo string `json:"backTo,omitempty"`
	// attempt, when it is raised, lets a rollout go on that stopped because clusters failed.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Attempt int64 `json:"attempt,omitempty"`
	// approvals are what was agreed to.
	// +listType=map
	// +listMapKey=stage
	// +listMapKey=point
	// +kubebuilder:validation:MaxItems=34
	// +optional
	Approvals []RolloutApproval `json:"approvals,omitempty"`
	// promoted are stages that wait for nothing but their clusters: no approval, window, gate, canary or bake time.
	// +listType=set
	// +kubebuilder:validation:MaxItems=17
	// +optional
	Promoted []string `json:"promoted,omitempty"`
	// excused are clusters that neither count as failed nor take a place: somebody knows about them.
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	// +optional
	Excused []ClusterName `json:"excused,omitempty"`
}

// KubernetesRollout says which clusters get another version of Kubernetes.
type KubernetesRollout struct {
	// clusterSelector selects members of the fleet by label. Those count that are Clusters of Cluster API in the namespace of the
	// Rollout; an empty one selects all of these.
	ClusterSelector metav1.LabelSelector `json:"clusterSelector"`
	// removedAPIs says what becomes of a cluster in which APIs are in use that the new version does not serve, or in which that is
	// not known of all API servers: Refuse leaves it as it is, and it counts as failed; Ignore does not ask.
	// +kubebuilder:default=Refuse
	// +optional
	RemovedAPIs RemovedAPIs `json:"removedAPIs,omitempty"`
}

// RemovedAPIs says what becomes of a cluster in which APIs are in use that the new version does not serve.
// +kubebuilder:validation:Enum=Refuse;Ignore
type RemovedAPIs string

const (
	// RemovedRefuse leaves it as it is.
	RemovedRefuse RemovedAPIs = "Refuse"
	// RemovedIgnore does not ask.
	RemovedIgnore RemovedAPIs = "Ignore"
)

// RolloutApproval is what somebody agreed to. Who that was is in the audit log.
type RolloutApproval struct {
	// stage that it is about.
	// +kubebuilder:validation:MaxLength=63
	Stage string `json:"stage"`
	// point of the stage.
	Point ApprovalPoint `json:"point"`
}

// RolloutPhase says where a rollout is.
// +kubebuilder:validation:Enum=Running;Paused;Halted;Completed;Aborted;RolledBack;Superseded
type RolloutPhase string

const (
	// RolloutRunning: it goes on, or waits for a time, an approval or a cluster.
	RolloutRunning RolloutPhase = "Running"
	// RolloutPaused: somebody paused it.
	RolloutPaused RolloutPhase = "Paused"
	// RolloutHalted: too many clusters failed, or a gate does not hold; somebody has to decide.
	RolloutHalted RolloutPhase = "Halted"
	// RolloutCompleted: every stage is done. Clusters that were away follow when they are back.
	RolloutCompleted RolloutPhase = "Completed"
	// RolloutAborted: somebody ended it where it was.
	RolloutAborted RolloutPhase = "Aborted"
	// RolloutRolledBack: another one brings its clusters back.
	RolloutRolledBack RolloutPhase = "RolledBack"
	// RolloutSuperseded: another one took over before it was complete.
	RolloutSuperseded RolloutPhase = "Superseded"
)

// RolloutStatus says which clusters were moved.
type RolloutStatus struct {
	// observedGeneration is the generation of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Progressing and RolledOut, and Ready computed from them.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// phase says where it is. While there is none, the rollout before this one says what clusters are told.
	// +optional
	Phase RolloutPhase `json:"phase,omitempty"`
	// began, completed and ended are when it did: it ends when another one takes over, or somebody aborts it.
	// +optional
	Began *metav1.Time `json:"began,omitempty"`
	// +optional
	Completed *metav1.Time `json:"completed,omitempty"`
	// +optional
	Ended *metav1.Time `json:"ended,omitempty"`
	// successor is the Rollout that takes over. It is written before that one is made.
	// +optional
	Successor string `json:"successor,omitempty"`
	// attempt is the attempt of the spec that failures were counted in.
	// +optional
	Attempt int64 `json:"attempt,omitempty"`
	// watched is when a hub looked last, give or take a minute: time in which none looked counts for nothing.
	// +optional
	Watched *metav1.Time `json:"watched,omitempty"`

	// clusters is how many the rollout is about, and moved how many of them were told the release; available, unavailable and
	// offline are what became of those, failed how many of the unavailable ones count as failed.
	// +optional
	Clusters int32 `json:"clusters"`
	// +optional
	Moved int32 `json:"moved"`
	// +optional
	Available int32 `json:"available"`
	// +optional
	Unavailable int32 `json:"unavailable"`
	// +optional
	Offline int32 `json:"offline"`
	// +optional
	Failed int32 `json:"failed"`
	// failures are clusters that failed, with the reason; at most ten.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	// +optional
	Failures []RolloutFailure `json:"failures,omitempty"`

	// stages are the clusters, as they were when the rollout began, and those that joined.
	// +listType=map
	// +listMapKey=name
	// +optional
	Stages []StageStatus `json:"stages,omitempty"`
	// from is what clusters are told that were not moved, where that is not spec.previous. Once the rollout is complete it is
	// what those are told that it has not reached, and everybody else is told the release.
	// +listType=atomic
	// +optional
	From []HeldRelease `json:"from,omitempty"`
	// moving are the clusters that were moved, are connected, and are not healthy with the release.
	// +listType=atomic
	// +optional
	Moving []MovingClusters `json:"moving,omitempty"`
	// ailing are those of them that were not healthy before they were moved either: the release is not to blame.
	// +listType=atomic
	// +optional
	Ailing []ClusterName `json:"ailing,omitempty"`
	// blocked are the clusters that would not take the release now, by what they wait for: another Package, an agent that knows
	// what the release takes, or a Plan. They are not moved, count as neither available nor failed, and follow.
	// +listType=atomic
	// +optional
	Blocked []BlockedClusters `json:"blocked,omitempty"`
}

// BlockedClusters are clusters that wait for the same.
type BlockedClusters struct {
	// message says what they wait for.
	Message string `json:"message"`
	// clusters that wait for it.
	// +listType=atomic
	Clusters []ClusterName `json:"clusters"`
}

// RolloutFailure is a cluster that failed.
type RolloutFailure struct {
	// cluster that failed.
	Cluster ClusterName `json:"cluster"`
	// message says what is wrong there.
	Message string `json:"message"`
}

// StageStep says where a stage is.
// +kubebuilder:validation:Enum=Waiting;Canary;Moving;Done
type StageStep string

const (
	// StageWaiting: its turn has not come.
	StageWaiting StageStep = "Waiting"
	// StageCanary: its first clusters move, or bake.
	StageCanary StageStep = "Canary"
	// StageMoving: its clusters move, or bake.
	StageMoving StageStep = "Moving"
	// StageDone: the next one may begin.
	StageDone StageStep = "Done"
)

// StageStatus is the clusters of a stage.
type StageStatus struct {
	// name of the stage.
	Name string `json:"name"`
	// step says where it is.
	Step StageStep `json:"step"`
	// clusters is how many the stage has, and done how many of them were moved.
	Clusters int32 `json:"clusters"`
	// +optional
	Done int32 `json:"done"`
	// waiting are those that were not moved.
	// +listType=atomic
	// +optional
	Waiting []ClusterName `json:"waiting,omitempty"`
	// moved are those that were; they are not listed any more once the rollout is complete.
	// +listType=atomic
	// +optional
	Moved []ClusterName `json:"moved,omitempty"`
	// began and passed are when its turn came, and when it was done.
	// +optional
	Began *metav1.Time `json:"began,omitempty"`
	// +optional
	Passed *metav1.Time `json:"passed,omitempty"`
	// baked is when all that were moved had been healthy for the bake time.
	// +optional
	Baked *metav1.Time `json:"baked,omitempty"`
	// wellSince is since when all that were moved are healthy.
	// +optional
	WellSince *metav1.Time `json:"wellSince,omitempty"`
	// closedSince is since when a gate of the stage does not hold.
	// +optional
	ClosedSince *metav1.Time `json:"closedSince,omitempty"`
}

// HeldRelease is clusters that are told the same release.
type HeldRelease struct {
	// release that they are told; empty when they are told nothing and keep what they hold.
	// +optional
	Release string `json:"release,omitempty"`
	// clusters that are.
	// +listType=atomic
	Clusters []ClusterName `json:"clusters"`
}

// MovingClusters are clusters that are not healthy with the release, since the same time.
type MovingClusters struct {
	// since when: when they were moved, came back, or stopped being healthy.
	Since metav1.Time `json:"since"`
	// failing is since when they report a failure; empty while they report none.
	// +optional
	Failing *metav1.Time `json:"failing,omitempty"`
	// clusters that are.
	// +listType=atomic
	Clusters []ClusterName `json:"clusters"`
}

// RolloutList is a list of Rollouts.
// +kubebuilder:object:root=true
type RolloutList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Rollout `json:"items"`
}
