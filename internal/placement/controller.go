package placement

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/placement/decide"
)

// +kubebuilder:rbac:groups=umbel.dev,resources=placements;memberclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=umbel.dev,resources=placements/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Controller decides Placements.
type Controller struct {
	client client.Client
	events events.EventRecorder
	book   *book
	now    func() time.Time
}

// Setup adds the controller to the manager.
func Setup(mgr ctrl.Manager, now func() time.Time) error {
	c := &Controller{client: mgr.GetClient(), events: mgr.GetEventRecorder("umbel-placement"), book: newBook(), now: now}
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
	if err := c.client.Get(ctx, req.NamespacedName, &placement); err != nil {
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
	before := placement.Status
	before.Conditions = slices.Clone(before.Conditions)
	task := c.book.take(page, c.now())
	again, err := c.decide(ctx, page, task, &placement)
	if err != nil {
		c.book.lost(page)
		return ctrl.Result{}, fmt.Errorf("deciding placement %s: %w", req, err)
	}
	if unchanged(&before, &placement.Status) {
		c.book.settled(page, placement.ResourceVersion, again)
		return c.after(again), nil
	}
	basis := placement.ResourceVersion
	if err := c.client.Status().Update(ctx, &placement); err != nil {
		c.book.lost(page)
		if apierrors.IsConflict(err) {
			return ctrl.Result{}, nil // the newer version is on its way through the watch
		}
		return ctrl.Result{}, fmt.Errorf("writing the status of placement %s: %w", req, err)
	}
	if placement.ResourceVersion == basis {
		c.book.settled(page, basis, again) // the API found nothing to change
		return c.after(again), nil
	}
	c.book.wrote(page, basis, placement.ResourceVersion, again)
	c.tell(&before, &placement)
	return c.after(again), nil
}

// after asks to be called again at a time. What the API keeps in whole seconds is not looked at more often than that.
func (c *Controller) after(again time.Time) ctrl.Result {
	if again.IsZero() {
		return ctrl.Result{}
	}
	return ctrl.Result{RequeueAfter: max(again.Sub(c.now()), time.Second)}
}

// decide puts the decision into the status, and says when to look again. The clusters of an earlier decision stay when there
// is none.
func (c *Controller) decide(ctx context.Context, page *page, task task, placement *v1alpha1.Placement) (again time.Time, err error) {
	if page.plan == nil {
		undecided(placement, page.problem)
		return time.Time{}, nil
	}
	before := decide.BeforeOf(&placement.Status)
	var decision decide.Decision
	switch {
	case task.whole:
		clusters, err := c.book.clusters(func() ([]decide.Cluster, error) { return c.fleet(ctx) })
		if err != nil {
			return time.Time{}, err
		}
		decision = page.plan.Decide(clusters, before, c.now())
	case page.plan.Seats():
		return page.again, nil // nothing happened that could move anybody
	default:
		changes, err := c.changes(ctx, task.changed)
		if err != nil {
			return time.Time{}, err
		}
		decision = page.plan.Revise(changes, before, c.now())
	}
	decided(placement, page.plan, decision)
	return decision.Again, nil
}

// fleet sees all clusters.
func (c *Controller) fleet(ctx context.Context) ([]decide.Cluster, error) {
	var members v1alpha1.MemberClusterList
	// The list is read and dropped: ten thousand members are not copied for a decision.
	if err := c.client.List(ctx, &members, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing clusters: %w", err)
	}
	clusters := make([]decide.Cluster, len(members.Items))
	for i := range members.Items {
		clusters[i] = decide.See(&members.Items[i])
	}
	return clusters, nil
}

// changes sees the clusters that changed.
func (c *Controller) changes(ctx context.Context, changed map[v1alpha1.ClusterName]bool) ([]decide.Change, error) {
	var list []decide.Change
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		change := decide.Change{Name: name}
		var member v1alpha1.MemberCluster
		err := c.client.Get(ctx, client.ObjectKey{Name: string(name)}, &member, client.UnsafeDisableDeepCopy)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading cluster %q: %w", name, err)
		}
		if err == nil {
			cluster := decide.See(&member)
			change.Cluster = &cluster
		}
		list = append(list, change)
	}
	return list, nil
}
