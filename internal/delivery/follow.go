package delivery

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"umbel.dev/umbel/api/v1alpha1"
)

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
		Watches(&v1alpha1.Package{}, handler.EnqueueRequestsFromMapFunc(c.ofDependency)).
		Watches(&v1alpha1.MemberCluster{}, c.ofMember(f.concerned)).
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
	err := f.controller.client.Get(ctx, req.NamespacedName, &pkg)
	if apierrors.IsNotFound(err) {
		f.controller.desired.forget(key)
		return ctrl.Result{}, nil
	}
	v := &visit{key: key, pkg: &pkg, memo: &memo{platforms: f.asked(pkg.UID)}}
	if err == nil {
		err = f.look(ctx, v)
	}
	if err != nil {
		f.controller.desired.giveUp(key)
		return ctrl.Result{}, fmt.Errorf("following package %s: %w", key, err)
	}
	return ctrl.Result{}, nil
}

// concerned are the Packages that wait for others, or for a Plan, where the state of one of those on a cluster differs: what clusters
// say of other Packages changes nothing of what they are told.
func (f *follower) concerned(ctx context.Context, before, after *v1alpha1.MemberCluster) (keys []v1alpha1.PackageKey) {
	select {
	case <-f.elected:
		return nil
	default:
	}
	for _, key := range f.controller.concerned(ctx, before, after) {
		namespace, name := key.Split()
		var pkg v1alpha1.Package
		err := f.controller.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &pkg, client.UnsafeDisableDeepCopy)
		if err == nil && (len(pkg.Spec.DependsOn) > 0 || pkg.Spec.Plan == v1alpha1.PlanRequired) {
			keys = append(keys, key)
		}
	}
	return keys
}

// look takes the steps of a pass that write nothing.
func (f *follower) look(ctx context.Context, v *visit) error {
	c := f.controller
	if err := c.observe(ctx, v); err != nil {
		return err
	}
	f.hasAsked(v.pkg)
	for _, step := range []func(context.Context, *visit) error{c.stage, c.observeWaits, c.publish} {
		if err := step(ctx, v); err != nil {
			return err
		}
	}
	return nil
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
