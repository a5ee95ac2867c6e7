package upgrade

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/conditions"
)

// +kubebuilder:rbac:groups=umbel.dev,resources=agentupgrades,verbs=get;list;watch
// +kubebuilder:rbac:groups=umbel.dev,resources=agentupgrades/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=umbel.dev,resources=memberclusters,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Controller carries out the AgentUpgrade of the fleet.
type Controller struct {
	client  client.Client
	live    client.Reader // asks the API
	events  events.EventRecorder
	version string
	now     func() time.Time
}

// Setup adds the controller to the manager of a hub of this version.
func Setup(mgr ctrl.Manager, version string, now func() time.Time) error {
	c := &Controller{
		client: mgr.GetClient(), live: mgr.GetAPIReader(), events: mgr.GetEventRecorder("umbel-upgrade"), version: version, now: now,
	}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("upgrade").
		For(&v1alpha1.AgentUpgrade{}).
		Watches(&v1alpha1.MemberCluster{}, gather{}, builder.WithPredicates(predicate.Funcs{UpdateFunc: concerns})).
		Complete(c)
	if err != nil {
		return fmt.Errorf("setting up the upgrade controller: %w", err)
	}
	return nil
}

// gather has the upgrade looked at a second after a member changed: of a thousand that come back at once each one would have
// all of them looked at.
type gather struct{}

// queue is controller-runtime's.
type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

func (gather) soon(q queue) {
	q.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Name: v1alpha1.AgentUpgradeName}}, time.Second)
}

// Create implements handler.EventHandler.
func (g gather) Create(_ context.Context, _ event.CreateEvent, q queue) { g.soon(q) }

// Update implements handler.EventHandler.
func (g gather) Update(_ context.Context, _ event.UpdateEvent, q queue) { g.soon(q) }

// Delete implements handler.EventHandler.
func (g gather) Delete(_ context.Context, _ event.DeleteEvent, q queue) { g.soon(q) }

// Generic implements handler.EventHandler.
func (g gather) Generic(_ context.Context, _ event.GenericEvent, q queue) { g.soon(q) }

// concerns says whether a change of a member may change what an upgrade does: most are about packages.
func concerns(change event.UpdateEvent) bool {
	before, after := change.ObjectOld.(*v1alpha1.MemberCluster), change.ObjectNew.(*v1alpha1.MemberCluster)
	was, is := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionConnected), meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionConnected)
	return before.Generation != after.Generation || !equality.Semantic.DeepEqual(before.Labels, after.Labels) ||
		!equality.Semantic.DeepEqual(before.Status.Agent, after.Status.Agent) || !equality.Semantic.DeepEqual(was, is)
}

// Reconcile does what is due now.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var upgrade v1alpha1.AgentUpgrade
	if err := c.client.Get(ctx, req.NamespacedName, &upgrade); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !upgrade.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	seen, err := c.look(ctx, &upgrade)
	if err != nil {
		return ctrl.Result{}, err
	}
	decision := Next(&upgrade, seen, c.now())
	// The status goes first: a wave that is told without being counted would be canaries again.
	if err := c.write(ctx, &upgrade, decision.Status); err != nil {
		if apierrors.IsConflict(err) {
			return ctrl.Result{}, nil // the newer version is on its way through the watch
		}
		return ctrl.Result{}, err
	}
	for _, order := range decision.Orders {
		if err := c.order(ctx, order); err != nil {
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{RequeueAfter: decision.Again}, nil
}

// look reads what Next looks at.
func (c *Controller) look(ctx context.Context, upgrade *v1alpha1.AgentUpgrade) (Seen, error) {
	var members v1alpha1.MemberClusterList
	if err := c.client.List(ctx, &members, client.UnsafeDisableDeepCopy); err != nil {
		return Seen{}, fmt.Errorf("listing the clusters of agentupgrade %s: %w", upgrade.Name, err)
	}
	clusters, err := Selected(upgrade.Spec, members.Items)
	if err != nil {
		return Seen{}, fmt.Errorf("agentupgrade %s: %w", upgrade.Name, err)
	}
	seen := Seen{Clusters: clusters, HubVersion: c.version}
	if !Wanted(upgrade, seen.Clusters) {
		return seen, nil
	}
	var info corev1.ConfigMap
	err = c.live.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}, &info)
	if client.IgnoreNotFound(err) != nil {
		return Seen{}, fmt.Errorf("reading where the hub's images are: %w", err)
	}
	seen.Repository, _ = SplitImage(info.Data[v1alpha1.HubInfoAgentImage])
	return seen, nil
}

// order writes what one agent is to run. Members whose MemberCluster is gone meanwhile need nothing.
func (c *Controller) order(ctx context.Context, order Order) error {
	member := &v1alpha1.MemberCluster{}
	if err := c.client.Get(ctx, client.ObjectKey{Name: string(order.Cluster)}, member); err != nil {
		return client.IgnoreNotFound(err)
	}
	before := member.DeepCopy()
	member.Spec.Agent = order.Program
	if err := client.IgnoreNotFound(c.client.Patch(ctx, member, client.MergeFrom(before))); err != nil {
		return fmt.Errorf("telling cluster %s which agent to run: %w", order.Cluster, err)
	}
	return nil
}

// write writes the status when it changed, and makes events of what happened.
func (c *Controller) write(ctx context.Context, upgrade *v1alpha1.AgentUpgrade, status v1alpha1.AgentUpgradeStatus) error {
	conditions.DeriveReady(&status.Conditions, upgrade.Generation, v1alpha1.ConditionAdvancing, v1alpha1.ConditionUpgraded)
	before := upgrade.DeepCopy()
	if equality.Semantic.DeepEqual(before.Status, status) {
		return nil
	}
	upgrade.Status = status
	err := c.client.Status().Patch(ctx, upgrade, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if err != nil {
		return fmt.Errorf("writing the status of agentupgrade %s: %w", upgrade.Name, err)
	}
	for _, kind := range []string{v1alpha1.ConditionAdvancing, v1alpha1.ConditionUpgraded} {
		was, is := meta.FindStatusCondition(before.Status.Conditions, kind), meta.FindStatusCondition(status.Conditions, kind)
		if was != nil && was.Reason == is.Reason && before.Status.Wave == status.Wave {
			continue
		}
		level := corev1.EventTypeNormal
		if is.Reason == v1alpha1.ReasonStopped || is.Reason == v1alpha1.ReasonTooFarApart {
			level = corev1.EventTypeWarning
		}
		c.events.Eventf(upgrade, nil, level, is.Reason, "Upgrade", "%s", is.Message)
	}
	return nil
}
