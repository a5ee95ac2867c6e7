package about

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
)

const (
	// managedBy has fieldManager as its value on what is ours.
	managedBy    = "app.kubernetes.io/managed-by"
	fieldManager = v1alpha1.FieldManager
	// servedTimeout is how long a new kind may take until the API serves it.
	servedTimeout = 30 * time.Second
)

var crds = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// versions of the About API, the one that is preferred first. They differ in nothing that is used here.
var versions = []string{"v1beta1", "v1alpha1"}

// api is the member's API server.
type api struct {
	client dynamic.Interface
}

// kind is ClusterProperty in a version that the API serves.
type kind struct {
	dynamic.ResourceInterface
	apiVersion string
}

// served returns the kind in the first version that the API serves, or nil when it serves none.
func (a *api) served(ctx context.Context) (*kind, error) {
	for _, version := range versions {
		resource := schema.GroupVersionResource{Group: "about.k8s.io", Version: version, Resource: "clusterproperties"}
		properties := a.client.Resource(resource)
		_, err := properties.List(ctx, metav1.ListOptions{Limit: 1})
		if err == nil {
			return &kind{properties, resource.GroupVersion().String()}, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("listing ClusterProperties: %w", err)
		}
	}
	return nil, nil
}

// ensureKind returns the kind, and installs it first where there is none.
func (a *api) ensureKind(ctx context.Context) (*kind, error) {
	properties, err := a.served(ctx)
	if err != nil || properties != nil {
		return properties, err
	}
	raw, err := deploy.Multicluster.ReadFile(deploy.ClusterPropertyCRD)
	if err != nil {
		return nil, err
	}
	crd := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(raw, &crd.Object); err != nil {
		return nil, fmt.Errorf("reading %s: %w", deploy.ClusterPropertyCRD, err)
	}
	_, err = a.client.Resource(crds).Create(ctx, crd, metav1.CreateOptions{FieldManager: fieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("installing %s: %w", crd.GetName(), err)
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, servedTimeout, true, func(ctx context.Context) (bool, error) {
		properties, err = a.served(ctx)
		return properties != nil, err
	})
	if err != nil {
		return nil, fmt.Errorf("waiting until the API serves %s: %w", crd.GetName(), err)
	}
	return properties, nil
}

// remove deletes our properties, and the kind when it is ours and has no other.
func (a *api) remove(ctx context.Context) error {
	properties, err := a.served(ctx)
	if err != nil || properties == nil {
		return err
	}
	list, err := properties.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	others := 0
	for i := range list.Items {
		object := &list.Items[i]
		if !ours(object) {
			others++
			continue
		}
		uid, version := object.GetUID(), object.GetResourceVersion()
		only := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}}
		if err := properties.Delete(ctx, object.GetName(), only); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	if others > 0 {
		return nil
	}
	crd, err := a.client.Resource(crds).Get(ctx, "clusterproperties.about.k8s.io", metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && crd.GetLabels()[managedBy] != fieldManager {
		return nil
	}
	if err != nil {
		return err
	}
	uid := crd.GetUID()
	err = a.client.Resource(crds).Delete(ctx, crd.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}

func listWatch(properties *kind) *toolscache.ListWatch {
	return &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return properties.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return properties.Watch(ctx, o)
		},
	}
}

// withoutManagedFields makes what the store keeps smaller.
func withoutManagedFields(stored any) (any, error) {
	if object, ok := stored.(*unstructured.Unstructured); ok {
		object.SetManagedFields(nil)
	}
	return stored, nil
}

// put writes a property. One that is there is written on what the store has of it.
func put(ctx context.Context, properties *kind, store toolscache.Store, write Write) error {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	if !write.Create {
		stored, there, err := store.GetByKey(write.Name)
		if err != nil || !there {
			return err
		}
		object = stored.(*unstructured.Unstructured).DeepCopy()
	}
	if err := unstructured.SetNestedField(object.Object, write.Value, "spec", "value"); err != nil {
		return err
	}
	if !write.Create {
		_, err := properties.Update(ctx, object, metav1.UpdateOptions{FieldManager: fieldManager})
		return err
	}
	object.SetName(write.Name)
	object.SetAPIVersion(properties.apiVersion)
	object.SetKind("ClusterProperty")
	object.SetLabels(map[string]string{managedBy: fieldManager})
	_, err := properties.Create(ctx, object, metav1.CreateOptions{FieldManager: fieldManager})
	return err
}

// propertiesIn returns what the store has.
func propertiesIn(store toolscache.Store) []Property {
	var there []Property
	for _, stored := range store.List() {
		object := stored.(*unstructured.Unstructured)
		value, _, _ := unstructured.NestedString(object.Object, "spec", "value") // none is an empty one
		if object.GetDeletionTimestamp().IsZero() {
			there = append(there, Property{Name: object.GetName(), Value: value, Ours: ours(object)})
		}
	}
	return there
}

// ours says whether the agent wrote a property by itself. One that a Package has is the Package's.
func ours(object *unstructured.Unstructured) bool {
	labels := object.GetLabels()
	return labels[managedBy] == fieldManager && labels[v1alpha1.PackageLabel] == ""
}
