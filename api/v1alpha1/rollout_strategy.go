package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// RolloutStrategy says in which order the clusters of a Package get a new release, how fast, and when that stops.
// +kubebuilder:validation:XValidation:rule="self.stages.all(s, s.name != 'rest')",fieldPath=".stages",message="rest is the name of the stage of clusters that no other stage selects"
type RolloutStrategy struct {
	// stages have their turn one after the other. A cluster is of the first stage that selects it; those that none selects
	// come last, in a stage called rest that is as careful as the last one here.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Stages []RolloutStage `json:"stages"`

	// progressDeadline is how long a cluster may take to become healthy with the new release before it has failed. Time in
	// which no hub looked does not count.
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s')",message="progressDeadline is at least 10s"
	// +optional
	ProgressDeadline *metav1.Duration `json:"progressDeadline,omitempty"`

	// maxFailures is how many clusters may fail, as a number or as a part of all, before the rollout stops.
	// +kubebuilder:default=0
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^([0-9]|[1-9][0-9]|100)%$`
	// +kubebuilder:validation:XValidation:rule="type(self) != int || self >= 0",message="maxFailures is a number of clusters from 0, or a part of them from 0% to 100%"
	// +optional
	MaxFailures *intstr.IntOrString `json:"maxFailures,omitempty"`

	// onFailure is what happens when more clusters have failed: Pause, or Rollback of all that were moved to the last good
	// release.
	// +kubebuilder:default=Pause
	// +optional
	OnFailure FailurePolicy `json:"onFailure,omitempty"`

	// lateJoiners is what becomes of clusters that are selected once a rollout has begun. They hold the last good release at
	// once; the new one they get Last, when the rollout is complete, or InStage, with the stage that selects them.
	// +kubebuilder:default=Last
	// +optional
	LateJoiners LateJoiners `json:"lateJoiners,omitempty"`
}

// FailurePolicy says what a rollout does that fails.
// +kubebuilder:validation:Enum=Pause;Rollback
type FailurePolicy string

const (
	// FailurePause moves no further cluster until somebody decides.
	FailurePause FailurePolicy = "Pause"
	// FailureRollback brings every cluster that was moved back to the last good release.
	FailureRollback FailurePolicy = "Rollback"
)

// LateJoiners says when clusters move that are selected once a rollout has begun.
// +kubebuilder:validation:Enum=Last;InStage
type LateJoiners string

const (
	// JoinLast: when the rollout is complete.
	JoinLast LateJoiners = "Last"
	// JoinInStage: with the stage that selects them.
	JoinInStage LateJoiners = "InStage"
)

// RestStage is the stage of the clusters that no stage selects.
const RestStage = "rest"

// RolloutStage is clusters that have their turn together.
type RolloutStage struct {
	// name of the stage.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// clusterSelector selects clusters by label; an empty one selects every cluster that is in no stage before.
	// +kubebuilder:default={}
	// +optional
	ClusterSelector metav1.LabelSelector `json:"clusterSelector,omitempty"`

	// canary is how many clusters of the stage move before the others, as a number or as a part of the stage. They have to be
	// healthy for the bake time before another one moves.
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^([1-9][0-9]?|100)%$`
	// +kubebuilder:validation:XValidation:rule="type(self) != int || self >= 1",message="canary is a number of clusters from 1, or a part of them from 1% to 100%"
	// +optional
	Canary *intstr.IntOrString `json:"canary,omitempty"`

	// maxUnavailable is how many clusters of the stage may be not healthy at once, as a number or as a part of the stage, of
	// which there is always at least one. Clusters that are not connected do not count.
	// +kubebuilder:default="10%"
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^([1-9][0-9]?|100)%$`
	// +kubebuilder:validation:XValidation:rule="type(self) != int || self >= 1",message="maxUnavailable is a number of clusters from 1, or a part of them from 1% to 100%"
	// +optional
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`

	// bake is how long the clusters that were moved have to be healthy, all of them at once, before the rollout goes on: after
	// the canaries, and after the stage. Time in which no hub looked does not count.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="bake is no negative time"
	// +optional
	Bake *metav1.Duration `json:"bake,omitempty"`

	// gates are what has to be true of what the clusters of the stage measure that were moved. While one does not hold nobody
	// else of the stage moves, and no bake time passes; the rollout goes on after the canaries, and after the stage, when all hold. One
	// that does not hold for progressDeadline is a failure, as onFailure has it. A rollback does not wait for them.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	// +optional
	Gates []MetricGate `json:"gates,omitempty"`

	// approvals are the points at which somebody has to agree: Before any cluster of the stage moves, or After, before the
	// next stage begins.
	// +listType=set
	// +kubebuilder:validation:MaxItems=2
	// +optional
	Approvals []ApprovalPoint `json:"approvals,omitempty"`

	// windows are the times in which clusters of the stage may move. Without any they always may. A rollback does not wait
	// for them.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Windows []MaintenanceWindow `json:"windows,omitempty"`
}

// MetricGate is a question to the metrics that the hub keeps.
type MetricGate struct {
	// name of the gate.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// query is a condition in PromQL, such as `sum(rate(errors_total[5m])) / sum(rate(requests_total[5m])) < 0.01`. It holds when its
	// answer is not empty, as that of an alert that fires: where nothing is measured, a comparison has no answer. It is answered from
	// what the clusters measure that were moved, whatever else the hub knows.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Query string `json:"query"`
}

// ApprovalPoint is a point of a stage at which somebody has to agree.
// +kubebuilder:validation:Enum=Before;After
type ApprovalPoint string

const (
	// ApproveBefore: before any cluster of the stage moves.
	ApproveBefore ApprovalPoint = "Before"
	// ApproveAfter: after the stage, before the next begins.
	ApproveAfter ApprovalPoint = "After"
)

// MaintenanceWindow is a time of the day, on some days of the week, as a clock on a wall of the time zone shows it: an hour
// that the clock skips does not come, and one that it shows twice comes twice.
type MaintenanceWindow struct {
	// days of the week on which the window begins; every day when there are none.
	// +listType=set
	// +kubebuilder:validation:MaxItems=7
	// +optional
	Days []Weekday `json:"days,omitempty"`
	// from is when it begins, as HH:MM.
	// +kubebuilder:validation:Pattern=`^([01][0-9]|2[0-3]):[0-5][0-9]$`
	From string `json:"from"`
	// to is when it ends, as HH:MM. A window whose end is not after its beginning ends on the day after.
	// +kubebuilder:validation:Pattern=`^([01][0-9]|2[0-3]):[0-5][0-9]$`
	To string `json:"to"`
	// timeZone is a name of the IANA database, such as Europe/Berlin.
	// +kubebuilder:default=UTC
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	TimeZone string `json:"timeZone,omitempty"`
}

// Weekday is a day of the week.
// +kubebuilder:validation:Enum=Mon;Tue;Wed;Thu;Fri;Sat;Sun
type Weekday string
