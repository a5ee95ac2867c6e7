package scope

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/conditions"
)

// +kubebuilder:rbac:groups=umbel.dev,resources=scopes,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=umbel.dev,resources=scopes/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=umbel.dev,resources=placements;packages,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups=umbel.dev,resources=memberclusters,verbs=get;proxy
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=clusterroles;clusterrolebindings,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Controller makes of Scopes what follows from them.
type Controller struct {
	client client.Client
	live   client.Reader // past the cache, which does not hold what is not labelled, and may lag
	events events.EventRecorder
}

// Cached restricts what the hub's cache holds of roles and bindings to those that follow from Scopes.
func Cached() (map[client.Object]cache.ByObject, error) {
	ours, err := labels.NewRequirement(v1alpha1.ScopeLabel, selection.Exists, nil)
	if err != nil {
		return nil, fmt.Errorf("selecting what follows from Scopes: %w", err)
	}
	only := cache.ByObject{Label: labels.NewSelector().Add(*ours)}
	return map[client.Object]cache.ByObject{
		&rbacv1.ClusterRole{}: only, &rbacv1.ClusterRoleBinding{}: only,
	}, nil
}

// Setup adds the controller to a manager whose cache is restricted by Cached.
func Setup(mgr ctrl.Manager) error {
	c := &Controller{client: mgr.GetClient(), live: mgr.GetAPIReader(), events: mgr.GetEventRecorder("umbel-scope")}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("scope").
		For(&v1alpha1.Scope{}).
		Watches(&v1alpha1.Placement{}, gathered(mgr)).
		Watches(&v1alpha1.Package{}, gathered(mgr)).
		Owns(&rbacv1.ClusterRole{}).
		Owns(&rbacv1.ClusterRoleBinding{}).
		Complete(c)
	if err != nil {
		return fmt.Errorf("setting up the scope controller: %w", err)
	}
	return nil
}

// Reconcile makes one pass over a Scope.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (result ctrl.Result, err error) {
	var scope v1alpha1.Scope
	if err := c.client.Get(ctx, req.NamespacedName, &scope); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := scope.DeepCopy()
	defer func() {
		if failed := c.conclude(ctx, before, &scope); failed != nil {
			err = failed
		}
	}()
	pass := c.follow
	if !scope.DeletionTimestamp.IsZero() {
		pass = c.end
	}
	err = pass(ctx, &scope)
	if apierrors.IsConflict(err) {
		return ctrl.Result{}, nil // the newer version is on its way through the watch
	}
	return ctrl.Result{}, err
}

// follow makes what follows from a Scope.
func (c *Controller) follow(ctx context.Context, scope *v1alpha1.Scope) error {
	if err := c.hold(ctx, scope); err != nil {
		return err
	}
	wanted, err := Package(scope)
	if err != nil {
		return err
	}
	placement, err := ensure(ctx, c, scope, Placement(scope))
	if err != nil {
		return c.refused(scope, err)
	}
	pkg, err := ensure(ctx, c, scope, wanted)
	if err != nil {
		return c.refused(scope, err)
	}
	scope.Status.Package = v1alpha1.KeyOf(pkg.Namespace, pkg.Name)
	scope.Status.Clusters = pkg.Status.Clusters
	set(scope, Placed(placement))
	set(scope, Delivered(pkg))
	if err := c.letThrough(ctx, scope, placement); err != nil {
		return c.refused(scope, err)
	}
	set(scope, Reachable(placement))
	return nil
}

// letThrough lets the people through the hub to the clusters that are selected. While that is not decided the role stays as
// it is; who has it follows the Scope at once.
func (c *Controller) letThrough(ctx context.Context, scope *v1alpha1.Scope, placement *v1alpha1.Placement) error {
	objects := []client.Object{AccessBinding(scope)}
	if Decided(placement) {
		objects = append(objects, Access(scope, placement.Status.Clusters))
	}
	for _, object := range objects {
		if _, err := ensure(ctx, c, scope, object); err != nil {
			return err
		}
	}
	return nil
}

// refused notes an object that is in the way. Its end, or a change of the Scope, is the occasion for the next pass.
func (c *Controller) refused(scope *v1alpha1.Scope, err error) error {
	taken, ok := errors.AsType[*taken](err)
	if !ok {
		return err
	}
	set(scope, metav1.Condition{
		Type: v1alpha1.ConditionPlaced, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNameTaken, Message: taken.Error(),
	})
	if taken.leaving {
		return nil // the watch tells when it is gone
	}
	return err // nobody tells when it is gone: it is not ours
}

// end closes the way through the hub, takes everything back, and lets the Scope go.
func (c *Controller) end(ctx context.Context, scope *v1alpha1.Scope) error {
	if !controllerutil.ContainsFinalizer(scope, v1alpha1.Finalizer) {
		return nil
	}
	for _, object := range []client.Object{AccessBinding(scope), Access(scope, nil)} {
		if _, err := c.remove(ctx, scope, object); err != nil {
			return err
		}
	}
	set(scope, metav1.Condition{
		Type: v1alpha1.ConditionReachable, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDeleting,
		Message: "the hub lets nobody through any more for its sake",
	})
	pkg := &v1alpha1.Package{ObjectMeta: made(scope, v1alpha1.SystemNamespace, v1alpha1.ScopePackage(scope.Name))}
	left, err := c.remove(ctx, scope, pkg)
	if err != nil {
		return err
	}
	if left && scope.Annotations[v1alpha1.ForceDeleteAnnotation] != "true" {
		set(scope, Delivered(pkg))
		scope.Status.Clusters = pkg.Status.Clusters
		return nil
	}
	if _, err := c.remove(ctx, scope, Placement(scope)); err != nil {
		return err
	}
	return c.letGo(ctx, scope)
}

// hold puts our finalizer on the Scope, so that members let go before it does.
func (c *Controller) hold(ctx context.Context, scope *v1alpha1.Scope) error {
	base := scope.DeepCopy()
	if !controllerutil.AddFinalizer(scope, v1alpha1.Finalizer) {
		return nil
	}
	if err := c.client.Patch(ctx, scope, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("putting the finalizer on scope %s: %w", scope.Name, err)
	}
	return nil
}

func (c *Controller) letGo(ctx context.Context, scope *v1alpha1.Scope) error {
	status := scope.Status.DeepCopy()
	base := scope.DeepCopy()
	controllerutil.RemoveFinalizer(scope, v1alpha1.Finalizer)
	err := c.client.Patch(ctx, scope, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("taking the finalizer off scope %s: %w", scope.Name, err)
	}
	scope.Status = *status
	return nil
}

func set(scope *v1alpha1.Scope, condition metav1.Condition) {
	condition.ObservedGeneration = scope.Generation
	meta.SetStatusCondition(&scope.Status.Conditions, condition)
}

// conclude is the one write of the status, when it differs, and the event that goes with it.
func (c *Controller) conclude(ctx context.Context, before, scope *v1alpha1.Scope) error {
	scope.Status.ObservedGeneration = scope.Generation
	conditions.DeriveReady(&scope.Status.Conditions, scope.Generation,
		v1alpha1.ConditionPlaced, v1alpha1.ConditionReachable, v1alpha1.ConditionDelivered)
	if equality.Semantic.DeepEqual(before.Status, scope.Status) {
		return nil
	}
	if err := c.client.Status().Update(ctx, scope); err != nil {
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			return nil // the newer version, or that it is gone, is on its way through the watch
		}
		return fmt.Errorf("writing the status of scope %s: %w", scope.Name, err)
	}
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionReady)
	ready := meta.FindStatusCondition(scope.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case was != nil && was.Status == ready.Status && was.Reason == ready.Reason:
	case ready.Status == metav1.ConditionTrue:
		c.events.Eventf(scope, nil, corev1.EventTypeNormal, "Granted", "Grant", "Granted role %s to %d users and %d groups on %s clusters",
			scope.Spec.Role, len(scope.Spec.Users), len(scope.Spec.Groups), scope.Status.Clusters.Summary)
	case ready.Reason == v1alpha1.ReasonNameTaken || ready.Reason == v1alpha1.ReasonClustersFailing:
		c.events.Eventf(scope, nil, corev1.EventTypeWarning, ready.Reason, "Grant", "%s", ready.Message)
	}
	return nil
}
