package hosted

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/local"
)

// places are where clusters are.
type places interface {
	// Claim gives a cluster its place, for good.
	Claim(ctx context.Context, h local.Hosted) (local.Ranges, error)
	// Release ends all that is left of a cluster and gives its place back. It leaves alone what is somebody else's.
	Release(ctx context.Context, h local.Hosted) error
	// Taken are the ranges of addresses that no Cluster has and that are taken nonetheless.
	Taken() ([]infra.TakenRange, error)
}

// clusterController gives HostedClusters their places.
type clusterController struct {
	frame
	host places
}

func (c *clusterController) setup(m ctrl.Manager) error {
	kind := &infra.HostedCluster{TypeMeta: metav1.TypeMeta{APIVersion: infra.GroupVersion.String(), Kind: "HostedCluster"}}
	return c.watching(m, "hostedcluster", kind, clusterKind).
		Watches(&infra.HostedControlPlane{}, handler.EnqueueRequestsFromMapFunc(c.related(kind.Kind, infra.HostedControlPlaneKind))).
		Complete(c)
}

// Reconcile gives a HostedCluster its place, or takes it back.
func (c *clusterController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	object := &infra.HostedCluster{}
	if err := c.client.Get(ctx, req.NamespacedName, object); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if _, others := object.Annotations[managedByAnnotation]; others {
		return ctrl.Result{}, nil
	}
	f, alone, err := c.meet(ctx, object, &object.Status.Conditions)
	if alone || err != nil {
		return ctrl.Result{}, err
	}
	if told, err := c.turn(ctx, object, f, allMachines(), &infra.HostedControlPlaneList{}); told || err != nil {
		return ctrl.Result{}, err
	}
	if !object.DeletionTimestamp.IsZero() {
		return c.end(ctx, object, f)
	}
	before := object.DeepCopy()
	ready, after := waiting(f.waits(needCluster)), time.Duration(0)
	if f.cluster != nil {
		if err := c.keep(ctx, object); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
		before = object.DeepCopy()
		ready, after = c.claim(ctx, object, f)
	}
	set(&object.Status.Conditions, infra.ConditionReady, ready, object.Generation)
	return ctrl.Result{RequeueAfter: after}, c.say(ctx, before, object)
}

func (c *clusterController) claim(ctx context.Context, object *infra.HostedCluster, f family) (metav1.Condition, time.Duration) {
	h := f.hosted(object.Namespace)
	var err error
	if h.Ranges, err = f.ranges(); err != nil {
		return failure(err)
	}
	if h.Ranges.Balancer, err = pool(object); err != nil {
		return failure(err)
	}
	h.Copied = f.copied()
	has, err := c.host.Claim(ctx, h)
	if err != nil {
		return failure(err)
	}
	object.Status.Pods, object.Status.Services = has.Pods.String(), has.Services.String()
	if has.Balancer.IsValid() {
		object.Status.LoadBalancer = has.Balancer.String()
	}
	object.Status.FailureDomains = []infra.FailureDomain{{Name: failureDomain, ControlPlane: new(true)}}
	// As soon as it is provisioned, Cluster API tries to reach the API, and when nobody answers not again for half a minute.
	if waits, err := c.awaitPlane(ctx, object, f); err != nil || waits != "" {
		if err != nil {
			return failure(err)
		}
		return waiting(waits), 0
	}
	object.Status.Initialization = &infra.Provisioning{Provisioned: new(true)}
	return serving("it has a name and addresses on this machine"), 0
}

// pool returns the addresses that a HostedCluster asks for, for Services of type LoadBalancer; the zero prefix for none.
func pool(object *infra.HostedCluster) (netip.Prefix, error) {
	if object.Spec.LoadBalancer == nil {
		return netip.Prefix{}, nil
	}
	asked, err := netip.ParsePrefix(object.Spec.LoadBalancer.Addresses)
	if err != nil {
		return asked, &refusal{fmt.Sprintf("spec.loadBalancer.addresses is %q: it is to be an IPv4 network, such as 10.200.129.0/28", object.Spec.LoadBalancer.Addresses)}
	}
	return asked, nil
}

// awaitPlane says what is waited for before a place that is there counts as provisioned.
func (c *clusterController) awaitPlane(ctx context.Context, object *infra.HostedCluster, f family) (string, error) {
	done := object.Status.Initialization != nil && object.Status.Initialization.Provisioned != nil && *object.Status.Initialization.Provisioned
	if done || field[string](f.cluster, "spec", "controlPlaneRef", "kind") != infra.HostedControlPlaneKind.Kind {
		return "", nil
	}
	plane := &infra.HostedControlPlane{}
	name := field[string](f.cluster, "spec", "controlPlaneRef", "name")
	if err := c.client.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: name}, plane); client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("reading HostedControlPlane %s: %w", name, err)
	}
	if initialized(plane) {
		return "", nil
	}
	return "it has a name and addresses on this machine, and its control plane has not served yet: HostedControlPlane " + name + " says why", nil
}

// end gives the place back, when no machine is left in it.
func (c *clusterController) end(ctx context.Context, object *infra.HostedCluster, f family) (ctrl.Result, error) {
	before := object.DeepCopy()
	if why := f.stays(object); why != "" {
		set(&object.Status.Conditions, infra.ConditionReady, staying(why, ""), object.Generation)
		return ctrl.Result{}, c.say(ctx, before, object)
	}
	left, err := c.machines(ctx, object.Namespace, f.name)
	if err != nil {
		return ctrl.Result{}, err
	}
	if f.name == "" { // it never had a place
		return ctrl.Result{}, c.let(ctx, object)
	}
	if len(left) > 0 {
		set(&object.Status.Conditions, infra.ConditionReady, ending("these machines are to end first: "+strings.Join(left, ", ")), object.Generation)
		return ctrl.Result{RequeueAfter: again}, c.say(ctx, before, object)
	}
	if err := c.host.Release(ctx, f.hosted(object.Namespace)); err != nil {
		if busy(err) {
			return ctrl.Result{RequeueAfter: soon}, nil
		}
		said, after := failure(fmt.Errorf("taking the cluster away: %w", err))
		set(&object.Status.Conditions, infra.ConditionReady, said, object.Generation)
		return ctrl.Result{RequeueAfter: after}, c.say(ctx, before, object)
	}
	return ctrl.Result{}, c.let(ctx, object)
}

// machines returns the names of a cluster's LocalMachines.
func (c *clusterController) machines(ctx context.Context, namespace, cluster string) ([]string, error) {
	var all infra.LocalMachineList
	if err := c.client.List(ctx, &all, client.InNamespace(namespace), client.MatchingLabels{clusterLabel: cluster}); err != nil {
		return nil, fmt.Errorf("listing the machines of cluster %s: %w", cluster, err)
	}
	var names []string
	for _, m := range all.Items {
		names = append(names, m.Name)
	}
	return names, nil
}
