package health

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	// newcomer is how long a hub that was started anew, and a cluster that was just made, may be silent before that is trouble.
	newcomer = time.Minute
	// soon is how long before its end a certificate that nobody renews is more than a warning.
	soon = 48 * time.Hour
)

// disconnected says how bad it is that a cluster is not connected, by the reason of its condition Connected.
var disconnected = map[string]Level{
	v1alpha1.ReasonProbeTimeout: Critical, v1alpha1.ReasonSessionClosed: Critical, v1alpha1.ReasonHubRestarted: Critical,
	v1alpha1.ReasonAPIUnreachable: Critical, v1alpha1.ReasonCertificateRefused: Critical, v1alpha1.ReasonProtocolMismatch: Critical,
	v1alpha1.ReasonHubSuperseded: Critical, v1alpha1.ReasonTokenRefused: Failing,
	v1alpha1.ReasonAwaitingAgent: Waiting, v1alpha1.ReasonPendingApproval: Waiting, v1alpha1.ReasonSuspended: Waiting, v1alpha1.ReasonKeyRevoked: Waiting,
	v1alpha1.ReasonDenied: "", v1alpha1.ReasonHibernated: "", // it is so because somebody wants it so
}

// Expected says whether a cluster should be connected, and whether it is. One that has never come, or is kept out by somebody, is not
// expected.
func Expected(cluster *v1alpha1.MemberCluster) (expected, connected bool) {
	c := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionConnected)
	switch {
	case c == nil:
		return false, false
	case c.Status == metav1.ConditionTrue:
		return true, true
	}
	level, known := disconnected[c.Reason]
	return !known || level == Critical, false
}

// Awaited says whether the reason of a cluster's condition Connected is that it has never come, or that somebody keeps it out: nobody needs to look
// into that.
func Awaited(reason string) bool {
	level, known := disconnected[reason]
	return known && (level == Waiting || level == "") && reason != v1alpha1.ReasonHibernated
}

// Is says whether a condition is True.
func Is(conditions []metav1.Condition, kind string) bool {
	return meta.IsStatusConditionTrue(conditions, kind)
}

func (f *Fleet) clusters(packages []Finding) (found []Finding) {
	told := map[v1alpha1.PackageKey]bool{}
	for _, p := range packages {
		if p.Level != Warning {
			told[v1alpha1.KeyOf(p.Namespace, p.Name)] = true
		}
	}
	for i := range f.Clusters {
		cluster := &f.Clusters[i]
		found = append(found, f.connection(cluster)...)
		found = append(found, f.certificates(cluster)...)
		found = append(found, synced(cluster, told)...)
	}
	return found
}

func describeCluster(name string) string { return "umbel describe cluster " + name }

// connection says what is wrong with the way to a cluster.
func (f *Fleet) connection(cluster *v1alpha1.MemberCluster) []Finding {
	c := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionConnected)
	if c == nil {
		if f.Now.Sub(cluster.CreationTimestamp.Time) < newcomer {
			return nil
		}
		c = &metav1.Condition{Status: metav1.ConditionUnknown, Reason: "NeverSeen", Message: "the hub has not said anything of it yet", LastTransitionTime: cluster.CreationTimestamp}
	}
	if c.Status == metav1.ConditionTrue {
		return nil
	}
	level, known := disconnected[c.Reason]
	switch {
	case !known:
		level = Warning
		if c.Status == metav1.ConditionUnknown {
			level = Critical
		}
	case c.Reason == v1alpha1.ReasonHubRestarted && f.Now.Sub(c.LastTransitionTime.Time) < newcomer:
		level = Warning // its agent dials again within half a minute
	case level == "":
		return nil
	}
	finding := condition(level, Cluster, cluster, c, describeCluster(cluster.Name))
	if cluster.Status.LastSeen != nil && level == Critical {
		finding.Since = cluster.Status.LastSeen.DeepCopy()
	}
	switch c.Reason {
	case v1alpha1.ReasonPendingApproval:
		finding.Command = "umbel approve " + cluster.Name
	case v1alpha1.ReasonSuspended:
		finding.Command = "umbel resume " + cluster.Name
	}
	if cluster.DeletionTimestamp != nil {
		if leaves := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionReady); leaves != nil && leaves.Reason == v1alpha1.ReasonLeaving {
			finding = condition(Waiting, Cluster, cluster, leaves, describeCluster(cluster.Name))
			finding.Since = cluster.DeletionTimestamp.DeepCopy()
		}
	}
	return []Finding{finding}
}

// certificates says whether one ends by which the cluster is reached, as its agent says.
func (f *Fleet) certificates(cluster *v1alpha1.MemberCluster) []Finding {
	c := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionCertificatesValid)
	until, _ := cluster.Status.CertificateEnd()
	ends := !until.IsZero() && until.Sub(f.Now) < v1alpha1.CertificateWarning
	if (c == nil || c.Status != metav1.ConditionFalse) && !ends {
		return nil
	}
	if c == nil || c.Status != metav1.ConditionFalse { // its agent was not there to say so
		_, of := cluster.Status.CertificateEnd()
		c = &metav1.Condition{Reason: v1alpha1.ReasonCertificateEnds, Message: fmt.Sprintf("the certificate of %s ends at %s", of, until.UTC().Format(time.RFC3339))}
	}
	level := Warning
	switch left := until.Sub(f.Now); {
	case until.IsZero():
	case left <= 0:
		level = Critical
	case left < soon:
		level = Failing
	}
	return []Finding{condition(level, Cluster, cluster, c, describeCluster(cluster.Name))}
}

// synced says why a cluster that is connected does not hold what it is to hold, where no package of those that are told of says so.
func synced(cluster *v1alpha1.MemberCluster, told map[v1alpha1.PackageKey]bool) []Finding {
	c := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionSynced)
	if c == nil || c.Status != metav1.ConditionFalse || c.Reason == v1alpha1.ReasonApplying {
		return nil
	}
	for i := range cluster.Status.Packages {
		held := &cluster.Status.Packages[i]
		if told[held.Package] && (held.Phase == v1alpha1.PackageFailed || held.DeletesHeld != nil) {
			return nil
		}
	}
	level := Failing
	if c.Reason == v1alpha1.ReasonDeletesHeld {
		level = Waiting
	}
	return []Finding{condition(level, Cluster, cluster, c, describeCluster(cluster.Name))}
}
