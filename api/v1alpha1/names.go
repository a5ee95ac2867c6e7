package v1alpha1

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

const (
	// SystemNamespace holds what Umbel keeps for itself on the hub.
	SystemNamespace = "umbel-system"

	// AgentNamespace holds the agent on a member. It is another one than the hub's, because a hub may run on a cluster
	// that is its own member, and owns all that joining installs: with it, all of that goes.
	AgentNamespace = "umbel-agent"

	// FieldManager is the name under which an agent applies objects on a member.
	FieldManager = "umbel-agent"

	// PackageLabel stands on every object that an agent applied, with PackageLabelValue as its value. Agents watch
	// by it, so they see managed objects only.
	PackageLabel = "umbel.dev/package"

	// TakeOverAnnotation, set to "true" on an object in a source, lets the agent take fields over that another
	// manager of that object owns. Without it a conflict is reported and the object is left alone.
	TakeOverAnnotation = "umbel.dev/take-over"

	// OnLeavingLabel on an object, in a source or on a member, says what becomes of it when it leaves its package there:
	// LeavingKeep or LeavingDelete. Without it, what the package made is deleted, and what was there before it stays and loses
	// what was added to it. It is no annotation, because a Deployment whose annotations change counts as changed.
	OnLeavingLabel = "umbel.dev/on-leaving"
	// LeavingKeep leaves the object as it is; it is nobody's from then on.
	LeavingKeep = "keep"
	// LeavingDelete deletes it, also where it was there before: whoever had it gave it to the package.
	LeavingDelete = "delete"

	// AdoptedFromLabel stands on an object that `umbel adopt` took over, and says whose its fields were, so that they can be given
	// back: MANAGER.OPERATION, and two underscores between several.
	AdoptedFromLabel = "umbel.dev/adopted-from"

	// AdoptionsAnnotation is on a Package that `umbel adopt` made, and names the clusters that it has begun with and that are not
	// selected yet, with commas between them. From whom it took over, and how that one was, a cluster remembers itself.
	AdoptionsAnnotation = "umbel.dev/adoptions"

	// UndoAnnotation stands on an object that is being brought back after it was deleted, with the deletion as its value,
	// until the object is as it was.
	UndoAnnotation = "umbel.dev/undo"

	// RefreshAnnotation on a Package asks for a fetch of its source now. Any new value counts as a request.
	RefreshAnnotation = "umbel.dev/refresh-requested-at"

	// OnlyForAnnotation on a Secret with credentials says for which address they are, such as https://git.example.com/team:
	// they are sent to no other.
	OnlyForAnnotation = "umbel.dev/only-for"

	// WebhookLabel on a Secret makes it a receiver of pushes. Its value is who sends them: github, gitlab, gitea, bitbucket or
	// registry.
	WebhookLabel = "umbel.dev/webhook"

	// RestoredAnnotation stands on a Package that was restored from a backup, with the time that the backup shows. The hub
	// knows what was then: it delivers the Package when it has read its source again, and prunes it from no cluster because of
	// a selection, until `umbel restore --finish` takes the annotation away.
	RestoredAnnotation = "umbel.dev/restored-from"

	// ClusterAnnotation stands on objects that `umbel get --clusters` writes as JSON or YAML: the member that holds them.
	// No object in an API has it.
	ClusterAnnotation = "umbel.dev/cluster"

	// Finalizer keeps a MemberCluster or a Package until the members have let go of what it put there.
	Finalizer = "umbel.dev/detach"

	// HubLease is a Lease in SystemNamespace that the hub renews every few seconds. Statuses are as old as it is: past
	// its duration, a reader takes them for Unknown.
	HubLease = "umbel-hub"

	// ReplicaLabel stands on the Leases of a hub's replicas in SystemNamespace, with the replica's name as its value, and
	// ReplicaAddress is the annotation in which each says where the others reach its gateway, as HOST:PORT. ReplicaKey is the
	// fingerprint of the key with which it dials them.
	ReplicaLabel   = "umbel.dev/replica"
	ReplicaAddress = "umbel.dev/address"
	ReplicaKey     = "umbel.dev/key"

	// ClusterSetLabel on SystemNamespace is the name of the fleet, as SIG-Multicluster's tools know it. The hub draws one
	// when there is none.
	ClusterSetLabel = "multicluster.x-k8s.io/clusterset"

	// EpochAnnotation on SystemNamespace is a number that grows with each restore of the hub. Agents remember the highest, and
	// are with no hub that has a lower one.
	EpochAnnotation = "umbel.dev/epoch"

	// AdminGroup is the group of people who may do everything on the hub and, where `umbel join` says so, on members.
	AdminGroup = "umbel:admins"
)

// ClusterName is the name of a MemberCluster.
type ClusterName string

// MembersDomain is the domain whose names members have at the hub's door, for TLS alone: no DNS knows them. A request to CLUSTER.MembersDomain
// is one to that cluster, whatever its path.
const MembersDomain = "clusters.umbel.internal"

// ServerName is by which name a cluster is asked for at the hub's door; empty when it has none, since its own is not a single label.
func (n ClusterName) ServerName() string {
	if n == "" || strings.Contains(string(n), ".") {
		return ""
	}
	return string(n) + "." + MembersDomain
}

// ClusterOf returns which cluster a server name asks for; empty when it asks for none.
func ClusterOf(serverName string) ClusterName {
	name, asks := strings.CutSuffix(serverName, "."+MembersDomain)
	if !asks || strings.Contains(name, ".") {
		return ""
	}
	return ClusterName(name)
}

// PackageKey names a Package across namespaces, as NAMESPACE/NAME.
type PackageKey string

// KeyOf returns the key of the Package name in namespace.
func KeyOf(namespace, name string) PackageKey {
	return PackageKey(namespace + "/" + name)
}

// Split returns the namespace and the name of the Package.
func (k PackageKey) Split() (namespace, name string) {
	namespace, name, _ = strings.Cut(string(k), "/")
	return namespace, name
}

// LabelValue returns the value that PackageLabel has on the objects of the Package: NAMESPACE.NAME, or, where that
// is longer than the 63 characters of a label value, its beginning and eight hex digits of its SHA-256.
func (k PackageKey) LabelValue() string {
	namespace, name := k.Split()
	value := namespace + "." + name
	if len(value) <= 63 {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	return fmt.Sprintf("%s-%s", strings.TrimRight(value[:54], "-."), hex.EncodeToString(sum[:4]))
}

// Repository is where the content of the Package is stored. The dot keeps namespace and name apart, since neither has
// one, and keeps a Package called blobs from being taken for the registry's own folder.
func (k PackageKey) Repository() string {
	namespace, name := k.Split()
	return "packages/" + namespace + "." + name
}

const (
	// ContentPath is where the hub serves the contents of Releases to people: behind it come NAMESPACE/NAME/DIGEST.
	ContentPath = "/content/"
	// ContentSubresource of a Release is what somebody needs the verb get on to read them.
	ContentSubresource = "content"
	// HistoryPath is where the hub serves the histories of members to people: behind it comes the member's name, and as the
	// query HistorySince. Who may get the MemberCluster reads its history, of which its status is the end.
	HistoryPath = "/history/"
	// HistorySince bounds what is read: a time of RFC 3339, of the earliest entry.
	HistorySince = "since"
)
