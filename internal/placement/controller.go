package placement

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/live"
	"umbel.dev/umbel/internal/placement/decide"
)

// +kubebuilder:rbac:groups=umbel.dev,resources=placements;memberclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=umbel.dev,resources=placements/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Controller decides Placements.
type Controller struct {
	client client.Client
	// live reads past the cache.
	live   client.Reader
	events events.EventRecorder
	book   *book
	now    func() time.Time
}

// Setup adds the controller to the manager.
func Setup(mgr ctrl.Manager, now func() time.Time) error {
	c := &Controller{client: mgr.GetClient(), live: mgr.GetAPIReader(), events: mgr.GetEventRecorder("umbel-placement"), book: newBook(), now: now}
	// Placements are watched without a filter: what the cache holds of a status may be older than what was written,
	// and the event of that write is the occasion to look again.
	err := ctrl.NewControllerManagedBy(mgr).
		Named("placement").
		For(&v1alpha1.Placement{}).
		Watches(&v1alpha1.MemberCluster{}, c.concerned()).
		Complete(c)
	if err != nil {
		return fmt.Errorf("setting up the placement controller: %w", err)
	}
	return nil
}

// Reconcile decides one Placement and writes what changed.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var placement v1alpha1.Placement
	// It is read, and what is to change in it is written beside it: ten thousand names are not copied for that of one.
	if err := c.client.Get(ctx, req.NamespacedName, &placement, client.UnsafeDisableDeepCopy); err != nil {
		if apierrors.IsNotFound(err) {
			c.book.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !placement.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	page, current := c.book.open(&placement)
	if !current {
		return ctrl.Result{}, nil // what was written last is on its way through the watch
	}
	outcome, err := c.decide(ctx, page, &placement)
	if err == nil {
		err = c.confirm(ctx, outcome.Left)
	}
	if err != nil {
		c.book.lost(page)
		return ctrl.Result{}, fmt.Errorf("deciding placement %s: %w", req, err)
	}
	version, err := c.write(ctx, &placement, outcome)
	if err != nil {
		c.book.lost(page)
		if apierrors.IsConflict(err) {
			return ctrl.Result{}, nil // the newer version is on its way through the watch
		}
		return ctrl.Result{}, fmt.Errorf("writing the status of placement %s: %w", req, err)
	}
	if version == placement.ResourceVersion {
		c.book.settled(page, version)
		return c.after(outcome.Again), nil
	}
	c.book.wrote(page, placement.ResourceVersion, version)
	c.tell(&placement, outcome)
	return c.after(outcome.Again), nil
}

// write brings a status up to date, and returns the version that it has then: the one it had, where there is nothing to write.
func (c *Controller) write(ctx context.Context, placement *v1alpha1.Placement, o outcome) (version string, err error) {
	patch, err := patchOf(placement, o)
	if err != nil || patch == nil {
		return placement.ResourceVersion, err
	}
	// Nothing but the version is asked for in the answer.
	answer := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: placement.Namespace, Name: placement.Name}}
	answer.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Placement"))
	err = c.client.Status().Patch(ctx, &answer, client.RawPatch(types.JSONPatchType, patch))
	return answer.ResourceVersion, err
}

// after asks to be called again at a time. What the API keeps in whole seconds is not looked at more often than that.
func (c *Controller) after(again time.Time) ctrl.Result {
	if again.IsZero() {
		return ctrl.Result{}
	}
	return ctrl.Result{RequeueAfter: max(again.Sub(c.now()), time.Second)}
}

// decide says what the status of a Placement is to say. The clusters of an earlier decision stay when there is none.
func (c *Controller) decide(ctx context.Context, page *page, placement *v1alpha1.Placement) (outcome, error) {
	if page.plan == nil {
		return undecided(placement, page.problem), nil
	}
	if err := c.book.see(func() (decide.Fleet, error) { return c.fleet(ctx) }); err != nil {
		return outcome{}, err
	}
	return decided(placement, page.plan, c.book.decide(page, decide.BeforeOf(&placement.Status), c.now())), nil
}

// confirm asks the API itself whether those are gone that leave a decision for want of a cluster of their name: a list that was
// cut short would take a cluster everything that it holds.
func (c *Controller) confirm(ctx context.Context, left []v1alpha1.ClusterName) error {
	for _, name := range c.book.missing(left) {
		if err := live.Gone(ctx, c.live, "MemberCluster", client.ObjectKey{Name: string(name)}); err != nil {
			return err
		}
		c.book.buried(name)
	}
	return nil
}

// fleet sees all clusters.
func (c *Controller) fleet(ctx context.Context) (decide.Fleet, error) {
	var members v1alpha1.MemberClusterList
	// The list is read and dropped: ten thousand members are not copied for a decision.
	if err := c.client.List(ctx, &members, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing clusters: %w", err)
	}
	fleet := make(decide.Fleet, len(members.Items))
	for i := range members.Items {
		cluster := decide.See(&members.Items[i])
		fleet[cluster.Name] = &cluster
	}
	return fleet, nil
}
