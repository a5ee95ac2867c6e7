package diagnose

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

const (
	// maxPods and maxEvents are how many are read of one object.
	maxPods, maxEvents = 20, 50
	// maxText bounds the sentence.
	maxText = 700
)

var (
	pods   = corev1.SchemeGroupVersion.WithResource("pods")
	events = corev1.SchemeGroupVersion.WithResource("events")
)

// workloads are the kinds that make pods.
var workloads = map[schema.GroupKind]bool{
	{Group: "apps", Kind: "Deployment"}: true, {Group: "apps", Kind: "StatefulSet"}: true, {Group: "apps", Kind: "DaemonSet"}: true,
	{Group: "apps", Kind: "ReplicaSet"}: true, {Group: "batch", Kind: "Job"}: true, {Kind: "Pod"}: true,
}

// Knows says whether there is more to be found out about an object of a kind than it says itself.
func Knows(gk schema.GroupKind) bool { return workloads[gk] }

// Why looks for the reason why an object is not healthy; empty when there is none to be seen. It makes three reads.
func Why(ctx context.Context, client dynamic.Interface, gvr schema.GroupVersionResource, namespace, name string) (string, error) {
	object, err := client.Resource(gvr).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading %s %s/%s: %w", gvr.Resource, namespace, name, err)
	}
	found, err := podsOf(ctx, client, object)
	if err != nil {
		return "", err
	}
	happened, err := eventsOf(ctx, client, namespace, object, found)
	if err != nil {
		return "", err
	}
	return clip(decide(object, found, happened)), nil
}

// decide finds the sentence that tells most.
func decide(object *unstructured.Unstructured, found []corev1.Pod, happened []corev1.Event) string {
	var findings []finding
	for i := range found {
		if f, bad := ofPod(&found[i], happened); bad {
			findings = append(findings, f)
		}
	}
	why := worst(findings)
	if why != "" && (len(findings) == 0 || findings[0].rank < rankWaits) {
		return why
	}
	if text := replicaFailure(object); text != "" {
		return text
	}
	if text := latestWarning(happened, object.GetName()); text != "" {
		return text
	}
	return why
}

// replicaFailure is what a Deployment or a ReplicaSet says when pods cannot be made, as over a quota.
func replicaFailure(object *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, each := range conditions {
		condition, _ := each.(map[string]any)
		if condition["type"] == "ReplicaFailure" && condition["status"] == "True" {
			return fmt.Sprintf("%v: %v", condition["reason"], condition["message"])
		}
	}
	return ""
}

// podsOf returns a few of the pods that an object has made.
func podsOf(ctx context.Context, client dynamic.Interface, object *unstructured.Unstructured) ([]corev1.Pod, error) {
	if object.GetKind() == "Pod" {
		pod, err := convert[corev1.Pod](*object)
		return []corev1.Pod{pod}, err
	}
	raw, has, err := unstructured.NestedMap(object.Object, "spec", "selector")
	if err != nil || !has {
		return nil, nil // its events tell
	}
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &selector); err != nil {
		return nil, fmt.Errorf("reading spec.selector of %s: %w", object.GetName(), err)
	}
	list, err := client.Resource(pods).Namespace(object.GetNamespace()).List(ctx, metav1.ListOptions{
		LabelSelector: metav1.FormatLabelSelector(&selector), Limit: maxPods,
	})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of %s: %w", object.GetName(), err)
	}
	return convertAll[corev1.Pod](list)
}

// eventsOf returns what happened to an object, or to the first pod of it that is not ready.
func eventsOf(ctx context.Context, client dynamic.Interface, namespace string, object *unstructured.Unstructured, found []corev1.Pod) ([]corev1.Event, error) {
	about := object.GetName()
	for i := range found {
		if !ready(&found[i]) {
			about = found[i].Name
			break
		}
	}
	list, err := client.Resource(events).Namespace(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.name=" + about, Limit: maxEvents,
	})
	if err != nil {
		return nil, fmt.Errorf("listing the events of %s: %w", about, err)
	}
	return convertAll[corev1.Event](list)
}

func convert[T any](object unstructured.Unstructured) (into T, err error) {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &into); err != nil {
		return into, fmt.Errorf("reading %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return into, nil
}

func convertAll[T any](list *unstructured.UnstructuredList) ([]T, error) {
	all := make([]T, 0, len(list.Items))
	for _, item := range list.Items {
		one, err := convert[T](item)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}
