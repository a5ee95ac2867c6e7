package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// calm are reasons for which a container waits that come by themselves, and go.
var calm = map[string]bool{"": true, "ContainerCreating": true, "PodInitializing": true}

// finding is what is wrong with a pod, and how much that tells: the lowest rank is told.
type finding struct {
	rank int
	pod  string
	text string
}

const (
	rankContainer = iota // a container cannot start or stay
	rankScheduling
	rankEvent // something happened to it, such as a volume that cannot be mounted
	rankReady // it runs and is not ready
	rankWaits // it is being made
)

// worst returns the sentence that tells most, and of how many pods it is true.
func worst(findings []finding) string {
	if len(findings) == 0 {
		return ""
	}
	slices.SortFunc(findings, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), strings.Compare(a.pod, b.pod))
	})
	first := findings[0]
	alike := 0
	for _, f := range findings[1:] {
		if f.rank == first.rank {
			alike++
		}
	}
	text := fmt.Sprintf("pod %s: %s", first.pod, first.text)
	if alike > 0 {
		text += fmt.Sprintf(" (and %d more %s)", alike, v1alpha1.Agreeing(alike, "pod", "pods"))
	}
	return text
}

// ofPod says what is wrong with a pod, or that nothing is.
func ofPod(pod *corev1.Pod, events []corev1.Event) (finding, bool) {
	found := finding{pod: pod.Name}
	if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || ready(pod) {
		return finding{}, false
	}
	if text := ofContainers(pod); text != "" {
		found.rank, found.text = rankContainer, text
		return found, true
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			found.rank, found.text = rankScheduling, cmp.Or(scheduling(c.Message), string(c.Reason), "no node takes it")
			return found, true
		}
	}
	if pod.Status.Phase == corev1.PodFailed {
		found.rank = rankContainer
		found.text = strings.TrimSuffix(fmt.Sprintf("failed: %s: %s", cmp.Or(pod.Status.Reason, "no reason given"), pod.Status.Message), ": ")
		return found, true
	}
	if warning := latestWarning(events, pod.Name); warning != "" {
		found.rank, found.text = rankEvent, warning
		return found, true
	}
	if text := notReady(pod); text != "" {
		found.rank, found.text = rankReady, text
		return found, true
	}
	found.rank, found.text = rankWaits, "it is being started"
	return found, true
}

// scheduling is what the scheduler says of the nodes, without its thoughts on which pods could go in place of this one.
func scheduling(message string) string {
	for _, thought := range []string{" no new claims to deallocate", " preemption:"} {
		message, _, _ = strings.Cut(message, thought)
	}
	return message
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// ofContainers says which container cannot start or stay, those that come first before those that need them.
func ofContainers(pod *corev1.Pod) string {
	for _, s := range pod.Status.InitContainerStatuses {
		if text := ofContainer(pod, s); text != "" {
			return "init container " + s.Name + ": " + text
		}
	}
	for _, s := range pod.Status.ContainerStatuses {
		if text := ofContainer(pod, s); text != "" {
			return "container " + s.Name + ": " + text
		}
	}
	return ""
}

func ofContainer(pod *corev1.Pod, s corev1.ContainerStatus) string {
	switch waiting, ended := s.State.Waiting, s.State.Terminated; {
	case waiting != nil && !calm[waiting.Reason]:
		if waiting.Reason != "CrashLoopBackOff" {
			return strings.TrimSuffix(waiting.Reason+": "+waiting.Message, ": ")
		}
		return fmt.Sprintf("CrashLoopBackOff%s; `kubectl logs -n %s %s -c %s --previous` shows why",
			exit(s.LastTerminationState.Terminated), pod.Namespace, pod.Name, s.Name)
	case ended != nil && ended.ExitCode != 0:
		return fmt.Sprintf("it ended%s; `kubectl logs -n %s %s -c %s` shows why", exit(ended), pod.Namespace, pod.Name, s.Name)
	}
	return ""
}

func exit(ended *corev1.ContainerStateTerminated) string {
	if ended == nil {
		return ""
	}
	text := fmt.Sprintf(", exit code %d", ended.ExitCode)
	if ended.Reason != "" && ended.Reason != "Error" {
		text += " (" + ended.Reason + ")"
	}
	return text
}

// notReady says which container runs and is not ready.
func notReady(pod *corev1.Pod) string {
	for _, s := range pod.Status.ContainerStatuses {
		if s.State.Running != nil && !s.Ready {
			return fmt.Sprintf("container %s runs and is not ready", s.Name)
		}
	}
	return ""
}

// latestWarning is what the API last warned of about an object of a name; any when that is empty.
func latestWarning(events []corev1.Event, name string) string {
	var latest *corev1.Event
	for i := range events {
		e := &events[i]
		if e.Type != corev1.EventTypeWarning || name != "" && e.InvolvedObject.Name != name {
			continue
		}
		if latest == nil || at(latest) < at(e) {
			latest = e
		}
	}
	if latest == nil {
		return ""
	}
	return latest.Reason + ": " + latest.Message
}

func at(e *corev1.Event) int64 {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.UnixMicro()
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.UnixMicro()
	case !e.EventTime.IsZero():
		return e.EventTime.UnixMicro()
	}
	return e.CreationTimestamp.UnixMicro()
}
