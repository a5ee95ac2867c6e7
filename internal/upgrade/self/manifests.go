package self

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// GuardFlag makes an agent guard the upgrade that the Deployment's record is about, and end.
const GuardFlag = "--guard"

// about are the labels and the owner of what an upgrade makes. It is not the agent: the Deployment's selector must not match.
func about(d *appsv1.Deployment, name, role string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: v1alpha1.AgentNamespace, Name: name,
		Labels: map[string]string{"app.kubernetes.io/name": role, "app.kubernetes.io/part-of": "umbel"},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "Deployment", Name: d.Name, UID: d.UID,
		}},
	}
}

// rehearsal is the pod of a rehearsal: the agent's, with another image, and no right to write to its folder.
func rehearsal(d *appsv1.Deployment, record Record, node string) *corev1.Pod {
	spec := *d.Spec.Template.Spec.DeepCopy()
	spec.NodeName = node // where the agent's volumes are; a scheduler could choose another
	spec.RestartPolicy = corev1.RestartPolicyNever
	seconds := int64(podRehearsal.Seconds())
	spec.ActiveDeadlineSeconds = &seconds
	c := &spec.Containers[0]
	c.Image = record.Image
	c.Args = append(slices.Clone(c.Args), RehearseFlag)
	c.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	for i := range c.VolumeMounts {
		c.VolumeMounts[i].ReadOnly = true
	}
	return &corev1.Pod{ObjectMeta: about(d, rehearsalPod, rehearsalPod), Spec: spec}
}

// guardJob is the guard: the program that is proven, on the node that has its image if that can be.
func guardJob(d *appsv1.Deployment, record Record, node string) *batchv1.Job {
	template := d.Spec.Template.Spec.DeepCopy()
	c := template.Containers[0]
	c.Name, c.Image, c.Args, c.VolumeMounts = "guard", record.FromImage, []string{GuardFlag}, nil
	c.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	c.Resources = corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi"),
	}}
	retries, forgotten := int32(100), int32(600)
	name := fmt.Sprintf("umbel-agent-guard-%s-%d", record.Build[max(0, len(record.Build)-sumLength):], record.Deadline.Unix())
	return &batchv1.Job{
		ObjectMeta: about(d, name, "umbel-agent-guard"),
		Spec: batchv1.JobSpec{
			BackoffLimit: &retries, TTLSecondsAfterFinished: &forgotten,
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/name": "umbel-agent-guard", "app.kubernetes.io/part-of": "umbel"}},
				Spec: corev1.PodSpec{
					ServiceAccountName: template.ServiceAccountName, PriorityClassName: template.PriorityClassName,
					Tolerations: template.Tolerations, ImagePullSecrets: template.ImagePullSecrets,
					RestartPolicy: corev1.RestartPolicyOnFailure, Containers: []corev1.Container{c},
					Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
						PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{
							Weight: 100,
							Preference: corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{{
								Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{node},
							}}},
						}},
					}},
				},
			},
		},
	}
}
