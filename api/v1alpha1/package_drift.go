package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

const (
	// DriftAnnotation on an object in a source says what is done when somebody else changes or deletes it: repair, report or
	// ignore. It goes before what the Package says.
	DriftAnnotation = "umbel.dev/drift"

	// ConfigSyncMutationAnnotation, with the value ignore, is how Config Sync's users say umbel.dev/drift: ignore.
	ConfigSyncMutationAnnotation = "client.lifecycle.config.k8s.io/mutation"

	// DependsOnAnnotation on an object in a source names those of the same package that have to be healthy before it is
	// applied: KIND[.GROUP] [NAMESPACE/]NAME, and a comma between two.
	DependsOnAnnotation = "umbel.dev/depends-on"

	// DependsOnTimeoutAnnotation is how long it waits for them, such as 10m.
	DependsOnTimeoutAnnotation = "umbel.dev/depends-on-timeout"

	// ConfigSyncDependsOnAnnotation is how Config Sync's users say umbel.dev/depends-on.
	ConfigSyncDependsOnAnnotation = "config.kubernetes.io/depends-on"

	// BreakGlassGroup is the group of those who change what spec.drift.prevention keeps everybody else from changing. Nobody
	// is in it by themselves: who may impersonate it, which is an administrator's right, takes it on for one command.
	BreakGlassGroup = "umbel:break-glass"

	// PreventionLabel stands on the admission policies that an agent makes for Packages.
	PreventionLabel = "umbel.dev/prevents-drift-of"
)

// DriftMode says what is done about an object that somebody else changed or deleted.
// +kubebuilder:validation:Enum=Repair;Report
type DriftMode string

const (
	// DriftRepair puts it back.
	DriftRepair DriftMode = "Repair"
	// DriftReport says so, and leaves it until a release changes the object.
	DriftReport DriftMode = "Report"
)

// DriftPrevention says whether the members' API servers keep others from changing what a Package holds.
// +kubebuilder:validation:Enum=None;Deny
type DriftPrevention string

const (
	// PreventNone lets everybody change what their rights allow.
	PreventNone DriftPrevention = "None"
	// PreventDeny refuses it, with a message that names the Package and its source.
	PreventDeny DriftPrevention = "Deny"
)

// DriftSpec says what is done when somebody else changes what a Package holds on a member. A change of it reaches all
// clusters at once and needs no new release.
type DriftSpec struct {
	// mode: Repair puts objects back, Report only tells of them. The annotation umbel.dev/drift on an object goes before it.
	// +kubebuilder:default=Repair
	// +optional
	Mode DriftMode `json:"mode,omitempty"`
	// ignore are fields that are set when an object is created, and left to others from then on.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Ignore []DriftIgnore `json:"ignore,omitempty"`
	// prevention: Deny makes the member's API server refuse others who change or delete the objects of the Package. It needs
	// Kubernetes 1.30.
	// +kubebuilder:default=None
	// +optional
	Prevention DriftPrevention `json:"prevention,omitempty"`
	// allow are those who are let through all the same. The agent, the control plane's own controllers and the group
	// umbel:break-glass always are.
	// +optional
	Allow *DriftAllowed `json:"allow,omitempty"`
}

// DriftIgnore is fields of some objects. What is not given matches every object.
// +kubebuilder:validation:XValidation:rule="has(self.jsonPointers) || has(self.managers)",message="say which fields: jsonPointers, managers, or both"
type DriftIgnore struct {
	// target are the objects.
	// +optional
	Target DriftTarget `json:"target,omitempty"`
	// jsonPointers are fields as the source has them, such as /spec/replicas.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:Pattern=`^/.+`
	// +optional
	JSONPointers []string `json:"jsonPointers,omitempty"`
	// managers are field managers whose fields are theirs, such as the name of an autoscaler.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	// +optional
	Managers []string `json:"managers,omitempty"`
}

// DriftTarget names objects. What is not given matches all.
type DriftTarget struct {
	// group of the API, such as apps; without it any, and "core" for the one that has no name.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Group string `json:"group,omitempty"`
	// kind such as Deployment.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Kind string `json:"kind,omitempty"`
	// namespace of the object.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// name of the object.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Name string `json:"name,omitempty"`
}

// DriftAllowed are people and programs.
type DriftAllowed struct {
	// users by their names.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=256
	// +optional
	Users []string `json:"users,omitempty"`
	// groups of users.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=256
	// +optional
	Groups []string `json:"groups,omitempty"`
	// serviceAccounts as NAMESPACE/NAME, such as cert-manager/cert-manager.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`
	// +optional
	ServiceAccounts []string `json:"serviceAccounts,omitempty"`
}

// HealthRule says, in CEL over the object as self, when an object of a kind is healthy. One that cannot be evaluated, because
// it refers to a field that is not there yet, says nothing: the object is not healthy then, and not failed either.
type HealthRule struct {
	// group of the API, such as cert-manager.io.
	// +kubebuilder:default=""
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Group string `json:"group"`
	// kind such as Certificate.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`
	// healthy is true when the object is what it is to be.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Healthy string `json:"healthy"`
	// progressing is true while it is on its way, whatever healthy says.
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Progressing string `json:"progressing,omitempty"`
	// failed is true when it will not become healthy by itself.
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Failed string `json:"failed,omitempty"`
	// message is a text that says why it is not healthy.
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Message string `json:"message,omitempty"`
}

// PackageDependency is a Package that has to be healthy first.
type PackageDependency struct {
	// name of the Package.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// namespace of it; the default is the same.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// clusterSelector asks that it is healthy on every cluster of its own that is selected here, and at least on one; without
	// it, that it is on the very cluster that waits. Clusters that are not connected are left out, and named.
	// +optional
	ClusterSelector *metav1.LabelSelector `json:"clusterSelector,omitempty"`
	// timeout is how long a cluster waits before the condition says that it takes too long. It goes on waiting.
	// +kubebuilder:default="30m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="timeout is at least 1s"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// DriftAction says what was done about an object that somebody else changed or deleted.
// +kubebuilder:validation:Enum=Repaired;Reported;Fought
type DriftAction string

const (
	// DriftRepaired: it was put back.
	DriftRepaired DriftAction = "Repaired"
	// DriftReported: it was left, since its mode is Report.
	DriftReported DriftAction = "Reported"
	// DriftFought: it was put back, is undone again and again, and is put back at a slower pace.
	DriftFought DriftAction = "Fought"
)

// MaxDrifts is how many drifts of one Package on one member are kept.
const MaxDrifts = 10

// Drift is one object that somebody else changed or deleted.
type Drift struct {
	// object is KIND[.GROUP] [NAMESPACE/]NAME.
	Object string `json:"object"`
	// action says what was done.
	Action DriftAction `json:"action"`
	// by is the field manager that did it, such as kubectl-edit; empty when nobody can say, as with a deletion.
	// +optional
	By string `json:"by,omitempty"`
	// user is who did it, by the audit log of the member's API server; empty where the agent has none, and when the log does not say.
	// +optional
	User string `json:"user,omitempty"`
	// fields that differ, at most a few; none when the object was deleted.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +optional
	Fields []string `json:"fields,omitempty"`
	// deleted: the object was not there any more.
	// +optional
	Deleted bool `json:"deleted,omitempty"`
	// time is when it was changed, by the member's API server, or when the agent noticed.
	Time metav1.Time `json:"time"`
	// count is how often the same happened to it.
	// +optional
	Count int32 `json:"count,omitempty"`
}
