package capi

import (
	"context"
	"fmt"
	"os"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"umbel.dev/umbel/api/v1alpha1"
)

var (
	crds  = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: crdKind}
	hooks = []schema.GroupVersionKind{
		{Group: "admissionregistration.k8s.io", Version: "v1", Kind: mutatingKind},
		{Group: "admissionregistration.k8s.io", Version: "v1", Kind: validatingKind},
	}
)

// notShipped leaves out what a provider of ours brought: it needs nobody to end it.
var notShipped = client.MatchingLabelsSelector{Selector: must(labels.NewRequirement(v1alpha1.ProviderLabel, selection.DoesNotExist, nil))}

func must(r *labels.Requirement, err error) labels.Selector {
	if err != nil {
		panic(err) // the label is a constant
	}
	return labels.NewSelector().Add(*r)
}

// remove lets a provider go once nothing is left that needs it. Until then it runs on: it alone can end what is left.
func (c *Controller) remove(ctx context.Context, provider *v1alpha1.Provider) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(provider, v1alpha1.ProviderFinalizer) {
		c.processes.end(provider.Name)
		return ctrl.Result{}, nil
	}
	left, err := c.left(ctx, provider.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	if len(left) > 0 {
		if _, _, err := c.run(ctx, provider); err != nil {
			left = append(left, "and it does not run: "+err.Error())
		}
		return ctrl.Result{RequeueAfter: later}, c.say(ctx, provider, metav1.Condition{
			Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInUse, Message: "it goes when these are gone: " + strings.Join(left, ", "),
		})
	}
	for _, kind := range c.Own[provider.Name].Shipped {
		if err := c.deleteOwn(ctx, kind, provider.Name, client.InNamespace(v1alpha1.SystemNamespace)); err != nil && !meta.IsNoMatchError(err) {
			return ctrl.Result{}, err
		}
	}
	for _, kind := range append(append([]schema.GroupVersionKind{}, hooks...), crds) { // no kind goes while a webhook could refuse it
		if err := c.deleteOwn(ctx, kind, provider.Name); err != nil {
			return ctrl.Result{}, err
		}
	}
	c.processes.end(provider.Name)
	if err := os.RemoveAll(string(FolderOf(c.Dir, provider.Name))); err != nil {
		return ctrl.Result{}, fmt.Errorf("removing the folder of provider %s: %w", provider.Name, err)
	}
	before := provider.DeepCopy()
	controllerutil.RemoveFinalizer(provider, v1alpha1.ProviderFinalizer)
	return ctrl.Result{}, client.IgnoreNotFound(c.client.Patch(ctx, provider, client.MergeFrom(before)))
}

// left returns what is there that a provider is needed for: objects of its kinds, and for the core every other Provider.
func (c *Controller) left(ctx context.Context, provider string) ([]string, error) {
	var left []string
	if provider == v1alpha1.CoreProvider {
		var all v1alpha1.ProviderList
		if err := c.live.List(ctx, &all); err != nil {
			return nil, fmt.Errorf("looking for other Providers: %w", err)
		}
		for _, other := range all.Items {
			if other.Name != provider {
				left = append(left, "provider "+other.Name)
			}
		}
	}
	kinds := &unstructured.UnstructuredList{}
	kinds.SetGroupVersionKind(crds)
	if err := c.live.List(ctx, kinds, client.MatchingLabels{v1alpha1.ProviderLabel: provider}); err != nil {
		return nil, fmt.Errorf("looking for the kinds of provider %s: %w", provider, err)
	}
	for _, crd := range kinds.Items {
		objects, err := c.some(ctx, &crd)
		if err != nil {
			return nil, err
		}
		if objects != "" {
			left = append(left, objects)
		}
	}
	return left, nil
}

// some names the objects of a kind, and how many more there are; it is empty when there are none.
func (c *Controller) some(ctx context.Context, crd *unstructured.Unstructured) (string, error) {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	stored, _, err := unstructured.NestedStringSlice(crd.Object, "status", "storedVersions")
	if err != nil || len(stored) == 0 {
		return "", err
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: stored[len(stored)-1], Kind: kind + "List"})
	if err := c.live.List(ctx, list, client.Limit(3), notShipped); err != nil {
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			return "", nil // the kind is gone already
		}
		return "", fmt.Errorf("looking for %s: %w", crd.GetName(), err)
	}
	var names []string
	for _, object := range list.Items {
		names = append(names, strings.TrimPrefix(object.Namespace+"/"+object.Name, "/"))
	}
	if len(names) == 0 {
		return "", nil
	}
	text := plural + " " + strings.Join(names, " ")
	if list.Continue != "" {
		text += " and more"
	}
	return text, nil
}

// deleteOwn deletes what the hub brought into its API for a provider.
func (c *Controller) deleteOwn(ctx context.Context, kind schema.GroupVersionKind, provider string, in ...client.DeleteAllOfOption) error {
	own := &metav1.PartialObjectMetadata{}
	own.SetGroupVersionKind(kind)
	if err := c.client.DeleteAllOf(ctx, own, append(in, client.MatchingLabels{v1alpha1.ProviderLabel: provider})...); err != nil {
		return fmt.Errorf("removing the %ss of provider %s: %w", kind.Kind, provider, err)
	}
	return nil
}
