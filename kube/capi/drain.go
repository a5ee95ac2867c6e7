package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/controllers/noderefutil"
	"sigs.k8s.io/cluster-api/core/reconcilers/machine/drain"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/annotations"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
)

// drainHook has Cluster API wait, before it drains the node of a Machine that is deleted. Its value says who takes it off.
const drainHook = clusterv1.PreDrainDeleteHookAnnotationPrefix + "/umbel"

const (
	// drainEvery is between two looks at a node: the pods of a cluster are not watched, since that would keep all of them here.
	drainEvery = time.Second
	// drainLongest is how long Cluster API is kept waiting at most.
	drainLongest = time.Minute
)

// drainer empties the nodes of Machines that are deleted, by what Cluster API drains them with, and looks every second where that looks
// every twenty (drainRetryInterval).
//
//  1. A Machine that has a node gets a hook.
//  2. When it is deleted, Cluster API says from when on it waits for the hook; it does not where the node is not to be drained, such as
//     that of a cluster that is deleted. Then the node is cordoned, and its pods are evicted.
//  3. When none is left that has to go, the hook is taken off. Cluster API's own drain finds nothing to wait for, and it goes on.
//
// The hook never keeps a Machine: it is taken off when the node is not ready, after a minute, and after the Machine's own timeout. Cluster
// API then drains as without it, and says what is in its way. When all this began is in the Machine's status: whoever goes on, after this
// process was killed, knows it, and so does Cluster API, for that timeout.
type drainer struct {
	client.Client
	clusters clustercache.ClusterCache
}

// SetupWithManager adds the controller.
func (d *drainer) SetupWithManager(_ context.Context, m ctrl.Manager, o controller.Options) error {
	return ctrl.NewControllerManagedBy(m).Named("drain").For(&clusterv1.Machine{}).WithOptions(o).Complete(d)
}

// Reconcile hooks a Machine, or empties its node.
func (d *drainer) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	m := &clusterv1.Machine{}
	if err := d.Get(ctx, req.NamespacedName, m); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	cluster, err := util.GetClusterByName(ctx, d.Client, m.Namespace, m.Spec.ClusterName)
	if err != nil || !cluster.DeletionTimestamp.IsZero() || annotations.IsPaused(cluster, m) {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	_, hooked := m.Annotations[drainHook]
	switch {
	case m.DeletionTimestamp.IsZero() && !hooked && m.Status.NodeRef.IsDefined():
		return ctrl.Result{}, d.change(ctx, m, func() { metav1.SetMetaDataAnnotation(&m.ObjectMeta, drainHook, name) })
	case m.DeletionTimestamp.IsZero() || !hooked || m.Status.Deletion == nil || m.Status.Deletion.WaitForPreDrainHookStartTime.IsZero():
		return ctrl.Result{}, nil
	}
	if err := d.begin(ctx, m); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	empty, err := d.empty(ctx, cluster, m)
	if err != nil { // it may be so for a moment only, as while the cluster's API starts anew
		ctrl.LoggerFrom(ctx).Error(err, "The node of a Machine that is deleted was not looked at", "Node", m.Status.NodeRef.Name)
	}
	if !empty && time.Since(m.Status.Deletion.NodeDrainStartTime.Time) < patience(m) {
		return ctrl.Result{RequeueAfter: drainEvery}, nil
	}
	return ctrl.Result{}, d.change(ctx, m, func() { delete(m.Annotations, drainHook) })
}

// change writes what is changed of a Machine's annotations.
func (d *drainer) change(ctx context.Context, m *clusterv1.Machine, change func()) error {
	before := m.DeepCopy()
	change()
	return client.IgnoreNotFound(d.Patch(ctx, m, client.MergeFrom(before)))
}

// begin writes when the drain of a node began, once.
func (d *drainer) begin(ctx context.Context, m *clusterv1.Machine) error {
	if !m.Status.Deletion.NodeDrainStartTime.IsZero() {
		return nil
	}
	before := m.DeepCopy()
	m.Status.Deletion.NodeDrainStartTime = metav1.Now()
	return d.Status().Patch(ctx, m, client.MergeFrom(before))
}

// patience is how long a Machine's node is emptied here.
func patience(m *clusterv1.Machine) time.Duration {
	own := m.Spec.Deletion.NodeDrainTimeoutSeconds
	if own == nil || *own <= 0 { // then Cluster API waits for ever
		return drainLongest
	}
	return min(drainLongest, time.Duration(*own)*time.Second)
}

// empty evicts what is to leave the node of a Machine, and says whether nothing is left to be done here: all has gone, or what is there is
// Cluster API's to judge.
func (d *drainer) empty(ctx context.Context, cluster *clusterv1.Cluster, m *clusterv1.Machine) (bool, error) {
	if _, excluded := m.Annotations[clusterv1.ExcludeNodeDrainingAnnotation]; excluded {
		return true, nil
	}
	remote, err := d.clusters.GetClient(ctx, client.ObjectKeyFromObject(cluster))
	if err != nil {
		return false, fmt.Errorf("connecting to cluster %s: %w", client.ObjectKeyFromObject(cluster), err)
	}
	node := &corev1.Node{}
	if err := remote.Get(ctx, client.ObjectKey{Name: m.Status.NodeRef.Name}, node); err != nil {
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	}
	if !noderefutil.IsNodeReady(node) {
		return true, nil
	}
	h := &drain.Helper{Client: d.Client, RemoteClient: remote, GracePeriodSeconds: -1}
	if err := h.CordonNode(ctx, node); err != nil {
		return false, err
	}
	pods, err := h.GetPodsForEviction(ctx, cluster, m, node.Name)
	if err != nil || len(pods.Pods()) == 0 {
		return err == nil, err
	}
	return h.EvictPods(ctx, pods).DrainCompleted(), nil
}
