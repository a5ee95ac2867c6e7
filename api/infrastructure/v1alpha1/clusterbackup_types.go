package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ClusterBackup says that snapshots are taken of a cluster that the hub hosts, when, and where they are kept; its status says which
// there are. A cluster that is not there any more, or never was on this hub, can be restored from them.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=umbel,shortName=cb
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.spec.clusterName`
// +kubebuilder:printcolumn:name="Schedule",type=string,JSONPath=`.spec.schedule`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Last",type=string,JSONPath=`.status.snapshots[0].name`
// +kubebuilder:printcolumn:name="Drilled",type=string,JSONPath=`.status.conditions[?(@.type=="Drilled")].status`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ClusterBackup struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says of which cluster, when and where.
	Spec ClusterBackupSpec `json:"spec"`
	// status says which snapshots there are.
	// +optional
	Status ClusterBackupStatus `json:"status,omitempty"`
}

// ClusterBackupSpec says of which cluster snapshots are taken, when, and where they are kept.
type ClusterBackupSpec struct {
	// clusterName is the Cluster, in this namespace, whose HostedControlPlane is backed up. It need not be there: what is kept of one
	// that is gone is listed all the same.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="clusterName cannot change: make another ClusterBackup"
	ClusterName string `json:"clusterName"`

	// schedule is when, in the five fields of cron and in UTC, such as "0 */6 * * *"; or @hourly, @daily, @weekly. Without it a
	// snapshot is taken when somebody asks for one (`umbel cluster backup`).
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Schedule string `json:"schedule,omitempty"`

	// jitter is within which time after the schedule a snapshot is taken: always as long after it as follows from this object's UID, so
	// that many clusters do not begin at once. The default is none.
	// +optional
	Jitter *metav1.Duration `json:"jitter,omitempty"`

	// retain is how many snapshots are kept; older ones are deleted once a newer one is there.
	// +kubebuilder:default=7
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +optional
	Retain int32 `json:"retain,omitempty"`

	// drillSchedule is when the latest snapshot is restored beside the cluster, looked at, and taken away again; as schedule.
	// Without it that is done when somebody asks for it (`umbel cluster drill`).
	// +kubebuilder:validation:MaxLength=128
	// +optional
	DrillSchedule string `json:"drillSchedule,omitempty"`

	// target is where the snapshots are kept.
	Target BackupTarget `json:"target"`
}

// BackupTarget is where snapshots are kept: a folder, S3, or an OCI registry.
// +kubebuilder:validation:XValidation:rule="[has(self.folder), has(self.s3), has(self.oci)].filter(x, x).size() == 1",message="target is exactly one of folder, s3 and oci"
type BackupTarget struct {
	// folder keeps them on the hub's machine.
	// +optional
	Folder *FolderTarget `json:"folder,omitempty"`
	// s3 keeps them in a bucket.
	// +optional
	S3 *S3Target `json:"s3,omitempty"`
	// oci keeps each as an artifact of an OCI registry.
	// +optional
	OCI *OCITarget `json:"oci,omitempty"`
	// secretName is a Secret in this namespace with what the target asks for: username and password (in S3 the access key and the
	// secret key), and ca.crt for a server whose certificate a CA of one's own has signed.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	SecretName string `json:"secretName,omitempty"`
}

// FolderTarget is a folder of the hub's machine.
type FolderTarget struct {
	// name of the folder below backups/ of the hub's data folder. An administrator of that machine may mount something there, or link
	// it to another place; objects of the API name no path of a machine.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
}

// S3Target is a bucket.
type S3Target struct {
	// endpoint is the URL of the service, such as https://s3.eu-central-1.amazonaws.com.
	// +kubebuilder:validation:Pattern=`^https?://[^/@?#]+/?$`
	// +kubebuilder:validation:MaxLength=512
	Endpoint string `json:"endpoint"`
	// bucket must be there.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=63
	Bucket string `json:"bucket"`
	// prefix comes before the keys, which are NAMESPACE/CLUSTER/SNAPSHOT.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Prefix string `json:"prefix,omitempty"`
	// region of the bucket; the service is asked when it is empty.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Region string `json:"region,omitempty"`
}

// OCITarget is a registry.
type OCITarget struct {
	// url is where, such as https://registry.example.com/backups: the repository is URL/NAMESPACE/CLUSTER.
	// +kubebuilder:validation:Pattern=`^https?://[^@?#]+$`
	// +kubebuilder:validation:MaxLength=512
	URL string `json:"url"`
}

// ClusterBackupStatus says which snapshots there are.
type ClusterBackupStatus struct {
	// snapshots that the target has, the newest first.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=200
	// +optional
	Snapshots []ClusterSnapshot `json:"snapshots,omitempty"`
	// next is when the next one is due by the schedule.
	// +optional
	Next *metav1.Time `json:"next,omitempty"`
	// requested is the request (annotation infrastructure.umbel.dev/backup) that was answered last, by a snapshot or by a failure.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Requested string `json:"requested,omitempty"`
	// drill is what became of the latest drill.
	// +optional
	Drill *BackupDrill `json:"drill,omitempty"`
	// conditions: Ready, Drilled.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ClusterSnapshot is what etcd of a cluster held at one moment.
type ClusterSnapshot struct {
	// name of it, from when it was taken: YYYYMMDD-HHMMSS in UTC.
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// cluster is of which one, as NAMESPACE/NAME.
	// +kubebuilder:validation:MaxLength=320
	Cluster string `json:"cluster"`
	// time at which it was taken.
	Time metav1.Time `json:"time"`
	// size in bytes.
	Size int64 `json:"size"`
	// sha256 of it, in hex.
	// +kubebuilder:validation:MaxLength=64
	SHA256 string `json:"sha256"`
	// version of Kubernetes that the cluster ran.
	// +kubebuilder:validation:MaxLength=256
	Version string `json:"version"`
	// services is the range of addresses that its Services have.
	// +kubebuilder:validation:MaxLength=64
	Services string `json:"services"`
}

// BackupDrill is what became of a drill.
type BackupDrill struct {
	// snapshot that was restored.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Snapshot string `json:"snapshot,omitempty"`
	// requested is the request (annotation infrastructure.umbel.dev/drill) that it answers, if one did ask.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Requested string `json:"requested,omitempty"`
	// time at which it began.
	Time metav1.Time `json:"time"`
	// took is how long it was from the beginning until the API answered.
	// +optional
	Took *metav1.Duration `json:"took,omitempty"`
	// objects is how many objects of all kinds the restored API listed.
	// +optional
	Objects int64 `json:"objects,omitempty"`
	// namespaces is how many of them are Namespaces.
	// +optional
	Namespaces int64 `json:"namespaces,omitempty"`
}

// What one asks for by annotations. A value that is not the one that was answered last asks for it once.
const (
	// BackupAnnotation on a ClusterBackup asks for a snapshot, and DrillAnnotation for a drill.
	BackupAnnotation = "infrastructure.umbel.dev/backup"
	DrillAnnotation  = "infrastructure.umbel.dev/drill"
	// RestoreAnnotation on a HostedControlPlane asks for what a snapshot holds, as BACKUP/SNAPSHOT@REQUEST. Cluster API hands it on from
	// spec.topology.controlPlane.metadata of a Cluster. One that has never served begins with it; one that has served loses what it holds.
	RestoreAnnotation = "infrastructure.umbel.dev/restore"
)

// ConditionDrilled says of a ClusterBackup whether its latest drill succeeded; ConditionRestored of a HostedControlPlane whether it holds
// what it was asked to be restored to.
const (
	ConditionDrilled  = "Drilled"
	ConditionRestored = "Restored"
)

// ClusterBackupList is a list of ClusterBackups.
//
// +kubebuilder:object:root=true
type ClusterBackupList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ClusterBackup `json:"items"`
}
