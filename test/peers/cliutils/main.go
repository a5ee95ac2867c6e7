// Command cliutils applies a folder of manifests as Config Sync's reconciler does: with its engine, the applier of cli-utils, by the options
// of a RootSync, with the labels and annotations that it puts on each object, and with a ResourceGroup as the inventory. Its health is
// waited for as long as a second, and not five minutes.
package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
	"sigs.k8s.io/cli-utils/pkg/apis/actuation"
	"sigs.k8s.io/cli-utils/pkg/apply"
	"sigs.k8s.io/cli-utils/pkg/apply/event"
	"sigs.k8s.io/cli-utils/pkg/common"
	"sigs.k8s.io/cli-utils/pkg/inventory"
	"sigs.k8s.io/cli-utils/pkg/object"

	"umbel.dev/umbel/test/peers/pass"
)

const (
	manager = "configsync"
	// reconcile is how long health is waited for: it changes nothing of what is applied.
	reconcile = time.Second
)

var (
	groupKind = schema.GroupVersionKind{Group: "kpt.dev", Version: "v1alpha1", Kind: "ResourceGroup"}
	groups    = groupKind.GroupVersion().WithResource("resourcegroups")
)

func main() { pass.Main(start) }

type engine struct {
	owner   pass.Owner
	applier *apply.Applier
	dynamic dynamic.Interface
	// versions are those of the objects after the last pass.
	versions map[object.ObjMetadata]string
}

func start(ctx context.Context, config *rest.Config, owner pass.Owner) (pass.Engine, error) {
	config.QPS = -1 // the API server's priority and fairness decides, as it does there
	flags := genericclioptions.NewConfigFlags(false)
	flags.APIServer = &config.Host
	flags.WrapConfigFn = func(*rest.Config) *rest.Config { return rest.CopyConfig(config) }
	factory := cmdutil.NewFactory(flags)
	through, err := factory.DynamicClient()
	if err != nil {
		return nil, err
	}
	if err := define(ctx, through); err != nil {
		return nil, fmt.Errorf("defining ResourceGroups: %w", err)
	}
	client, err := inventory.NewClient(factory, func(o *unstructured.Unstructured) inventory.Storage { return &group{object: o} },
		func(i inventory.Info) *unstructured.Unstructured { return i.(info).group() }, inventory.StatusPolicyNone, groupKind)
	if err != nil {
		return nil, err
	}
	applier, err := apply.NewApplierBuilder().WithInventoryClient(client).WithFactory(factory).Build()
	if err != nil {
		return nil, err
	}
	return &engine{owner: owner, applier: applier, dynamic: through}, nil
}

// define has ResourceGroups be there, as the installation of Config Sync does; of any content, since its definition is in no module.
func define(ctx context.Context, through dynamic.Interface) error {
	definition := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": groups.Resource + "." + groups.Group},
		"spec": map[string]any{
			"group": groups.Group, "scope": "Namespaced",
			"names": map[string]any{"plural": groups.Resource, "singular": "resourcegroup", "kind": groupKind.Kind},
			"versions": []any{map[string]any{"name": groups.Version, "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
			}}},
		},
	}}
	definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	if _, err := through.Resource(definitions).Create(ctx, definition, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := through.Resource(groups).List(ctx, metav1.ListOptions{Limit: 1})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
}

// Apply implements pass.Engine. What changed is known by the versions of the objects, which the first pass looks up before: nothing of the
// engine's own says it.
func (e *engine) Apply(ctx context.Context, objects []*unstructured.Unstructured) (changed int, err error) {
	for _, o := range objects {
		e.mark(o)
	}
	options := apply.ApplierOptions{
		ServerSideOptions: common.ServerSideOptions{ServerSideApply: true, ForceConflicts: true, FieldManager: manager},
		InventoryPolicy:   inventory.PolicyAdoptAll,
		ReconcileTimeout:  reconcile, PruneTimeout: reconcile,
	}
	if e.versions == nil {
		if e.versions, err = e.look(ctx, objects); err != nil {
			return 0, err
		}
	}
	var problems []error
	for happened := range e.applier.Run(ctx, info{e.owner}, object.UnstructuredSet(objects), options) {
		switch happened.Type {
		case event.ErrorType:
			problems = append(problems, happened.ErrorEvent.Err)
		case event.ValidationType:
			problems = append(problems, happened.ValidationEvent.Error)
		case event.ApplyType:
			switch did := happened.ApplyEvent; {
			case did.Error != nil:
				problems = append(problems, fmt.Errorf("%s: %w", did.Identifier, did.Error))
			case did.Status == event.ApplySuccessful && did.Resource.GetResourceVersion() != e.versions[did.Identifier]:
				e.versions[did.Identifier] = did.Resource.GetResourceVersion()
				changed++
			}
		case event.PruneType:
			if did := happened.PruneEvent; did.Error != nil {
				problems = append(problems, fmt.Errorf("%s: %w", did.Identifier, did.Error))
			}
		}
	}
	return changed, errors.Join(problems...)
}

// look returns the versions of the objects that are there, by what they are.
func (e *engine) look(ctx context.Context, objects []*unstructured.Unstructured) (map[object.ObjMetadata]string, error) {
	all := map[object.ObjMetadata]string{}
	seen := map[schema.GroupVersionResource]bool{}
	for _, o := range objects {
		gvr, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		if seen[gvr] {
			continue
		}
		seen[gvr] = true
		list, err := e.dynamic.Resource(gvr).List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			continue // its definition is among what is applied
		}
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			all[object.UnstructuredToObjMetadata(&list.Items[i])] = list.Items[i].GetResourceVersion()
		}
	}
	return all, nil
}

// mark puts on an object what the reconciler does before it is applied.
func (e *engine) mark(o *unstructured.Unstructured) {
	labels, annotations := o.GetLabels(), o.GetAnnotations()
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	gvk := o.GroupVersionKind()
	labels["app.kubernetes.io/managed-by"] = "configmanagement.gke.io"
	labels["configsync.gke.io/declared-version"] = gvk.Version
	annotations["configmanagement.gke.io/managed"] = "enabled"
	annotations["configmanagement.gke.io/source-path"] = "apps/" + o.GetName() + ".yaml"
	annotations["configmanagement.gke.io/token"] = "main"
	annotations["configsync.gke.io/git-context"] = `{"repo":"https://git.example.com/apps","branch":"main","rev":"HEAD"}`
	annotations["configsync.gke.io/manager"] = ":root_" + e.owner.Name
	annotations["configsync.gke.io/resource-id"] = strings.ToLower(fmt.Sprintf("%s_%s_%s_%s", gvk.Group, gvk.Kind, o.GetNamespace(), o.GetName()))
	if o.GetNamespace() == "" {
		annotations["configsync.gke.io/resource-id"] = strings.ToLower(fmt.Sprintf("%s_%s_%s", gvk.Group, gvk.Kind, o.GetName()))
	}
	o.SetLabels(labels)
	o.SetAnnotations(annotations)
}

// info names the inventory, which has the name of the RootSync.
type info struct{ owner pass.Owner }

func (i info) Namespace() string            { return i.owner.Namespace }
func (i info) Name() string                 { return i.owner.Name }
func (i info) ID() string                   { return i.owner.Namespace + "_" + i.owner.Name }
func (i info) Strategy() inventory.Strategy { return inventory.NameStrategy }

// group is the inventory without anything in it.
func (i info) group() *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(groupKind)
	o.SetNamespace(i.Namespace())
	o.SetName(i.Name())
	o.SetLabels(map[string]string{common.InventoryLabel: i.ID(), "app.kubernetes.io/managed-by": "configmanagement.gke.io"})
	return o
}

// group keeps an inventory in a ResourceGroup.
type group struct {
	object *unstructured.Unstructured
	has    object.ObjMetadataSet
}

// Load implements inventory.Storage.
func (g *group) Load() (object.ObjMetadataSet, error) {
	entries, _, err := unstructured.NestedSlice(g.object.Object, "spec", "resources")
	if err != nil {
		return nil, err
	}
	var all object.ObjMetadataSet
	for _, entry := range entries {
		of, _ := entry.(map[string]any)
		text := func(field string) string { s, _ := of[field].(string); return s }
		all = append(all, object.ObjMetadata{GroupKind: schema.GroupKind{Group: text("group"), Kind: text("kind")}, Namespace: text("namespace"), Name: text("name")})
	}
	return all, nil
}

// Store implements inventory.Storage.
func (g *group) Store(has object.ObjMetadataSet, _ []actuation.ObjectStatus) error {
	g.has = has
	return nil
}

// GetObject implements inventory.Storage.
func (g *group) GetObject() (*unstructured.Unstructured, error) {
	entries := []any{}
	for _, o := range g.has {
		entries = append(entries, map[string]any{"group": o.GroupKind.Group, "kind": o.GroupKind.Kind, "namespace": o.Namespace, "name": o.Name})
	}
	filled := g.object.DeepCopy()
	return filled, unstructured.SetNestedSlice(filled.Object, entries, "spec", "resources")
}

// Apply implements inventory.Storage.
func (g *group) Apply(through dynamic.Interface, _ meta.RESTMapper, _ inventory.StatusPolicy) error {
	filled, err := g.GetObject()
	if err != nil {
		return err
	}
	at := through.Resource(groups).Namespace(filled.GetNamespace())
	was, err := at.Get(context.Background(), filled.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = at.Create(context.Background(), filled, metav1.CreateOptions{FieldManager: manager})
		return err
	}
	if err != nil {
		return err
	}
	filled.SetResourceVersion(was.GetResourceVersion())
	_, err = at.Update(context.Background(), filled, metav1.UpdateOptions{FieldManager: manager})
	return err
}

// ApplyWithPrune implements inventory.Storage.
func (g *group) ApplyWithPrune(through dynamic.Interface, mapper meta.RESTMapper, policy inventory.StatusPolicy, _ object.ObjMetadataSet) error {
	return g.Apply(through, mapper, policy)
}
