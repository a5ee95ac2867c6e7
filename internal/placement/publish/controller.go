package publish

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	inventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"umbel.dev/umbel/api/v1alpha1"
)

// +kubebuilder:rbac:groups=umbel.dev,resources=placements,verbs=get;list;watch
// +kubebuilder:rbac:groups=multicluster.x-k8s.io,resources=placementdecisions,verbs=get;list;watch;create;update;delete

// Controller keeps the PlacementDecisions.
type Controller struct {
	client client.Client // Placements from the manager's cache; writes
	own    cache.Cache   // our PlacementDecisions: others may have many
}

// Setup adds the controller to the manager, whose scheme has to know PlacementDecisions. The API has to serve them.
func Setup(mgr ctrl.Manager) error {
	own, err := cache.New(mgr.GetConfig(), cache.Options{
		Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient(),
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&inventory.PlacementDecision{}: {Label: labels.SelectorFromSet(labels.Set{ManagedByLabel: Scheduler})},
		},
	})
	if err != nil {
		return fmt.Errorf("preparing the cache of placement decisions: %w", err)
	}
	if err := mgr.Add(own); err != nil {
		return err
	}
	c := &Controller{client: mgr.GetClient(), own: own}
	owner := handler.TypedEnqueueRequestsFromMapFunc(func(_ context.Context, d *inventory.PlacementDecision) []ctrl.Request {
		return placementOf(d)
	})
	err = ctrl.NewControllerManagedBy(mgr).
		Named("placement-decisions").
		For(&v1alpha1.Placement{}, builder.WithPredicates(shows())).
		WatchesRawSource(source.Kind(own, &inventory.PlacementDecision{}, owner)).
		Complete(c)
	if err != nil {
		return fmt.Errorf("setting up the controller of placement decisions: %w", err)
	}
	return nil
}

// shows passes changes of a Placement that its decisions show.
func shows() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*v1alpha1.Placement)
		after, also := e.ObjectNew.(*v1alpha1.Placement)
		return !ok || !also || before.Spec.Decisions != after.Spec.Decisions || before.UID != after.UID ||
			(before.Status.ObservedGeneration == 0) != (after.Status.ObservedGeneration == 0) ||
			!slices.Equal(before.Status.Clusters, after.Status.Clusters)
	}}
}

// placementOf is the Placement that a decision of ours belongs to.
func placementOf(d *inventory.PlacementDecision) []ctrl.Request {
	owner := metav1.GetControllerOf(d)
	if owner == nil || owner.Kind != "Placement" {
		return nil
	}
	return []ctrl.Request{{NamespacedName: client.ObjectKey{Namespace: d.Namespace, Name: owner.Name}}}
}

// Reconcile brings the decisions of one Placement up to date.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var have inventory.PlacementDecisionList
	err := c.own.List(ctx, &have, client.InNamespace(req.Namespace), client.MatchingLabels(labelsOf(req.Name)))
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("listing the decisions of placement %s: %w", req, err)
	}
	var placement v1alpha1.Placement
	err = c.client.Get(ctx, req.NamespacedName, &placement, client.UnsafeDisableDeepCopy)
	switch {
	case apierrors.IsNotFound(err):
		placement.Spec.Decisions = v1alpha1.DecisionsWithheld
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("reading placement %s: %w", req, err)
	case !placement.DeletionTimestamp.IsZero():
		return ctrl.Result{}, nil
	}
	err = c.write(ctx, Plan(&placement, have.Items))
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return ctrl.Result{}, nil // the newer version is on its way through the watch
	}
	return ctrl.Result{}, err // a name that is taken: by one that the cache lacks yet, or by somebody else's object
}

// write does what was planned.
func (c *Controller) write(ctx context.Context, writes Writes) error {
	for _, d := range writes.Create {
		if err := c.client.Create(ctx, d); err != nil {
			return fmt.Errorf("creating PlacementDecision %s/%s: %w", d.Namespace, d.Name, err)
		}
	}
	for _, d := range writes.Update {
		if err := c.client.Update(ctx, d); err != nil {
			return fmt.Errorf("writing PlacementDecision %s/%s: %w", d.Namespace, d.Name, err)
		}
	}
	for _, d := range writes.Delete {
		only := client.Preconditions{UID: &d.UID}
		if err := client.IgnoreNotFound(c.client.Delete(ctx, d, only)); err != nil {
			return fmt.Errorf("deleting PlacementDecision %s/%s: %w", d.Namespace, d.Name, err)
		}
	}
	return nil
}
