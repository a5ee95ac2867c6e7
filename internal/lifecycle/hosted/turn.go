package hosted

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
)

// What is deleted with its Cluster, or Machine, Cluster API deletes part by part, and it looks at an object once a second at most: with each
// part that is ours a second passes in which nothing happens. So a part of ours that is next is deleted here.

// terminateHook is the prefix of annotations by which somebody keeps a Machine's infrastructure, to do something before its end.
const terminateHook = "pre-terminate.delete.hook.machine." + Group

// turn deletes a part of a Cluster that is being deleted, when nothing is left of what ends before it, and says whether it has.
func (f frame) turn(ctx context.Context, part client.Object, of family, before ...client.ObjectList) (bool, error) {
	if !part.GetDeletionTimestamp().IsZero() || !of.ours() || of.cluster.GetDeletionTimestamp().IsZero() {
		return false, nil
	}
	for _, list := range before {
		if err := f.live.List(ctx, list, client.InNamespace(part.GetNamespace()), client.MatchingLabels{clusterLabel: of.name}, client.Limit(1)); err != nil {
			return false, fmt.Errorf("looking for what is left of cluster %s: %w", of.name, err)
		}
		if meta.LenList(list) > 0 {
			return false, nil
		}
	}
	err := f.client.Delete(ctx, part, client.Preconditions{UID: new(part.GetUID())})
	return err == nil, client.IgnoreNotFound(err)
}

// falls says whether a machine ends with its Cluster, and nobody keeps it: its node is not drained then.
func (f family) falls() bool {
	if f.machine == nil || f.machine.GetDeletionTimestamp().IsZero() {
		return false
	}
	for key := range f.machine.GetAnnotations() {
		if strings.HasPrefix(key, terminateHook) {
			return false
		}
	}
	return true
}

// along deletes what a machine was told, with a Machine that is being deleted.
func (f frame) along(ctx context.Context, namespace string, of family) error {
	name := field[string](of.machine, "spec", "bootstrap", "configRef", "name")
	if of.machine == nil || of.machine.GetDeletionTimestamp().IsZero() || field[string](of.machine, "spec", "bootstrap", "configRef", "kind") != "LocalBootstrap" {
		return nil
	}
	told := &infra.LocalBootstrap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	return client.IgnoreNotFound(f.client.Delete(ctx, told))
}

// ours says whether a cluster's control plane and its place are both of this provider.
func (f family) ours() bool {
	return field[string](f.cluster, "spec", "controlPlaneRef", "kind") == infra.HostedControlPlaneKind.Kind &&
		field[string](f.cluster, "spec", "infrastructureRef", "kind") == placeKind.Kind
}

// allMachines is a list for the Machines of a cluster.
func allMachines() client.ObjectList {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(machineKind.GroupVersion().WithKind(machineKind.Kind + "List"))
	return list
}

// whenGone has a controller hear of objects that are gone, and of nothing else about them.
func whenGone() builder.WatchesOption {
	return builder.WithPredicates(predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false }, UpdateFunc: func(event.UpdateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	})
}
