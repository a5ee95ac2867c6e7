package enrol

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	// group is that of Cluster API's kinds.
	group = "cluster.x-k8s.io"
	// capiFinalizer is Cluster API's own on a Cluster: when it is gone, the cluster is.
	capiFinalizer = "cluster." + group
	// finalizer keeps a Cluster until the fleet has forgotten its member.
	finalizer = "umbel.dev/member"
)

// course is what there is to do for a Cluster.
type course string

const (
	leave  course = "leave"  // it is not for us
	wait   course = "wait"   // Cluster API is at work
	join   course = "join"   // it is to be a member
	follow course = "follow" // it is a member that was adopted, if it is one, and that follows it
	rest   course = "rest"   // it hibernates, and its member is to say so
	forget course = "forget" // it is gone, and its member is to go
)

// decide says what to do for a Cluster.
func decide(cluster *unstructured.Unstructured) course {
	has := map[string]bool{}
	for _, f := range cluster.GetFinalizers() {
		has[f] = true
	}
	switch {
	case cluster.GetDeletionTimestamp() != nil && !has[finalizer]:
		return leave
	case cluster.GetDeletionTimestamp() != nil && has[capiFinalizer]:
		return wait
	case cluster.GetDeletionTimestamp() != nil:
		return forget
	case cluster.GetAnnotations()[v1alpha1.JoinAnnotation] != "true":
		return follow
	}
	paused, _, _ := unstructured.NestedBool(cluster.Object, "spec", "paused")
	serves, _, _ := unstructured.NestedBool(cluster.Object, "status", "initialization", "controlPlaneInitialized")
	if paused && v1alpha1.Hibernated(cluster.GetAnnotations()) && has[finalizer] {
		return rest
	}
	if paused || !serves {
		return wait
	}
	return join
}

// Labels returns the labels of a Cluster that its member has: all but those that are Cluster API's own.
func Labels(cluster *unstructured.Unstructured) map[string]string {
	labels := map[string]string{}
	for key, value := range cluster.GetLabels() {
		if prefix, _, ok := strings.Cut(key, "/"); ok && (prefix == group || strings.HasSuffix(prefix, "."+group)) {
			continue
		}
		labels[key] = value
	}
	return labels
}

// hasAll says whether a member has all labels that its Cluster gives it.
func hasAll(has, wanted map[string]string) bool {
	for key, value := range wanted {
		if got, ok := has[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// identityOf is how a member says which Cluster it is.
func identityOf(cluster *unstructured.Unstructured) string {
	return cluster.GetNamespace() + "/" + cluster.GetName()
}

// takenError says that a member of that name is another cluster.
type takenError struct{ name, of string }

func (e *takenError) Error() string {
	if e.of != "" {
		return fmt.Sprintf("the fleet has a member %q already, which is the Cluster %s: this one needs another name", e.name, e.of)
	}
	return fmt.Sprintf("the fleet has a member %q already, which joined by itself: `umbel leave %s` takes it out, or this Cluster needs another name", e.name, e.name)
}

// checkMember refuses a member that is not this Cluster. nil is none.
func checkMember(cluster *unstructured.Unstructured, member *v1alpha1.MemberCluster) error {
	if member == nil || member.Annotations[v1alpha1.ManagedAnnotation] == identityOf(cluster) {
		return nil
	}
	return &takenError{name: member.Name, of: member.Annotations[v1alpha1.ManagedAnnotation]}
}

// away says whether a member that had an agent is not connected, and is to be: nobody keeps it out, and it does not hibernate.
func away(member *v1alpha1.MemberCluster) bool {
	kept := member.Spec.Admission != "" && member.Spec.Admission != v1alpha1.AdmissionAdmitted
	return !kept && !v1alpha1.Hibernated(member.Annotations) && !meta.IsStatusConditionTrue(member.Status.Conditions, v1alpha1.ConditionConnected)
}
