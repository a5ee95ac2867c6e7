package member

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"umbel.dev/umbel/api/v1alpha1"
)

// quietKinds are built-in kinds whose health is their existence. For those the agent watches metadata only: it never
// reads what is in a Secret, and an event costs a fraction of the whole object. Every other kind is watched whole,
// since its status says whether it is healthy.
var quietKinds = map[schema.GroupKind]bool{
	{Kind: "ConfigMap"}: true, {Kind: "Secret"}: true, {Kind: "ServiceAccount"}: true, {Kind: "LimitRange"}: true,
	{Kind: "Endpoints"}: true, {Kind: "PodTemplate"}: true,
	{Group: "rbac.authorization.k8s.io", Kind: "Role"}: true, {Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"}: true,
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}: true, {Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"}: true,
	{Group: "networking.k8s.io", Kind: "NetworkPolicy"}: true, {Group: "networking.k8s.io", Kind: "IngressClass"}: true,
	{Group: "scheduling.k8s.io", Kind: "PriorityClass"}: true, {Group: "storage.k8s.io", Kind: "StorageClass"}: true,
	{Group: "storage.k8s.io", Kind: "CSIDriver"}: true, {Group: "node.k8s.io", Kind: "RuntimeClass"}: true,
	{Group: "coordination.k8s.io", Kind: "Lease"}: true, {Group: "discovery.k8s.io", Kind: "EndpointSlice"}: true,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"}:   true,
	{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"}:     true,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicyBinding"}: true,
}

// ListWatch lists and watches the objects of a kind that carry the package label, and returns a sample of what comes.
// Each answer of the server goes through note, which returns the error that the caller is to see.
func (a *API) ListWatch(gvk schema.GroupVersionKind, gvr schema.GroupVersionResource, note func(error) error) (*cache.ListWatch, runtime.Object) {
	if quietKinds[gvk.GroupKind()] {
		client := a.metadata.Resource(gvr)
		return listWatch(client.List, client.Watch, v1alpha1.PackageLabel, note), &metav1.PartialObjectMetadata{}
	}
	client := a.dynamic.Resource(gvr)
	return listWatch(client.List, client.Watch, v1alpha1.PackageLabel, note), &unstructured.Unstructured{}
}

// ListWatchGuards lists and watches the metadata of what keeps others from changing what packages hold.
func (a *API) ListWatchGuards(gvr schema.GroupVersionResource, note func(error) error) (*cache.ListWatch, runtime.Object) {
	client := a.metadata.Resource(gvr)
	return listWatch(client.List, client.Watch, v1alpha1.PreventionLabel, note), &metav1.PartialObjectMetadata{}
}

func listWatch[L runtime.Object](
	list func(context.Context, metav1.ListOptions) (L, error),
	follow func(context.Context, metav1.ListOptions) (watch.Interface, error),
	label string, note func(error) error,
) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = label
			found, err := list(ctx, o)
			return found, note(err)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = label
			stream, err := follow(ctx, o)
			return stream, note(err)
		},
	}
}

// List returns what is to be seen of the objects of a kind that carry a label, by their names.
func (a *API) List(ctx context.Context, gvr schema.GroupVersionResource, label string) (map[string]metav1.Object, error) {
	ctx, release, err := a.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	list, err := a.metadata.Resource(gvr).List(ctx, metav1.ListOptions{LabelSelector: label})
	if err != nil {
		return nil, err
	}
	all := make(map[string]metav1.Object, len(list.Items))
	for i := range list.Items {
		all[list.Items[i].Name] = &list.Items[i]
	}
	return all, nil
}
