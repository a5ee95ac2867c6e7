// Command fluxssa applies a folder of manifests as Flux's kustomize-controller does: with its engine, github.com/fluxcd/pkg/ssa,
// and the options of its reconciler, for a Kustomization with the defaults. Each object is read, applied as a dry run, and
// applied when the two differ.
package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/normalize"

	"umbel.dev/umbel/test/peers/pass"
)

const (
	group      = "kustomize.toolkit.fluxcd.io"
	controller = "kustomize-controller"
	// concurrent is the default of --concurrent-ssa.
	concurrent = 4
)

func main() { pass.Main(start) }

type engine struct {
	manager *ssa.ResourceManager
	owner   pass.Owner
}

func start(_ context.Context, config *rest.Config, owner pass.Owner) (pass.Engine, error) {
	config.QPS = -1 // as the controller has it where the API server has priority and fairness
	http, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	mapper, err := apiutil.NewDynamicRESTMapper(config, http)
	if err != nil {
		return nil, err
	}
	kube, err := client.New(config, client.Options{HTTPClient: http, Mapper: mapper})
	if err != nil {
		return nil, err
	}
	poller := polling.NewStatusPoller(kube, mapper, polling.Options{})
	return &engine{ssa.NewResourceManager(kube, poller, ssa.Owner{Field: controller, Group: group}), owner}, nil
}

// Apply is what the controller does between the build of a Kustomization and its garbage collection.
func (e *engine) Apply(ctx context.Context, objects []*unstructured.Unstructured) (changed int, err error) {
	e.manager.SetOwnerLabels(objects, e.owner.Name, e.owner.Namespace)
	e.manager.SetConcurrency(concurrent)
	if err := normalize.UnstructuredList(objects); err != nil {
		return 0, fmt.Errorf("normalising: %w", err)
	}
	changes, err := e.manager.ApplyAllStaged(ctx, objects, options())
	if err != nil {
		return 0, err
	}
	for _, entry := range changes.Entries {
		if entry.Action == ssa.CreatedAction || entry.Action == ssa.ConfiguredAction {
			changed++
		}
	}
	return changed, nil
}

// options are those of the controller.
func options() ssa.ApplyOptions {
	o := ssa.DefaultApplyOptions()
	o.ExclusionSelector = map[string]string{group + "/reconcile": "disabled", group + "/ssa": "Ignore"}
	o.IfNotPresentSelector = map[string]string{group + "/ssa": "IfNotPresent"}
	o.ForceSelector = map[string]string{group + "/force": "enabled"}
	o.Cleanup = ssa.ApplyCleanupOptions{
		Annotations: []string{corev1.LastAppliedConfigAnnotation, group + "/checksum", "fluxcd.io/sync-checksum"},
		Labels:      []string{"fluxcd.io/sync-gc-mark"},
		FieldManagers: []ssa.FieldManager{
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationApply},
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: "before-first-apply", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: controller, OperationType: metav1.ManagedFieldsOperationUpdate},
		},
		Exclusions: map[string]string{group + "/ssa": "Merge"},
	}
	return o
}
