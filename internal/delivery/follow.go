package delivery

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"umbel.dev/umbel/api/v1alpha1"
)

// followWaits is how soon a replica looks again at what a Package waits for.
const followWaits = 3 * time.Second

// follower keeps the views of Packages on a replica of the hub that does not lead: it reads what the leader wrote, and
// writes nothing. So every replica can say what its members are to hold.
type follower struct {
	controller *Controller
	elected    <-chan struct{}

	mu sync.Mutex
	// platforms is for which generation of each Package the API said whose it is, as a memo of the leader has it.
	platforms map[types.UID]int64
}

// setupFollower adds it to the manager. Once its replica leads it stands still: the controller knows Releases before the
// cache has them.
func setupFollower(mgr ctrl.Manager, c *Controller, elected <-chan struct{}) error {
	f := &follower{controller: c, elected: elected, platforms: map[types.UID]int64{}}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("delivery-follower").
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, NeedLeaderElection: ptr.To(false)}).
		For(&v1alpha1.Package{}).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(c.ofNamespace), builder.WithPredicates(predicate.AnnotationChangedPredicate{})).
		Watches(&v1alpha1.Placement{}, handler.EnqueueRequestsFromMapFunc(c.ofPlacement)).
		Watches(&v1alpha1.Release{}, handler.EnqueueRequestsFromMapFunc(ofRelease)).
		Watches(&v1alpha1.Rollout{}, handler.EnqueueRequestsFromMapFunc(ofRollout)).
		Watches(&v1alpha1.Plan{}, handler.EnqueueRequestsFromMapFunc(ofPlan)).
		Complete(f)
	if err != nil {
		return fmt.Errorf("setting up the follower of delivery: %w", err)
	}
	return nil
}

// Reconcile publishes what is stored of one Package.
func (f *follower) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	select {
	case <-f.elected:
		return ctrl.Result{}, nil
	default:
	}
	key := v1alpha1.KeyOf(req.Namespace, req.Name)
	var pkg v1alpha1.Package
	if err := f.controller.client.Get(ctx, req.NamespacedName, &pkg); err != nil {
		if apierrors.IsNotFound(err) {
			f.controller.desired.forget(key)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("reading package %s: %w", key, err)
	}
	v := &visit{key: key, pkg: &pkg, memo: &memo{platforms: f.asked(pkg.UID)}}
	v.seen.Deleting = !pkg.DeletionTimestamp.IsZero()
	if err := f.controller.observePlacement(ctx, v); err != nil {
		return ctrl.Result{}, err
	}
	if err := f.controller.observeTeam(ctx, v); err != nil {
		return ctrl.Result{}, err
	}
	f.hasAsked(&pkg)
	if err := f.controller.observeRelease(ctx, v); err != nil {
		return ctrl.Result{}, err
	}
	var err error
	if v.members, err = membersOf(ctx, f.controller.client, v); err != nil {
		return ctrl.Result{}, err
	}
	if err := f.controller.stage(ctx, v); err != nil {
		return ctrl.Result{}, err
	}
	if err := f.controller.observeDependencies(ctx, v); err != nil {
		return ctrl.Result{}, err
	}
	if err := f.controller.observePlans(ctx, v); err != nil {
		return ctrl.Result{}, err
	}
	again := time.Duration(0)
	if len(v.seen.Waits) > 0 {
		again = followWaits // what is waited for may come without a change of this Package
	}
	return ctrl.Result{RequeueAfter: again}, f.controller.publish(ctx, v)
}

// asked is for which generation of a Package the API was asked whose it is; 0 when it was not.
func (f *follower) asked(uid types.UID) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.platforms[uid]
}

// hasAsked notes that it was. A Package that goes is not asked for any more.
func (f *follower) hasAsked(pkg *v1alpha1.Package) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.platforms[pkg.UID] = pkg.Generation
	if !pkg.DeletionTimestamp.IsZero() {
		delete(f.platforms, pkg.UID)
	}
}
