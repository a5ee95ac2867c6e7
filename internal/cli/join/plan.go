package join

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/enrol"
)

// course is what joining has to do.
type course string

const (
	// admit makes the cluster a member, or takes a member up that no agent has come for: with a token.
	admit course = "enrol"
	// renew brings the agent of a cluster that is a member already up to date. Its key proves who it is; no token is made.
	renew course = "renew"
)

// found is what a cluster holds of an agent when joining begins.
type found struct {
	// boot is what the agent was given to find its hub; zero when none was ever installed.
	boot v1alpha1.Bootstrap
	// fingerprint is that of the agent's key; empty when it has none yet.
	fingerprint string
	// deployment is the agent's, nil when no pod is to run.
	deployment *appsv1.Deployment
	// claim is the volume of the agent's state, nil when there is none.
	claim *corev1.PersistentVolumeClaim
	// classes are the StorageClasses of the cluster.
	classes []storagev1.StorageClass
	// issuer signs the tokens of its service accounts, and is no other cluster's; empty when it does not say.
	issuer string
}

// decide says what to do when name is to join; member is what the hub knows under that name, nil for nothing.
func decide(name v1alpha1.ClusterName, member *v1alpha1.MemberCluster, here found) (course, error) {
	switch {
	case member != nil && !member.DeletionTimestamp.IsZero():
		return "", fmt.Errorf("cluster %q is leaving the fleet; `umbel describe cluster %s` shows what it waits for; join when it has left", name, name)
	case member != nil && member.Status.Identity != nil && member.Status.Identity.KeyFingerprint != here.fingerprint:
		return "", fmt.Errorf("the name %q is taken: a cluster joined under it already (key %.12s…), and this cluster does not have that key; "+
			"choose another name, or, if that agent lost its key or its cluster is gone, run `umbel leave %s --force` first",
			name, member.Status.Identity.KeyFingerprint, name)
	case member != nil && member.Spec.Admission == v1alpha1.AdmissionSuspended:
		return "", fmt.Errorf("cluster %q is suspended: `umbel resume %s` lets it in again", name, name)
	case member != nil && (member.Spec.Admission == v1alpha1.AdmissionPending || member.Spec.Admission == v1alpha1.AdmissionDenied):
		return "", fmt.Errorf("cluster %q registered itself and has not been let in: `umbel approve %s` does", name, name)
	case member != nil && !issues(member, here.issuer):
		return "", fmt.Errorf("cluster %q was imported as %s, whose service accounts' tokens are issued by %s, and those of this cluster by %s: "+
			"take the kubeconfig of that cluster, or another name", name, member.Annotations[v1alpha1.ImportedAnnotation], member.Annotations[v1alpha1.IssuerAnnotation], here.issuer)
	case here.deployment != nil && here.boot.Cluster != "" && here.boot.Cluster != name:
		return "", fmt.Errorf("this cluster is a member already: its agent is %q of the hub at %s; run `umbel leave %s` there first",
			here.boot.Cluster, here.boot.Address, here.boot.Cluster)
	case member != nil && member.Status.Identity != nil:
		return renew, nil
	}
	return admit, nil
}

// issues says whether a member can be the cluster whose tokens are issued so: it is not known of each.
func issues(member *v1alpha1.MemberCluster, issuer string) bool {
	noted := member.Annotations[v1alpha1.IssuerAnnotation]
	return noted == "" || issuer == "" || strings.TrimSuffix(noted, "/") == strings.TrimSuffix(issuer, "/")
}

// chooseProxy returns the proxy by which the agent reaches the hub: the one that is asked for, or else the one that it has.
func chooseProxy(asked *string, here found) string {
	if asked != nil {
		return *asked
	}
	return here.boot.Proxy
}

// chooseImage returns the image of the agent: the one that is asked for, which is the hub's when it is empty. When none is
// asked for it is one of another registry that was asked for before, because this cluster may not be able to pull the
// hub's; else the hub's.
func chooseImage(asked *string, hubs string, here found) string {
	switch {
	case asked != nil && *asked != "":
		return *asked
	case asked != nil, here.deployment == nil:
		return hubs
	}
	for _, c := range here.deployment.Spec.Template.Spec.Containers {
		if c.Name == "agent" && !strings.HasPrefix(c.Image, here.boot.Address+"/") {
			return c.Image
		}
	}
	return hubs
}

// chooseAuditLog returns which audit log the agent reads: the one that is asked for, or else the one that it does, or else the one that
// is known of a local cluster.
func chooseAuditLog(asked *enrol.AuditLog, known string, here found) enrol.AuditLog {
	if asked != nil {
		return cmp.Or(*asked, enrol.Unread)
	}
	if here.deployment != nil {
		if log := enrol.AuditLogOf(here.deployment); log != "" {
			return log
		}
	}
	return enrol.AuditLog(known)
}

// noClass is what --storage-class says for a folder of the node, beside nothing at all.
const noClass = "none"

// chooseClass returns the StorageClass of the volume that the agent's state is kept on; empty means a folder of its node.
// asked is what the caller wants, nil for what fits: where it is already, else the cluster's default class.
func chooseClass(asked *string, here found) (string, error) {
	kept := ""
	if here.claim != nil && here.claim.Spec.StorageClassName != nil {
		kept = *here.claim.Spec.StorageClassName
	}
	switch {
	case asked == nil && here.deployment != nil:
		if volumeOf(here.deployment).PersistentVolumeClaim == nil {
			return "", nil
		}
		return kept, nil
	case asked == nil && here.claim != nil:
		return kept, nil
	case asked == nil:
		return defaultClass(here.classes), nil
	case *asked == "" || *asked == noClass:
		return "", nil
	case !slices.ContainsFunc(here.classes, func(c storagev1.StorageClass) bool { return c.Name == *asked }):
		return "", fmt.Errorf("--storage-class %q: the cluster has no such StorageClass; it has %s; %q keeps the agent's state in a folder of its node",
			*asked, names(here.classes), noClass)
	case here.claim != nil && kept != *asked:
		return "", fmt.Errorf("--storage-class %q: the agent's state is on a volume of StorageClass %q; join with --storage-class %s first, which lets go of that one",
			*asked, kept, noClass)
	}
	return *asked, nil
}

func volumeOf(deployment *appsv1.Deployment) corev1.VolumeSource {
	for _, v := range deployment.Spec.Template.Spec.Volumes {
		if v.Name == "state" {
			return v.VolumeSource
		}
	}
	return corev1.VolumeSource{}
}

// defaultClass returns the class that Kubernetes takes where none is named: of several, the one that was made last.
func defaultClass(classes []storagev1.StorageClass) string {
	var chosen *storagev1.StorageClass
	for i, c := range classes {
		if c.Annotations["storageclass.kubernetes.io/is-default-class"] != "true" {
			continue
		}
		if chosen == nil || chosen.CreationTimestamp.Before(&c.CreationTimestamp) {
			chosen = &classes[i]
		}
	}
	if chosen == nil {
		return ""
	}
	return chosen.Name
}

func names(classes []storagev1.StorageClass) string {
	if len(classes) == 0 {
		return "none at all"
	}
	var all []string
	for _, c := range classes {
		all = append(all, c.Name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

const (
	// pullPatience is how long an image may fail to be pulled: twice, with the pause between that nodes make.
	pullPatience = 20 * time.Second
	// lastWord is how long the hub may still take an agent for connected whose pod has been replaced: a probe interval, and
	// what writing it down takes.
	lastWord = 10 * time.Second
)

// vigil is what is known while joining waits for the agent.
type vigil struct {
	// replaced is the generation of a Deployment that was changed while its agent was connected: what the hub says then
	// may be about the pod before. Zero when there was none.
	replaced int64
	// connected is what the hub says, and said its latest words.
	connected bool
	said      string
	// rolledOut is when the changed pod was seen to run, unpulled since when an image could not be pulled, and why.
	rolledOut, unpulled time.Time
	why                 string
}

// hear takes in what the hub says of the member.
func (v *vigil) hear(member *v1alpha1.MemberCluster) {
	connected := meta.FindStatusCondition(member.Status.Conditions, v1alpha1.ConditionConnected)
	v.connected = connected != nil && connected.Status == metav1.ConditionTrue
	if connected != nil && connected.Message != "" {
		v.said = connected.Message
	}
}

// look takes in what the cluster shows of the agent at now.
func (v *vigil) look(seen sight, now time.Time) {
	if v.rolledOut.IsZero() && seen.runs(v.replaced) {
		v.rolledOut = now
	}
	why := seen.unpullable()
	if why == "" {
		v.unpulled, v.why = time.Time{}, ""
		return
	}
	if v.unpulled.IsZero() {
		v.unpulled = now
	}
	v.why = why
}

// over says whether the agent is connected, or will not be because its image cannot be had.
func (v *vigil) over(now time.Time) (connected, hopeless bool) {
	connected = v.connected && (v.replaced == 0 || !v.rolledOut.IsZero() && now.Sub(v.rolledOut) >= lastWord)
	return connected, !v.unpulled.IsZero() && now.Sub(v.unpulled) >= pullPatience
}

// sight is what a cluster shows of its agent.
type sight struct {
	deployment *appsv1.Deployment
	pods       []corev1.Pod
	events     []corev1.Event // of the pods, the newest last
}

// runs says whether the pod of a generation of the Deployment runs, and no other.
func (s sight) runs(generation int64) bool {
	if s.deployment == nil {
		return false
	}
	status := s.deployment.Status
	return status.ObservedGeneration >= generation && status.UpdatedReplicas == 1 && status.Replicas == 1 && status.AvailableReplicas == 1
}

// unpullable says, in the node's words, why the agent's image cannot be pulled; empty when that is not so.
func (s sight) unpullable() string {
	for _, pod := range s.pods {
		for _, c := range pod.Status.ContainerStatuses {
			w := c.State.Waiting
			if w == nil || !strings.Contains(w.Reason, "Image") && w.Reason != "RegistryUnavailable" {
				continue
			}
			return fmt.Sprintf("node %s cannot get the image %s: %s: %s", pod.Spec.NodeName, c.Image, w.Reason, s.cause(pod, w.Message))
		}
	}
	return ""
}

// cause returns the node's full message about an image: in between two attempts older nodes only say that they wait, and
// the cause is in an Event.
func (s sight) cause(pod corev1.Pod, message string) string {
	if !strings.HasPrefix(message, "Back-off") || strings.Contains(message, ": ") {
		return message
	}
	for _, event := range slices.Backward(s.events) {
		if event.InvolvedObject.UID == pod.UID && event.Reason == "Failed" && strings.HasPrefix(event.Message, "Failed to pull image") {
			return event.Message
		}
	}
	return message
}

// stuck says what keeps the agent from running; empty when nothing is known.
func (s sight) stuck() string {
	if why := s.unpullable(); why != "" {
		return why
	}
	if s.deployment != nil {
		for _, c := range s.deployment.Status.Conditions {
			if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
				return "the cluster refuses its pod: " + c.Message
			}
		}
	}
	if len(s.pods) == 0 {
		return "it has no pod: does the cluster have a controller manager and nodes?"
	}
	for _, pod := range s.pods {
		for _, c := range pod.Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil {
				return strings.TrimSpace(fmt.Sprintf("its pod waits: %s %s", w.Reason, w.Message))
			}
		}
		for _, c := range pod.Status.Conditions {
			if c.Status != corev1.ConditionTrue && c.Message != "" {
				return fmt.Sprintf("its pod is not %s: %s", c.Type, c.Message) + volumeAdvice(c.Message)
			}
		}
	}
	return ""
}

func volumeAdvice(message string) string {
	if !strings.Contains(strings.ToLower(message), "volume") {
		return ""
	}
	return "; with `--storage-class none` it keeps its state in a folder of its node"
}
