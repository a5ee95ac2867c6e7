package placement

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/conditions"
)

// +kubebuilder:rbac:groups=umbel.dev,resources=placements;memberclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=umbel.dev,resources=placements/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Controller decides Placements.
type Controller struct {
	client client.Client
	events events.EventRecorder
}

// Setup adds the controller to the manager.
func Setup(mgr ctrl.Manager) error {
	c := &Controller{client: mgr.GetClient(), events: mgr.GetEventRecorder("umbel-placement")}
	// Placements are watched without a filter: what the cache holds of a status may be older than what was written,
	// and the event of that write is the occasion to look again.
	err := ctrl.NewControllerManagedBy(mgr).
		Named("placement").
		For(&v1alpha1.Placement{}).
		Watches(&v1alpha1.MemberCluster{}, c.concerned(), builder.WithPredicates(membershipChanged())).
		Complete(c)
	if err != nil {
		return fmt.Errorf("setting up the placement controller: %w", err)
	}
	return nil
}

// Reconcile decides one Placement and writes what changed.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var placement v1alpha1.Placement
	if err := c.client.Get(ctx, req.NamespacedName, &placement); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !placement.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	var clusters v1alpha1.MemberClusterList
	// The list is read and dropped: ten thousand clusters are not copied for one decision.
	if err := c.client.List(ctx, &clusters, client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, fmt.Errorf("listing clusters for placement %s: %w", req, err)
	}
	before := placement.DeepCopy()
	decide(&placement, clusters.Items)
	if equality.Semantic.DeepEqual(before.Status, placement.Status) {
		return ctrl.Result{}, nil
	}
	if err := c.client.Status().Update(ctx, &placement); err != nil {
		if apierrors.IsConflict(err) {
			return ctrl.Result{}, nil // the newer version is on its way through the watch
		}
		return ctrl.Result{}, fmt.Errorf("writing the status of placement %s: %w", req, err)
	}
	c.tell(before, &placement, len(clusters.Items))
	return ctrl.Result{}, nil
}

// decide puts the decision for the spec into the status. The clusters of an earlier one stay when there is none.
func decide(placement *v1alpha1.Placement, clusters []v1alpha1.MemberCluster) {
	decided := metav1.Condition{Type: v1alpha1.ConditionDecided, ObservedGeneration: placement.Generation}
	names, err := Select(placement.Spec, clusters)
	if err != nil {
		decided.Status, decided.Reason = metav1.ConditionFalse, v1alpha1.ReasonInvalidSelector
		decided.Message = fmt.Sprintf("%s; the last decision stands (%d clusters)", err, len(placement.Status.Clusters))
	} else {
		decided.Status, decided.Reason = metav1.ConditionTrue, v1alpha1.ReasonDecided
		decided.Message = fmt.Sprintf("selects %d of %d clusters", len(names), len(clusters))
		placement.Status.Clusters, placement.Status.Selected = names, int32(len(names))
		placement.Status.ObservedGeneration = placement.Generation
	}
	meta.SetStatusCondition(&placement.Status.Conditions, decided)
	conditions.DeriveReady(&placement.Status.Conditions, placement.Generation, v1alpha1.ConditionDecided)
}

// tell makes an event of a decision that differs from the one before.
func (c *Controller) tell(before, after *v1alpha1.Placement, total int) {
	decided := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionDecided)
	if decided.Status == metav1.ConditionFalse {
		was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionDecided)
		if was == nil || was.Message != decided.Message {
			c.events.Eventf(after, nil, corev1.EventTypeWarning, decided.Reason, "Select", "%s", decided.Message)
		}
		return
	}
	if before.Status.ObservedGeneration == 0 || !slices.Equal(before.Status.Clusters, after.Status.Clusters) {
		c.events.Eventf(after, nil, corev1.EventTypeNormal, "Selected", "Select",
			"Selected %d of %d clusters", len(after.Status.Clusters), total)
	}
}
