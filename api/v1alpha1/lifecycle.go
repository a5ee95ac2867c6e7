package v1alpha1

import "strings"

const (
	// JoinAnnotation on a Cluster of Cluster API, with the value "true", has it become a member of the fleet by itself, with its
	// name and its labels.
	JoinAnnotation = "umbel.dev/join"

	// ManagedAnnotation on a MemberCluster says which Cluster of Cluster API it is, as NAMESPACE/NAME: the hub makes and ends it.
	// A member without it is attached: somebody else's cluster, with an agent.
	ManagedAnnotation = "umbel.dev/managed-cluster"

	// AdoptedAnnotation on a MemberCluster says which Cluster of another management cluster it is, as ADDRESS NAMESPACE/NAME: it is made and
	// ended there.
	AdoptedAnnotation = "umbel.dev/adopted-from"

	// ImportedAnnotation on a MemberCluster says which cluster of another fleet it was imported as, by its whole name there.
	ImportedAnnotation = "umbel.dev/imported-from"

	// IssuerAnnotation on a MemberCluster is the issuer of its service accounts' tokens (the URL of OpenID Connect), where that is known before it
	// joins: a cluster with another one is not let in under this name by `umbel join`.
	IssuerAnnotation = "umbel.dev/issuer"

	// ProtectedAnnotation on a Cluster of Cluster API, with any value but "false", keeps it from being deleted: the hub's API
	// refuses that, whoever asks.
	ProtectedAnnotation = "umbel.dev/protected"

	// HibernatedAnnotation on a Cluster of Cluster API on the hub's machine, with the value "true", has its processes and machines end,
	// and keep their data and addresses; on a MemberCluster it says that its Cluster does.
	HibernatedAnnotation = "umbel.dev/hibernated"

	// PoolMinAnnotation and PoolMaxAnnotation on a pool of machines say how few and how many it may have, as its pods need. They are
	// Cluster API's, for cluster-autoscaler.
	PoolMinAnnotation = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size"
	PoolMaxAnnotation = "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size"

	// OrphansLabel on a ConfigMap says that it lists what may be left, outside of the hub, of the Cluster of that name.
	OrphansLabel = "umbel.dev/orphans-of"

	// ForceDetachAnnotation on a MemberCluster that is being deleted lets it go without its agent's word.
	ForceDetachAnnotation = "umbel.dev/force-detach"

	// AgentBootstrapSecret is where an agent that runs as a pod finds what it was given to find its hub.
	AgentBootstrapSecret = "umbel-agent-bootstrap"
)

// Protected says whether an object with these annotations is kept from being deleted.
func Protected(annotations map[string]string) bool {
	value, has := annotations[ProtectedAnnotation]
	return has && value != "false"
}

// Hibernated says whether an object with these annotations hibernates.
func Hibernated(annotations map[string]string) bool {
	return annotations[HibernatedAnnotation] == "true"
}

// SplitManaged reads a ManagedAnnotation.
func SplitManaged(value string) (namespace, name string, ok bool) {
	namespace, name, ok = strings.Cut(value, "/")
	return namespace, name, ok && namespace != "" && name != ""
}

// ReachesNodes says whether Cluster API keeps a label of a machine on its node too.
func ReachesNodes(label string) bool {
	domain, _, qualified := strings.Cut(label, "/")
	if !qualified {
		return false
	}
	for _, whole := range []string{"node.cluster.x-k8s.io", "node-restriction.kubernetes.io"} {
		if domain == whole || strings.HasSuffix(domain, "."+whole) {
			return true
		}
	}
	return domain == "node-role.kubernetes.io"
}
