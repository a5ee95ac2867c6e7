package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// MaxDeleteApprovals is how many approvals of deletes a Package keeps.
const MaxDeleteApprovals = 16

// PackageDeletes says what a Package may delete without a word. What goes beyond that waits for one, and everything else
// goes on. Namespaces, CustomResourceDefinitions and PersistentVolumeClaims take along what is in them: no budget allows
// them, they always wait for a word.
type PackageDeletes struct {
	// budget is how many objects one release may delete on a cluster: a number, or a percentage of the objects of the Package
	// that the cluster holds, those included. A percentage allows three objects of a small Package, though not more than
	// half of them, and one in any case; a number is taken as it is, and 0 allows none. The default is 10%.
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 : self.matches('^(100|[1-9]?[0-9])%$')",message="a budget is a number from 0 on, or a percentage from 0% to 100%"
	// +optional
	Budget *intstr.IntOrString `json:"budget,omitempty"`
	// approved are words that were given. `umbel approve deletes` writes them.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Approved []DeleteApproval `json:"approved,omitempty"`
	// clusterBudget is how many clusters may lose the Package at once because its Placement does not select them any more: a
	// number, or a percentage of those that hold it. Are there more, all of them keep it until somebody approves. It says
	// nothing of a Package that is deleted. The default is 10%, with few clusters as with few objects.
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 : self.matches('^(100|[1-9]?[0-9])%$')",message="a budget is a number from 0 on, or a percentage from 0% to 100%"
	// +optional
	ClusterBudget *intstr.IntOrString `json:"clusterBudget,omitempty"`
	// approvedRemoval names clusters that may lose the Package beyond that. `umbel approve deletes` writes it.
	// +optional
	ApprovedRemoval *RemovalApproval `json:"approvedRemoval,omitempty"`
}

// RemovalApproval lets clusters lose a Package that its Placement does not select any more.
type RemovalApproval struct {
	// placement and generation say which Placement, as its spec was: what it selects after a change is not approved.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Placement string `json:"placement"`
	// generation of that Placement.
	Generation int64 `json:"generation"`
	// clusters are those that may lose it.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4000
	// +kubebuilder:validation:items:MaxLength=63
	Clusters []ClusterName `json:"clusters"`
	// at is when it was approved.
	At metav1.MicroTime `json:"at"`
}

// DeleteApproval lets one release delete what the budget does not allow.
type DeleteApproval struct {
	// release whose deletes are approved.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Release string `json:"release"`
	// objects is how many objects it may delete on each cluster. Should a cluster hold more that would have to go, none does.
	// +kubebuilder:validation:Minimum=1
	Objects int32 `json:"objects"`
	// protected is how many of them may be Namespaces, CustomResourceDefinitions and PersistentVolumeClaims.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Protected int32 `json:"protected,omitempty"`
	// clusters are those on which it may; without any it may on all.
	// +listType=set
	// +kubebuilder:validation:MaxItems=4000
	// +kubebuilder:validation:items:MaxLength=63
	// +optional
	Clusters []ClusterName `json:"clusters,omitempty"`
	// at is when it was approved. It tells the approval from one before: what somebody brought back since waits for another.
	At metav1.MicroTime `json:"at"`
}

// MemberDeletesHeld are deletes on a member that wait for a word. Everything else of the release is applied.
type MemberDeletesHeld struct {
	// objects is how many objects the release would delete.
	Objects int32 `json:"objects"`
	// holds is how many objects of the Package the member holds, those included.
	Holds int32 `json:"holds"`
	// allowed is how many the budget allows.
	Allowed int32 `json:"allowed"`
	// protected is how many of them are Namespaces, CustomResourceDefinitions and PersistentVolumeClaims.
	// +optional
	Protected int32 `json:"protected,omitempty"`
	// kept is how many of them somebody brought back after they were deleted.
	// +optional
	Kept int32 `json:"kept,omitempty"`
	// names are those of the objects, as KIND[.GROUP] [NAMESPACE/]NAME; at most ten.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Names []string `json:"names,omitempty"`
}

const (
	// MaxDeletions is how many deletions the status of a member names.
	MaxDeletions = 10
	// MaxUndo is how many deletions of a member can be asked back at a time.
	MaxUndo = 32
)

// DeletionCause is why a deletion was allowed.
// +kubebuilder:validation:Enum=Budget;Approved;Removed
type DeletionCause string

const (
	// DeletionWithinBudget: the release deleted no more than the budget of its Package allows.
	DeletionWithinBudget DeletionCause = "Budget"
	// DeletionApproved: somebody approved what the release deletes.
	DeletionApproved DeletionCause = "Approved"
	// DeletionRemoved: the Package does not belong on the member any more.
	DeletionRemoved DeletionCause = "Removed"
)

// DeletionState says what can be done about a deletion, or was.
// +kubebuilder:validation:Enum=Kept;Undoing;Undone;Lost
type DeletionState string

const (
	// DeletionKept: the agent has the objects as they were.
	DeletionKept DeletionState = "Kept"
	// DeletionUndoing: they are on their way back.
	DeletionUndoing DeletionState = "Undoing"
	// DeletionUndone: they are back, but for those that the message names.
	DeletionUndone DeletionState = "Undone"
	// DeletionLost: the agent does not have them any more.
	DeletionLost DeletionState = "Lost"
)

// MemberDeletion is what a member lost of one Package at one time.
type MemberDeletion struct {
	// id is by what `umbel undo` knows it.
	ID string `json:"id"`
	// package names the Package as NAMESPACE/NAME.
	Package PackageKey `json:"package"`
	// release is the Release that the objects were not in; with cause Removed the one that was taken away.
	// +optional
	Release string `json:"release,omitempty"`
	// revision is the source revision of that Release.
	// +optional
	Revision string `json:"revision,omitempty"`
	// cause is why it was allowed.
	Cause DeletionCause `json:"cause"`
	// approval is when it was approved, as spec.deletes.approved of the Package has it.
	// +optional
	Approval string `json:"approval,omitempty"`
	// time is when it began, by the clock of the member.
	Time metav1.Time `json:"time"`
	// objects is how many objects were deleted.
	Objects int32 `json:"objects"`
	// names are those of the objects, as KIND[.GROUP] [NAMESPACE/]NAME; at most ten.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Names []string `json:"names,omitempty"`
	// state says whether they can come back.
	State DeletionState `json:"state"`
	// message says how many are back, and why others are not.
	// +optional
	Message string `json:"message,omitempty"`
}
