package logs

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/internal/cli/exit"
)

// target is which pods are meant.
type target struct {
	kind, name string // kind is one of owners, or pod
	selector   string // instead of both
}

// owners are the kinds whose pods are found by their selector, by every word for them.
var owners = map[string]string{
	"deployment": "deployment", "deployments": "deployment", "deploy": "deployment",
	"statefulset": "statefulset", "statefulsets": "statefulset", "sts": "statefulset",
	"daemonset": "daemonset", "daemonsets": "daemonset", "ds": "daemonset",
	"replicaset": "replicaset", "replicasets": "replicaset", "rs": "replicaset",
	"job": "job", "jobs": "job",
	"service": "service", "services": "service", "svc": "service",
	"pod": "pod", "pods": "pod", "po": "pod",
}

// parse reads POD, KIND/NAME or KIND NAME, or takes the selector.
func parse(args []string, selector string) (target, error) {
	if selector != "" {
		if len(args) > 0 {
			return target{}, exit.Usagef("give a name or a selector, not both")
		}
		if _, err := labels.Parse(selector); err != nil {
			return target{}, exit.Usagef("the selector %q cannot be read: %w", selector, err)
		}
		return target{selector: selector}, nil
	}
	word, name := "pod", ""
	switch len(args) {
	case 1:
		name = args[0]
		if kind, of, slashed := strings.Cut(args[0], "/"); slashed {
			word, name = kind, of
		}
	case 2:
		word, name = args[0], args[1]
	default:
		return target{}, exit.Usagef("name one pod, or what pods are of: deploy/NAME, sts/NAME, ds/NAME, job/NAME, svc/NAME; or give their labels with -l")
	}
	word, _, _ = strings.Cut(strings.ToLower(word), ".")
	kind, known := owners[word]
	if !known || name == "" || strings.Contains(name, "/") {
		return target{}, exit.Usagef("%q is not what pods are of: give POD, deploy/NAME, sts/NAME, ds/NAME, rs/NAME, job/NAME or svc/NAME", strings.Join(args, " "))
	}
	return target{kind: kind, name: name}, nil
}

// options returns which pods of a cluster are meant, as a list takes it.
func (t target) options(ctx context.Context, api kubernetes.Interface, namespace string) (metav1.ListOptions, error) {
	var selector *metav1.LabelSelector
	var err error
	switch t.kind {
	case "":
		return metav1.ListOptions{LabelSelector: t.selector}, nil
	case "pod":
		return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", t.name).String()}, nil
	case "deployment":
		selector, err = selectorOf(api.AppsV1().Deployments(namespace).Get(ctx, t.name, metav1.GetOptions{}))
	case "statefulset":
		selector, err = selectorOf(api.AppsV1().StatefulSets(namespace).Get(ctx, t.name, metav1.GetOptions{}))
	case "daemonset":
		selector, err = selectorOf(api.AppsV1().DaemonSets(namespace).Get(ctx, t.name, metav1.GetOptions{}))
	case "replicaset":
		selector, err = selectorOf(api.AppsV1().ReplicaSets(namespace).Get(ctx, t.name, metav1.GetOptions{}))
	case "job":
		selector, err = selectorOf(api.BatchV1().Jobs(namespace).Get(ctx, t.name, metav1.GetOptions{}))
	case "service":
		selector, err = selectorOf(api.CoreV1().Services(namespace).Get(ctx, t.name, metav1.GetOptions{}))
	}
	if err != nil {
		return metav1.ListOptions{}, err
	}
	if selector == nil || len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		return metav1.ListOptions{}, fmt.Errorf("%s %q selects no pods by their labels", t.kind, t.name)
	}
	return metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(selector)}, nil
}

// pods lists those that are meant. One that is named has to be there.
func (t target) pods(ctx context.Context, api kubernetes.Interface, namespace string, in metav1.ListOptions) (*corev1.PodList, error) {
	list, err := api.CoreV1().Pods(namespace).List(ctx, in)
	if err == nil && t.kind == "pod" && len(list.Items) == 0 {
		return nil, fmt.Errorf("there is no pod %q in namespace %q", t.name, namespace)
	}
	return list, err
}
