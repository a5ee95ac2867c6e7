package self

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	// deployment is the agent's (deploy/agent.yaml), recordAnnotation where it has the record.
	deployment, recordAnnotation = "umbel-agent", "umbel.dev/agent-upgrade"
	// rehearsalPod is where a program rehearses.
	rehearsalPod = "umbel-agent-rehearsal"
	// podRehearsal is how long that may take, pulling the image included, and unpullable how long an image may fail to be
	// pulled: twice, with the pause between that nodes make.
	podRehearsal, unpullable = 2 * time.Minute, 25 * time.Second
	// glance is between two looks at a pod.
	glance = 250 * time.Millisecond
)

// Pod is the Host of an agent that runs as a pod of its Deployment.
type Pod struct {
	Client kubernetes.Interface
	// Name of the agent's pod. The default is the host's name, as Kubernetes gives it to a pod.
	Name string
}

// Load implements Host.
func (p Pod) Load(ctx context.Context) (Record, error) {
	_, record, err := p.load(ctx)
	return record, err
}

func (p Pod) load(ctx context.Context) (*appsv1.Deployment, Record, error) {
	d, err := p.Client.AppsV1().Deployments(v1alpha1.AgentNamespace).Get(ctx, deployment, metav1.GetOptions{})
	if err != nil {
		return nil, Record{}, fmt.Errorf("reading the agent's deployment: %w", err)
	}
	var record Record
	raw := d.Annotations[recordAnnotation]
	if raw == "" {
		return d, record, nil
	}
	if err := json.Unmarshal([]byte(raw), &record); err != nil {
		return d, Record{}, nil // whatever it is, no program of ours wrote it
	}
	return d, record, nil
}

// Save implements Host.
func (p Pod) Save(ctx context.Context, last, next Record) error {
	d, record, err := p.load(ctx)
	if err != nil {
		return err
	}
	if record != last {
		return ErrChanged
	}
	return p.write(ctx, d, next)
}

// write writes a record and what else was changed of the Deployment, if nobody else changed it since it was read.
func (p Pod) write(ctx context.Context, d *appsv1.Deployment, record Record) error {
	raw, err := json.Marshal(record)
	if err != nil {
		return err
	}
	metav1.SetMetaDataAnnotation(&d.ObjectMeta, recordAnnotation, string(raw))
	_, err = p.Client.AppsV1().Deployments(v1alpha1.AgentNamespace).Update(ctx, d, metav1.UpdateOptions{FieldManager: "umbel-agent-upgrade"})
	if apierrors.IsConflict(err) {
		return ErrChanged
	}
	if err != nil {
		return fmt.Errorf("writing the agent's deployment: %w", err)
	}
	return nil
}

// Image implements Host.
func (p Pod) Image(ctx context.Context) (string, error) {
	me, err := p.pod(ctx)
	if err != nil {
		return "", err
	}
	return me.Spec.Containers[0].Image, nil
}

// pod is the agent's own.
func (p Pod) pod(ctx context.Context) (*corev1.Pod, error) {
	name := p.Name
	if name == "" {
		var err error
		if name, err = os.Hostname(); err != nil {
			return nil, err
		}
	}
	me, err := p.Client.CoreV1().Pods(v1alpha1.AgentNamespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the agent's own pod: %w", err)
	}
	return me, nil
}

// Rehearse implements Host: in a pod on the agent's own node, where its volumes are.
func (p Pod) Rehearse(ctx context.Context, record Record) error {
	ctx, cancel := context.WithTimeout(ctx, podRehearsal)
	defer cancel()
	d, _, err := p.load(ctx)
	if err != nil {
		return err
	}
	me, err := p.pod(ctx)
	if err != nil {
		return err
	}
	if err := p.remove(ctx); err != nil {
		return err
	}
	pods := p.Client.CoreV1().Pods(v1alpha1.AgentNamespace)
	if _, err := pods.Create(ctx, rehearsal(d, record, me.Spec.NodeName), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making the pod of the rehearsal: %w", err)
	}
	err = p.attend(ctx)
	tidy, cancelTidy := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancelTidy()
	return errors.Join(err, p.remove(tidy))
}

const requestTimeout = 5 * time.Second

// remove deletes a rehearsal's pod and waits until it is gone.
func (p Pod) remove(ctx context.Context) error {
	pods := p.Client.CoreV1().Pods(v1alpha1.AgentNamespace)
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		err := pods.Delete(ctx, rehearsalPod, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("deleting the pod of a rehearsal: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("deleting the pod of a rehearsal: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// attend waits for the end of a rehearsal.
func (p Pod) attend(ctx context.Context) error {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	var since time.Time // since when the image cannot be pulled
	last := "its pod has not been seen"
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("it was not done in %s: %s", podRehearsal, last)
		case <-tick.C:
		}
		pod, err := p.Client.CoreV1().Pods(v1alpha1.AgentNamespace).Get(ctx, rehearsalPod, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return errors.New("somebody deleted its pod")
		}
		if err != nil {
			last = err.Error()
			continue
		}
		switch pod.Status.Phase {
		case corev1.PodSucceeded:
			return nil
		case corev1.PodFailed:
			return fmt.Errorf("it ended: %s", ending(pod))
		}
		seen := sight([]corev1.Pod{*pod})
		last = seen.Waits
		switch {
		case !seen.Unpullable:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > unpullable:
			return errors.New(seen.Waits)
		}
	}
}

// ending says how a pod ended.
func ending(pod *corev1.Pod) string {
	for _, c := range pod.Status.ContainerStatuses {
		if t := c.State.Terminated; t != nil {
			return exitOf(t)
		}
	}
	return strings.TrimSpace(pod.Status.Reason + " " + pod.Status.Message)
}

// exitOf says how a container ended.
func exitOf(t *corev1.ContainerStateTerminated) string {
	text := fmt.Sprintf("exit code %d", t.ExitCode)
	if t.Reason != "" && t.Reason != "Error" && t.Reason != "Completed" {
		text += " (" + t.Reason + ")"
	}
	if words := strings.TrimSpace(t.Message); words != "" {
		text += "; its last words: " + words
	}
	return text
}

// sight is what a guard sees of an agent's pods: of the one that is not on its way out.
func sight(pods []corev1.Pod) Sight {
	seen := Sight{Waits: "it has no pod"}
	for _, pod := range pods {
		if pod.DeletionTimestamp != nil {
			continue
		}
		seen.Waits = ""
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
				seen.Waits = "its pod has no node: " + c.Message
			}
		}
		for _, c := range pod.Status.ContainerStatuses {
			seen.Restarts = c.RestartCount
			if t := c.LastTerminationState.Terminated; t != nil {
				seen.Ended = exitOf(t)
			}
			if w := c.State.Waiting; w != nil {
				seen.Waits = strings.TrimSpace(w.Reason + " " + w.Message)
				seen.Unpullable = strings.Contains(w.Reason, "Image") || w.Reason == "RegistryUnavailable"
			}
		}
	}
	return seen
}

// Arm implements Host: the guard is a Job of the program that is proven.
func (p Pod) Arm(ctx context.Context, record Record) error {
	d, _, err := p.load(ctx)
	if err != nil {
		return err
	}
	me, err := p.pod(ctx)
	if err != nil {
		return err
	}
	_, err = p.Client.BatchV1().Jobs(v1alpha1.AgentNamespace).Create(ctx, guardJob(d, record, me.Spec.NodeName), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making the guard's job: %w", err)
	}
	return nil
}
