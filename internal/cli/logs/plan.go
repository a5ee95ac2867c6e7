package logs

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// container is one whose log is read.
type container struct {
	cluster              v1alpha1.ClusterName
	namespace, pod, name string
	uid                  string // of the pod
	alone                bool   // it is the only one of its pod that is read
}

// prefix says whose a line is.
func (c *container) prefix() string {
	text := fmt.Sprintf("%s %s/%s", c.cluster, c.namespace, c.pod)
	if !c.alone {
		text += " " + c.name
	}
	return text
}

// line is one that a container wrote.
type line struct {
	of   *container
	at   time.Time // zero when the cluster did not say
	text string
}

// read takes the time off a line, which the API server puts before it.
func read(of *container, text string) line {
	stamp, rest, _ := strings.Cut(text, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return line{of, time.Time{}, text}
	}
	return line{of, at, rest}
}

// order sorts lines by time; those of one container stay as they were written.
func order(lines []line) {
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
}

// colours are those of clusters, one after the other: red is left to what is wrong.
var colours = []string{"36", "33", "35", "34", "32", "96", "93", "95", "94", "92"}

// paint colours a prefix for a terminal: a cluster always has the same colour within one command.
func paint(index int, text string) string {
	return "\x1b[" + colours[index%len(colours)] + "m" + text + "\x1b[0m"
}

var (
	colouring = regexp.MustCompile(`\x1b\[[0-9;]*m`)
	control   = regexp.MustCompile(`[\x00-\x08\x0b-\x1f\x{7f}-\x{9f}]`)
)

// tame leaves of a line what a terminal may be given: text and colours. Anything else, such as a sequence that moves the cursor or names the
// window, is shown as a question mark.
func tame(text string) string {
	if !control.MatchString(text) {
		return text
	}
	var kept strings.Builder
	rest := text
	for {
		at := colouring.FindStringIndex(rest)
		if at == nil {
			break
		}
		kept.WriteString(control.ReplaceAllString(rest[:at[0]], "?"))
		kept.WriteString(rest[at[0]:at[1]])
		rest = rest[at[1]:]
	}
	kept.WriteString(control.ReplaceAllString(rest, "?"))
	return kept.String() + "\x1b[0m"
}

// defaultContainer is the annotation by which a pod says which of its containers is meant when none is named.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// wanted are the containers of a pod whose logs are read: all, the one that is named, or the pod's main one.
func wanted(cluster v1alpha1.ClusterName, pod *corev1.Pod, name string, every bool) (found []*container) {
	var names []string
	for _, of := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range of {
			names = append(names, of[i].Name)
		}
	}
	switch {
	case every:
	case name != "":
		names = slices.DeleteFunc(names, func(n string) bool { return n != name })
	default:
		main := cmp.Or(pod.Annotations[defaultContainer], pod.Spec.Containers[0].Name)
		names = slices.DeleteFunc(names, func(n string) bool { return n != main })
	}
	for _, n := range names {
		found = append(found, &container{cluster: cluster, namespace: pod.Namespace, pod: pod.Name, uid: string(pod.UID), name: n, alone: len(names) == 1})
	}
	return found
}

// writes says whether a container has a log that can be read now.
func writes(pod *corev1.Pod, name string) bool {
	for _, of := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range of {
			if of[i].Name == name {
				return of[i].State.Running != nil || of[i].State.Terminated != nil || of[i].LastTerminationState.Terminated != nil
			}
		}
	}
	return false
}

// running says whether a container runs now.
func running(pod *corev1.Pod, name string) bool {
	for _, of := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range of {
			if of[i].Name == name {
				return of[i].State.Running != nil
			}
		}
	}
	return false
}
