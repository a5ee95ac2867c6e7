package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// DeletionPolicy says what happens to the objects that Umbel applied when their owner goes.
// +kubebuilder:validation:Enum=Orphan;Prune
type DeletionPolicy string

const (
	// DeletionOrphan leaves the objects where they are.
	DeletionOrphan DeletionPolicy = "Orphan"
	// DeletionPrune deletes them.
	DeletionPrune DeletionPolicy = "Prune"
)

// Admission says whether a cluster takes part in the fleet.
// +kubebuilder:validation:Enum=Admitted;Pending;Denied;Suspended
type Admission string

const (
	// AdmissionAdmitted lets the cluster's agent in.
	AdmissionAdmitted Admission = "Admitted"
	// AdmissionPending has a cluster that registered itself wait until somebody decides.
	AdmissionPending Admission = "Pending"
	// AdmissionDenied refuses it for as long as the MemberCluster is there.
	AdmissionDenied Admission = "Denied"
	// AdmissionSuspended keeps a member out for a while: it gets nothing new, and what it holds stays and is repaired.
	AdmissionSuspended Admission = "Suspended"
)

// MaxRevokedKeys is how many keys of one member can be revoked.
const MaxRevokedKeys = 64

// MemberCluster is one Kubernetes cluster of the fleet. Its labels are what placements select by.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=mc,categories=umbel
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63",message="the name of a MemberCluster is a DNS label: lower case letters, digits and '-', at most 63 characters"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Connected",type=string,JSONPath=`.status.conditions[?(@.type=="Connected")].status`
// +kubebuilder:printcolumn:name="Admission",type=string,JSONPath=`.spec.admission`
// +kubebuilder:printcolumn:name="Level",type=string,JSONPath=`.spec.level`
// +kubebuilder:printcolumn:name="Kubernetes",type=string,JSONPath=`.status.kubernetesVersion`
// +kubebuilder:printcolumn:name="Agent",type=string,JSONPath=`.status.agentVersion`,priority=1
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MemberCluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says how the cluster takes part in the fleet.
	// +kubebuilder:default={admission: Admitted}
	// +optional
	Spec MemberClusterSpec `json:"spec,omitempty"`
	// status is what the hub knows of the cluster, from its agent.
	// +optional
	Status MemberClusterStatus `json:"status,omitempty"`
}

// MemberClusterSpec says how a cluster takes part in the fleet.
//
// A cluster that was admitted once holds something, so it cannot go back to waiting: whoever waits or is denied is
// selected by no Placement, and what is not selected is pruned.
//
// +kubebuilder:validation:XValidation:rule="!(self.admission in ['Pending', 'Denied']) || oldSelf.admission in ['Pending', 'Denied']",message="admission: a cluster that was admitted cannot be Pending or Denied any more; Suspended keeps it out, and deleting the MemberCluster ends its membership"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.revokedKeys) || (has(self.revokedKeys) && oldSelf.revokedKeys.all(k, k in self.revokedKeys))",message="revokedKeys: a key that was revoked stays so; join the cluster again, which pins a new key"
type MemberClusterSpec struct {
	// deletionPolicy says what becomes of the objects that Umbel applied on the cluster when this MemberCluster is
	// deleted: Orphan leaves them where they are, Prune deletes them first.
	// +kubebuilder:default=Orphan
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// admission says whether the cluster's agent is let in: Admitted, Pending until somebody approves it, Denied, or
	// Suspended for a while. One that is Pending or Denied has never been let in, and is selected by no Placement.
	// +kubebuilder:default=Admitted
	// +optional
	Admission Admission `json:"admission,omitempty"`

	// revokedKeys are the fingerprints (SHA-256 in hex, as in status.identity) of keys that are never let in again under
	// this name. The one that is pinned loses its place when it is added. Keys can be added only.
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^[0-9a-f]{64}$`
	// +kubebuilder:validation:items:MaxLength=64
	// +optional
	RevokedKeys []string `json:"revokedKeys,omitempty"`

	// level says how far the hub goes on the cluster: Observed is looked at, and nothing is written there; on one that is Attached, Packages
	// are delivered as well (`umbel level`).
	// +kubebuilder:default=Attached
	// +optional
	Level Level `json:"level,omitempty"`

	// taints keep Placements that do not tolerate them away from the cluster (`umbel taint`).
	// +listType=map
	// +listMapKey=key
	// +listMapKey=effect
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Taints []Taint `json:"taints,omitempty"`

	// agent is the program that the cluster's agent is to run. AgentUpgrade sets it, in waves; without it the agent stays
	// what it is.
	// +optional
	Agent *AgentProgram `json:"agent,omitempty"`

	// undo names deletions, as status.deletions does, whose objects are to come back on the cluster. `umbel undo` sets it.
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:Pattern=`^[0-9a-f]{8}$`
	// +kubebuilder:validation:items:MaxLength=8
	// +optional
	Undo []string `json:"undo,omitempty"`

	// metrics says what the agent measures of the cluster and sends to the hub; absent, nothing.
	// +optional
	Metrics *MemberMetrics `json:"metrics,omitempty"`
}

// MemberMetrics says what an agent measures.
type MemberMetrics struct {
	// profile says how much: Off is nothing. Minimal is a few series per node and cluster, every minute, which `umbel top clusters`
	// and `umbel top nodes` need. Standard has pods, deployments and the API server's work as well, every 30 seconds. Full is all that the
	// API server, kubelets and cAdvisor have, however many series that is.
	// +kubebuilder:default=Standard
	// +optional
	Profile MetricsProfile `json:"profile,omitempty"`
}

// MetricsProfile says how much an agent measures.
// +kubebuilder:validation:Enum=Off;Minimal;Standard;Full
type MetricsProfile string

// The profiles, from nothing to everything.
const (
	MetricsOff      MetricsProfile = "Off"
	MetricsMinimal  MetricsProfile = "Minimal"
	MetricsStandard MetricsProfile = "Standard"
	MetricsFull     MetricsProfile = "Full"
)

// Measures returns the profile of the member's metrics.
func (s *MemberClusterSpec) Measures() MetricsProfile {
	if s.Metrics == nil {
		return MetricsOff
	}
	if s.Metrics.Profile == "" {
		return MetricsStandard
	}
	return s.Metrics.Profile
}

// AgentProgram is a program that an agent is to run.
type AgentProgram struct {
	// build tells it from all others: its version, a hyphen, and the first 12 hex digits of its SHA-256.
	// +kubebuilder:validation:Pattern=`^.+-[0-9a-f]{12}$`
	// +kubebuilder:validation:MaxLength=128
	Build string `json:"build"`
	// image holds it. An agent that runs as a process takes it from there, too, when it is one of the hub's images.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image"`
	// attempt tells a new try from the one before: an agent that failed does not try the same again by itself.
	// +optional
	Attempt int64 `json:"attempt,omitempty"`
}

// SameProgram says whether two builds are one program. What tells programs apart is their SHA-256; the version before it is
// for people.
func SameProgram(a, b string) bool {
	const sum = len("-") + 12
	return len(a) > sum && len(b) > sum && a[len(a)-sum:] == b[len(b)-sum:]
}

// UpgradePhase says how far an agent is with an upgrade.
// +kubebuilder:validation:Enum=Rehearsing;Switching;Done;Failed;RolledBack
type UpgradePhase string

const (
	// UpgradeRehearsing: the new program is fetched and tried beside the agent, which goes on.
	UpgradeRehearsing UpgradePhase = "Rehearsing"
	// UpgradeSwitching: it takes the agent's place, under the eyes of a guard.
	UpgradeSwitching UpgradePhase = "Switching"
	// UpgradeDone: it has been in session with the hub.
	UpgradeDone UpgradePhase = "Done"
	// UpgradeFailed: it failed its rehearsal, and nothing was changed.
	UpgradeFailed UpgradePhase = "Failed"
	// UpgradeRolledBack: it did not come into session in time, and the agent before took its place again.
	UpgradeRolledBack UpgradePhase = "RolledBack"
)

// MemberAgent is what a member's agent says of itself.
type MemberAgent struct {
	// build tells its program from all others; empty for an agent that is too old to upgrade itself.
	// +optional
	Build string `json:"build,omitempty"`
	// image is where its pod has the program from; empty for an agent that runs as a process.
	// +optional
	Image string `json:"image,omitempty"`
	// since is when the hub heard of this build first.
	// +optional
	Since metav1.Time `json:"since,omitempty"`
	// upgrade is what became of the upgrade that it was asked for last.
	// +optional
	Upgrade *MemberUpgrade `json:"upgrade,omitempty"`
}

// MemberUpgrade is what became of an upgrade.
type MemberUpgrade struct {
	// build and attempt are those of spec.agent.
	Build string `json:"build"`
	// attempt tells a new try from the one before.
	// +optional
	Attempt int64 `json:"attempt,omitempty"`
	// phase says how far the agent is.
	Phase UpgradePhase `json:"phase"`
	// message says what happens, or what went wrong.
	// +optional
	Message string `json:"message,omitempty"`
}

// MemberClusterStatus is what the hub knows of a cluster.
type MemberClusterStatus struct {
	// conditions: Joined, Connected, Synced, and Ready computed from them.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// identity is the agent's key that this hub has pinned.
	// +optional
	Identity *MemberIdentity `json:"identity,omitempty"`

	// agentVersion is the version that the agent reports of itself.
	// +optional
	AgentVersion string `json:"agentVersion,omitempty"`
	// agentFeatures are what the agent knows of that earlier versions do not: packages that need more of it wait.
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +optional
	AgentFeatures []string `json:"agentFeatures,omitempty"`
	// agent is which program the agent is, and how it fares with an upgrade.
	// +optional
	Agent *MemberAgent `json:"agent,omitempty"`
	// kubernetesVersion is the version of the member's API server, such as v1.36.3.
	// +optional
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`

	// properties are what the member says of itself as ClusterProperty objects (about.k8s.io), in the order of their
	// names; at most 64 of them, and none whose value is longer than 1024 bytes.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Properties []MemberProperty `json:"properties,omitempty"`

	// lastSeen is when the last probe came back. It is written when the connection is lost, not while it lives: an
	// idle member costs no writes. While Connected is True the member was seen within the last probe interval.
	// +optional
	LastSeen *metav1.Time `json:"lastSeen,omitempty"`

	// session is where the agent is in session, or was last, when the hub runs as several replicas: the one that is named
	// alone writes this status. A hub that is one process leaves it out.
	// +optional
	Session *MemberSession `json:"session,omitempty"`

	// packages is what the member holds or may hold, in the order of their names. A package is listed before its agent
	// is told to hold it, and until the agent says that it does not: what is not listed is not there.
	// +listType=map
	// +listMapKey=package
	// +optional
	Packages []MemberPackage `json:"packages,omitempty"`

	// lifecycle is how far its Kubernetes is, where the hub makes the cluster. Whatever makes clusters writes it, and nothing else
	// here.
	// +optional
	Lifecycle *MemberLifecycle `json:"lifecycle,omitempty"`

	// deletions is what the member lost by Packages, the newest first; at most ten. The objects themselves are with the
	// agent alone.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	// +optional
	Deletions []MemberDeletion `json:"deletions,omitempty"`
}

// MemberLifecycle is how far the Kubernetes of a cluster is that the hub makes.
type MemberLifecycle struct {
	// version is the Kubernetes that the Cluster is to have (spec.topology.version); empty when it is of no class, so that nobody
	// can upgrade it here.
	// +optional
	Version string `json:"version,omitempty"`
	// next are the versions that it can be brought to: those of its class that are later, and at most one minor away. Where the
	// class does not say which it has, minors such as v1.36, of which any will do.
	// +listType=atomic
	// +optional
	Next []string `json:"next,omitempty"`
	// phase says how far it is with that version.
	Phase LifecyclePhase `json:"phase"`
	// message says what it waits for, or why it is not upgraded.
	// +optional
	Message string `json:"message,omitempty"`
	// refused is the version that a Rollout would have it brought to, and that it is not brought to for the reason in message.
	// +optional
	Refused string `json:"refused,omitempty"`
}

// LifecyclePhase says how far a cluster is with its version of Kubernetes.
// +kubebuilder:validation:Enum=Ready;Working
type LifecyclePhase string

const (
	// LifecycleReady: the control plane and all machines are of it, and at work.
	LifecycleReady LifecyclePhase = "Ready"
	// LifecycleWorking: something of it is not, or not yet.
	LifecycleWorking LifecyclePhase = "Working"
)

// MemberProperty is one ClusterProperty of a member.
type MemberProperty struct {
	// name of the ClusterProperty, such as cluster.clusterset.k8s.io.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// value of it.
	// +kubebuilder:validation:MaxLength=1024
	Value string `json:"value"`
	// since is when the hub heard of this value first.
	Since metav1.Time `json:"since"`
}

const (
	// MaxProperties is how many ClusterProperties of a member are told to the hub.
	MaxProperties = 64
	// RecipientsProperty is the ClusterProperty that says what to encrypt secrets for, so that the member can open them: one
	// recipient of age a line, the first of which is the one to use.
	RecipientsProperty = "recipients.age.umbel.dev"
	// CertificateProperty is the ClusterProperty that says when the first certificate ends by which the cluster is reached, and whose it
	// is: a time as in RFC 3339, a space, and "API server", "kubelet of NODE", "CA" or "agent's own login".
	CertificateProperty = "certificates.umbel.dev"
	// AgeSecret is where a member has its own keys, in AgentNamespace.
	AgeSecret = "umbel-agent-age"
	// RotateAnnotation on that Secret has the agent make another key, whatever its value.
	RotateAnnotation = "umbel.dev/rotate"
	// MaxPropertyName and MaxPropertyValue bound each of them, in bytes. What is longer is left out.
	MaxPropertyName, MaxPropertyValue = 253, 1024
)

// MemberIdentity is the key by which a member is known.
type MemberIdentity struct {
	// keyFingerprint is the SHA-256 of the agent's public key (DER, SubjectPublicKeyInfo), in hex.
	KeyFingerprint string `json:"keyFingerprint"`
	// certificateNotAfter is when the agent's certificate expires, at the earliest: an agent that is connected renews it in time,
	// which is written when something else is.
	// +optional
	CertificateNotAfter *metav1.Time `json:"certificateNotAfter,omitempty"`
	// issuer is the beginning of the SHA-256 of the key of the CA that issued the agent's certificate.
	// +optional
	Issuer string `json:"issuer,omitempty"`
	// trust names the bundle of the hub's CAs that the agent keeps, by the beginning of its SHA-256.
	// +optional
	Trust string `json:"trust,omitempty"`
}

// MemberSession is one session of a member's agent with one replica of the hub.
type MemberSession struct {
	// replica is the name of the replica.
	Replica string `json:"replica"`
	// id tells this session from others with the same replica.
	ID string `json:"id"`
}

// MemberPackagePhase says how far a member is with a Package.
// +kubebuilder:validation:Enum=Applying;Applied;Failed;Removing
type MemberPackagePhase string

const (
	// PackageApplying: the release is being pulled or applied, or the agent has not said anything of it yet.
	PackageApplying MemberPackagePhase = "Applying"
	// PackageApplied: every object of the release is applied and what left it is pruned.
	PackageApplied MemberPackagePhase = "Applied"
	// PackageFailed: at least one object could not be applied; nothing was pruned.
	PackageFailed MemberPackagePhase = "Failed"
	// PackageRemoving: the Package does not belong on the member any more and its objects are being pruned.
	PackageRemoving MemberPackagePhase = "Removing"
)

// MemberPackage is the state of one Package on one member.
type MemberPackage struct {
	// package names it as NAMESPACE/NAME.
	Package PackageKey `json:"package"`
	// release is the Release that the member works on or holds.
	// +optional
	Release string `json:"release,omitempty"`
	// revision is the source revision of that Release, such as a Git commit.
	// +optional
	Revision string `json:"revision,omitempty"`
	// digest of the content that the member holds, as sha256:….
	// +optional
	Digest string `json:"digest,omitempty"`
	// phase says how far the member is.
	Phase MemberPackagePhase `json:"phase"`
	// message says what happens or what went wrong, in a sentence.
	// +optional
	Message string `json:"message,omitempty"`
	// objects is the number of objects in the release.
	Objects int32 `json:"objects"`
	// applied is how many of them are applied.
	Applied int32 `json:"applied"`
	// healthy is how many of them are healthy by kstatus.
	Healthy int32 `json:"healthy"`
	// failures are the objects that could not be applied or are unhealthy; at most ten.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Failures []ObjectFailure `json:"failures,omitempty"`
	// repairs counts how often an object of the Package was put back since the agent started.
	// +optional
	Repairs int64 `json:"repairs,omitempty"`
	// lastRepair is the latest of them.
	// +optional
	LastRepair *Repair `json:"lastRepair,omitempty"`
	// deletesHeld are deletes of the release that wait for `umbel approve deletes`.
	// +optional
	DeletesHeld *MemberDeletesHeld `json:"deletesHeld,omitempty"`
	// refused is the Release that the hub asks for and the member's agent does not take, since it is not what the hub signed.
	// +optional
	Refused string `json:"refused,omitempty"`
	// drifting is how many objects somebody else changed or deleted that are left so, since their drift is only reported.
	// +optional
	Drifting int32 `json:"drifting,omitempty"`
	// drifts are the latest objects that somebody else changed or deleted, since the agent started, the latest first.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	// +optional
	Drifts []Drift `json:"drifts,omitempty"`
	// contested are objects that other Packages want as well, and do not get; at most ten.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	// +optional
	Contested []Contest `json:"contested,omitempty"`
	// since is when the hub heard of this state first.
	// +optional
	Since metav1.Time `json:"since,omitempty"`
}

// ObjectFailure is one object that is not as it should be.
type ObjectFailure struct {
	// object is KIND[.GROUP] [NAMESPACE/]NAME.
	Object string `json:"object"`
	// file is where the object stands in the source.
	// +optional
	File string `json:"file,omitempty"`
	// message says what is wrong, and names the field where one is to blame.
	Message string `json:"message"`
}

// Repair is one object that was put back.
type Repair struct {
	// object is KIND[.GROUP] [NAMESPACE/]NAME.
	Object string `json:"object"`
	// cause is Deleted, or Changed by whom.
	Cause string `json:"cause"`
	// time is when the hub heard of it.
	Time metav1.Time `json:"time"`
}

// MemberClusterList is a list of MemberClusters.
// +kubebuilder:object:root=true
type MemberClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MemberCluster `json:"items"`
}
