package main

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/external"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Cluster API looks at an object once a second at most. A deletion goes down from the Cluster to its Machines, and each of these hears of
// the next one's several times before that is gone: who looks then has to wait for a second when it is. So what is being deleted is not
// looked at while all below it is ending, and what is about to be deleted not before it is.
type ends struct{ client.Reader }

// cluster says whether a Cluster waits for the end of what is below it. Our own provider deletes a HostedCluster itself, and after the control
// plane.
func (e ends) cluster(ctx context.Context, req reconcile.Request) bool {
	c := &clusterv1.Cluster{}
	if e.Get(ctx, req.NamespacedName, c) != nil || c.DeletionTimestamp.IsZero() {
		return false
	}
	if there, ending := e.below(ctx, &clusterv1.MachineDeploymentList{}, c, clusterv1.ClusterNameLabel); there {
		return ending
	}
	for _, part := range []clusterv1.ContractVersionedObjectReference{c.Spec.ControlPlaneRef, c.Spec.InfrastructureRef} {
		if !part.IsDefined() {
			continue
		}
		o, err := external.GetObjectFromContractVersionedRef(ctx, e, part, c.Namespace)
		if err == nil {
			return !o.GetDeletionTimestamp().IsZero() || part.Kind == "HostedCluster"
		}
	}
	return false
}

// deployment says whether a MachineDeployment waits for the end of its MachineSets.
func (e ends) deployment(ctx context.Context, req reconcile.Request) bool {
	d := &clusterv1.MachineDeployment{}
	if e.Get(ctx, req.NamespacedName, d) != nil || d.DeletionTimestamp.IsZero() {
		return false
	}
	_, ending := e.below(ctx, &clusterv1.MachineSetList{}, d, clusterv1.MachineDeploymentNameLabel)
	return ending
}

// set says whether a MachineSet waits to be deleted with its MachineDeployment, or for the end of its Machines.
func (e ends) set(ctx context.Context, req reconcile.Request) bool {
	s := &clusterv1.MachineSet{}
	if e.Get(ctx, req.NamespacedName, s) != nil {
		return false
	}
	if s.DeletionTimestamp.IsZero() {
		d := &clusterv1.MachineDeployment{}
		err := e.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Labels[clusterv1.MachineDeploymentNameLabel]}, d)
		return err == nil && !d.DeletionTimestamp.IsZero()
	}
	_, ending := e.below(ctx, &clusterv1.MachineList{}, s, clusterv1.MachineSetNameLabel)
	return ending
}

// below says whether there are objects that an object is named by in a label, and whether all of these are being deleted.
func (e ends) below(ctx context.Context, list client.ObjectList, of client.Object, label string) (there, ending bool) {
	if e.List(ctx, list, client.InNamespace(of.GetNamespace()), client.MatchingLabels{label: of.GetName()}) != nil {
		return false, false
	}
	ending = meta.LenList(list) > 0
	_ = meta.EachListItem(list, func(o runtime.Object) error { // it fails when the function does
		ending = ending && !o.(client.Object).GetDeletionTimestamp().IsZero()
		return nil
	})
	return meta.LenList(list) > 0, ending
}
