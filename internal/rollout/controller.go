package rollout

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/conditions"
	"umbel.dev/umbel/internal/kube/live"
)

// +kubebuilder:rbac:groups=umbel.dev,resources=rollouts,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=umbel.dev,resources=rollouts/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=umbel.dev,resources=packages;releases;placements;memberclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

const (
	// keep is how many Rollouts of a Package are kept.
	keep = 10
	// steps is how many steps of a chain one pass takes: close, make, start, drive.
	steps = 4
)

// Controller carries out the Rollouts of Packages.
type Controller struct {
	client client.Client
	// live reads past the cache.
	live   client.Reader
	events events.EventRecorder
	digest func(*v1alpha1.ReleaseSpec, *v1alpha1.MemberCluster) string
	waits  func(context.Context, *v1alpha1.Package, *v1alpha1.Rollout, *v1alpha1.Release) (map[v1alpha1.ClusterName]string, error)
	ask    func(context.Context, string, []v1alpha1.ClusterName) (bool, error)
	now    func() time.Time
}

// Reconcile does what is due in the chain of one Package.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var pkg v1alpha1.Package
	err := c.client.Get(ctx, req.NamespacedName, &pkg)
	if apierrors.IsNotFound(err) {
		return ctrl.Result{}, c.sweep(ctx, req)
	}
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading package %s: %w", req.NamespacedName, err)
	}
	if !pkg.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // every cluster is told to remove it
	}
	v, err := c.observe(ctx, &pkg)
	if err != nil {
		return ctrl.Result{}, err
	}
	var again time.Duration
	for range steps {
		step := v.chain(c).Due()
		if again, err = c.act(ctx, v, step); err != nil {
			if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
				return ctrl.Result{RequeueAfter: gather}, nil // the cache is behind
			}
			return ctrl.Result{}, err
		}
		if step == Rest || step == Drive {
			break
		}
	}
	return ctrl.Result{RequeueAfter: again}, c.forget(ctx, v)
}

func (v *visit) chain(c *Controller) *Chain {
	chain := &Chain{Package: v.pkg, Newest: v.newest()}
	if chain.Newest != nil {
		newest := chain.Newest.Spec.Newest
		chain.Settled = newest == v.pkg.Status.Release || v.widened(newest)
	}
	chain.Good = func() string { return mostHeld(c.known(v), v.pkg.Status.Release) }
	return chain
}

// act takes one step.
func (c *Controller) act(ctx context.Context, v *visit, step Step) (time.Duration, error) {
	switch chain := v.chain(c); step {
	case Close:
		return 0, c.write(ctx, v.newest(), chain.Closed(metav1.NewTime(c.now().Truncate(time.Second))), nil)
	case Make:
		return 0, c.make(ctx, v, chain.Spec())
	case Start:
		return 0, c.start(ctx, v)
	case Drive:
		return c.drive(ctx, v)
	}
	return 0, nil
}

// drive lets the newest Rollout do what is due. That a cluster need not wait any more shows in the Package's conditions, though not
// always: where another one begins to at the same time, the count of them is the same.
func (c *Controller) drive(ctx context.Context, v *visit) (again time.Duration, err error) {
	r := v.newest()
	clusters, err := c.ahead(ctx, v, r)
	if err != nil {
		return 0, err
	}
	decision := Next(r, Seen{Clusters: clusters, Decided: v.decided, Answers: c.answers(ctx, r)}, c.now())
	if again = decision.Again; len(decision.Status.Blocked) > 0 && (again == 0 || again > heartbeat) {
		again = heartbeat
	}
	return again, c.write(ctx, r, decision.Status, decision.News)
}

// make makes the next Rollout of the Package. That there is one of its name is how two hubs do not make two.
func (c *Controller) make(ctx context.Context, v *visit, spec v1alpha1.RolloutSpec) error {
	r := &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Namespace: v.pkg.Namespace, Name: v1alpha1.RolloutName(v.pkg.Name, spec.Number)}, Spec: spec,
	}
	if err := controllerutil.SetControllerReference(v.pkg, r, c.client.Scheme()); err != nil {
		return fmt.Errorf("making rollout %s: %w", r.Name, err)
	}
	if err := c.client.Create(ctx, r); err != nil {
		return fmt.Errorf("creating rollout %s: %w", r.Name, err)
	}
	v.rollouts = append(v.rollouts, *r)
	return nil
}

// start freezes what the newest Rollout is about. Without a decision of the Placement nobody knows what that is.
func (c *Controller) start(ctx context.Context, v *visit) error {
	r := v.newest()
	if !v.decided {
		return nil
	}
	clusters, err := c.ahead(ctx, v, r)
	if err != nil {
		return err
	}
	status, err := Begin(r, clusters, c.told(v), c.now())
	if err != nil {
		return c.write(ctx, r, invalid(r, err, metav1.NewTime(c.now().Truncate(time.Second))), []News{{"Invalid", err.Error()}})
	}
	return c.write(ctx, r, status, []News{{"Began", fmt.Sprintf("Began to roll %s out to %s", r.Spec.Release, many(int(status.Clusters)))}})
}

// invalid is the status of a rollout whose strategy cannot be read. It has not begun: the one before it counts.
func invalid(r *v1alpha1.Rollout, err error, at metav1.Time) v1alpha1.RolloutStatus {
	status := *r.Status.DeepCopy()
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionProgressing, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInvalidSelector,
		Message: err.Error(), ObservedGeneration: r.Generation, LastTransitionTime: at,
	})
	return status
}

// told says what each cluster is told before the newest Rollout begins: what the one before it says or, where there is none,
// what the clusters hold.
func (c *Controller) told(v *visit) func(v1alpha1.ClusterName) string {
	newest := v.newest()
	for i := range v.rollouts {
		if before := &v.rollouts[i]; before.Status.Successor == newest.Name && !restored(before) {
			return before.Orders().For
		}
	}
	holds := map[v1alpha1.ClusterName]string{}
	for _, one := range c.known(v) {
		holds[one.Name] = one.Holds
	}
	return func(name v1alpha1.ClusterName) string { return holds[name] }
}

// known are the clusters with what they hold, where there is such a Release. What one that is away said to a hub that was
// restored from a backup since may be of another time.
func (c *Controller) known(v *visit) []Cluster {
	clusters := c.clusters(v, v.pkg.Status.Release)
	_, wasRestored := v.pkg.Annotations[v1alpha1.RestoredAnnotation]
	for i := range clusters {
		if v.releases[clusters[i].Holds] == nil || wasRestored && clusters[i].State == Away {
			clusters[i].Holds, clusters[i].State = "", Absent
		}
	}
	return clusters
}

// write writes a status when it changed, and makes events of what happened.
func (c *Controller) write(ctx context.Context, r *v1alpha1.Rollout, status v1alpha1.RolloutStatus, news []News) error {
	conditions.DeriveReady(&status.Conditions, r.Generation, v1alpha1.ConditionRolledOut)
	if equality.Semantic.DeepEqual(r.Status, status) {
		return nil
	}
	r.Status = status
	if err := c.client.Status().Update(ctx, r); err != nil {
		return fmt.Errorf("writing the status of rollout %s: %w", r.Name, err)
	}
	for _, n := range news {
		kind := corev1.EventTypeNormal
		if n.Reason == "Halted" || n.Reason == "Invalid" || n.Reason == v1alpha1.ReasonRolledBack {
			kind = corev1.EventTypeWarning
		}
		c.events.Eventf(r, nil, kind, n.Reason, "Rollout", "%s", n.Note)
	}
	return nil
}

// forget deletes the oldest Rollouts.
func (c *Controller) forget(ctx context.Context, v *visit) error {
	for i := range v.rollouts[:max(0, len(v.rollouts)-keep)] {
		if err := client.IgnoreNotFound(c.client.Delete(ctx, &v.rollouts[i])); err != nil {
			return fmt.Errorf("deleting rollout %s: %w", v.rollouts[i].Name, err)
		}
	}
	return nil
}

// sweep deletes the Rollouts of a Package that is gone, by the word of the API itself: that the cache has none may be for want of a
// list that was whole, and with its Rollouts a Package would lose the gates that its clusters stand at.
func (c *Controller) sweep(ctx context.Context, req ctrl.Request) error {
	if err := live.Gone(ctx, c.live, "Package", req.NamespacedName); err != nil {
		return err
	}
	var list v1alpha1.RolloutList
	err := c.client.List(ctx, &list, client.InNamespace(req.Namespace), client.MatchingFields{byPackage: req.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return fmt.Errorf("listing the rollouts of package %s: %w", req.NamespacedName, err)
	}
	for i := range list.Items {
		r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: req.Namespace, Name: list.Items[i].Name}}
		if err := client.IgnoreNotFound(c.client.Delete(ctx, r)); err != nil {
			return fmt.Errorf("deleting rollout %s: %w", r.Name, err)
		}
	}
	return nil
}
