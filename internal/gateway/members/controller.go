package members

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// +kubebuilder:rbac:groups=umbel.dev,resources=memberclusters,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=umbel.dev,resources=memberclusters/status,verbs=get;update;patch
// +kubebuilder:rbac:groups="",namespace=umbel-system,resources=secrets,verbs=get;create;update;delete

// ForceDetachAnnotation on a MemberCluster that is being deleted lets it go without its agent's word.
const ForceDetachAnnotation = v1alpha1.ForceDetachAnnotation

// coalesce is how long news of a member wait for more of them.
const coalesce = 50 * time.Millisecond

// writers is how many statuses are written at once. A write waits for the disk of the API, which takes many in one go: with
// few of them a change that every member answers is shown late.
const writers = 16

// Controller writes the status of MemberClusters and lets them go.
type Controller struct {
	client   client.Client // reads from the manager's cache
	live     client.Reader // asks the API
	registry *Registry
}

// Setup adds the controller to the manager.
func Setup(mgr ctrl.Manager, registry *Registry) (*Controller, error) {
	c := &Controller{client: mgr.GetClient(), live: mgr.GetAPIReader(), registry: registry}
	news := source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		registry.mu.Lock()
		defer registry.mu.Unlock()
		registry.notify = func(cluster v1alpha1.ClusterName, after time.Duration) {
			queue.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Name: string(cluster)}}, after)
		}
		return nil
	})
	err := ctrl.NewControllerManagedBy(mgr).
		Named("member").
		For(&v1alpha1.MemberCluster{}).
		WatchesRawSource(news).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: writers, SkipNameValidation: ptr.To(true), NeedLeaderElection: ptr.To(false),
		}).
		Complete(c)
	if err == nil {
		err = mgr.Add(leading{c})
	}
	if err != nil {
		return nil, fmt.Errorf("setting up the member controller: %w", err)
	}
	return c, nil
}

// Reconcile brings one MemberCluster's status up to what is known.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	cluster := v1alpha1.ClusterName(req.Name)
	var member v1alpha1.MemberCluster
	if err := client.IgnoreNotFound(c.client.Get(ctx, req.NamespacedName, &member)); err != nil {
		return ctrl.Result{}, err
	}
	behind, err := c.part(ctx, cluster, member.UID)
	if err != nil || behind || member.UID == "" {
		return ctrl.Result{}, err
	}
	if share, behind := c.share(&member); share != Ours || behind {
		return ctrl.Result{}, nil // there is news when that changes
	}
	c.registry.meet(cluster, member.UID)
	facts := c.registry.snapshot(cluster)
	gone, err := c.lifecycle(ctx, &member, facts)
	if err != nil || gone {
		return ctrl.Result{}, silent(err)
	}
	c.revoke(&member)
	c.registry.run(cluster, member.Spec.Agent)
	c.registry.instruct(cluster, member.Spec.Measures(), member.Spec.Stands())
	c.registry.askBack(cluster, toUndo(&member))
	c.registry.found(cluster, member.Status.Packages)
	set, known := c.registry.config.Desired(cluster)
	status, again := Plan(&member, facts, Desired{set, known}, c.hubFor(&member))
	if !worthwhile(member.Status, status) && c.registry.lists(cluster, status.Packages) {
		return ctrl.Result{RequeueAfter: again}, nil
	}
	if wait := c.wait(cluster, member.Status, status); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	if !c.registry.unlist(cluster, status.Packages) {
		return ctrl.Result{RequeueAfter: coalesce}, nil // its agent was told of a package meanwhile
	}
	c.tellDeletions(cluster, member.Status.Deletions, status.Deletions)
	if err := c.write(ctx, &member, status); err != nil {
		return ctrl.Result{}, silent(err)
	}
	c.registry.wrote(cluster, member.ResourceVersion, status.Session)
	c.registry.list(cluster, status.Packages)
	return ctrl.Result{RequeueAfter: again}, nil
}

// wait returns how long a status that differs is to wait before it is written, and counts the write when that is no time.
func (c *Controller) wait(cluster v1alpha1.ClusterName, before, after v1alpha1.MemberClusterStatus) time.Duration {
	if atWork(before, after) && c.registry.lists(cluster, after.Packages) {
		if rest := c.registry.rest(cluster); rest > 0 {
			return rest
		}
	}
	return c.registry.wait(cluster)
}

// part forgets what is known of an earlier MemberCluster of this name, and ends its session. cached is the one that the
// cache has, or empty. The API is asked before, since the cache may be behind what sessions have seen.
func (c *Controller) part(ctx context.Context, cluster v1alpha1.ClusterName, cached types.UID) (behind bool, err error) {
	known := c.registry.UID(cluster)
	if known == "" || known == cached {
		return false, nil
	}
	var member v1alpha1.MemberCluster
	err = c.live.Get(ctx, client.ObjectKey{Name: string(cluster)}, &member)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading MemberCluster %q: %w", cluster, err)
	}
	if member.UID == known {
		return true, nil
	}
	c.registry.forget(cluster, known)
	return false, nil
}

// silent drops conflicts: the newer version is on its way through the watch.
func silent(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// write writes the status. When the member connects for the first time its join token goes first: it has served. So it does
// when a key that was revoked loses its place: whoever still has the token would put another key there.
func (c *Controller) write(ctx context.Context, member *v1alpha1.MemberCluster, status v1alpha1.MemberClusterStatus) error {
	last := meta.FindStatusCondition(member.Status.Conditions, v1alpha1.ConditionConnected)
	first := last == nil || last.Reason == v1alpha1.ReasonAwaitingAgent || isHold(last.Reason)
	vacated := member.Status.Identity != nil && status.Identity == nil
	if vacated || first && meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionConnected) {
		if err := DeleteToken(ctx, c.client, v1alpha1.ClusterName(member.Name)); err != nil {
			return err
		}
	}
	member.Status = status
	// The whole of it, and no patch, which is more work at both ends: with thousands of members the API does little else.
	if err := c.client.Status().Update(ctx, member); err != nil {
		return fmt.Errorf("writing the status of member %s: %w", member.Name, err)
	}
	return nil
}

// lifecycle sees to the finalizer: it is there as long as an agent may hold something of ours. gone says that it was
// taken off.
func (c *Controller) lifecycle(ctx context.Context, member *v1alpha1.MemberCluster, facts Facts) (gone bool, err error) {
	if member.DeletionTimestamp.IsZero() {
		if controllerutil.ContainsFinalizer(member, v1alpha1.Finalizer) {
			return false, nil
		}
		return false, c.patch(ctx, member, func() {
			controllerutil.AddFinalizer(member, v1alpha1.Finalizer)
			forgetManagers(member)
		})
	}
	if !controllerutil.ContainsFinalizer(member, v1alpha1.Finalizer) {
		return true, nil // others hold it; for us it is gone
	}
	_, forced := member.Annotations[ForceDetachAnnotation]
	if !facts.Detached && !forced && member.Status.Identity != nil && everAdmitted(member) {
		prune := member.Spec.DeletionPolicy == v1alpha1.DeletionPrune && !member.Spec.Observed() // nothing is deleted there
		c.registry.detach(v1alpha1.ClusterName(member.Name), &wire.Detach{Prune: prune})
		return false, nil
	}
	if err := DeleteToken(ctx, c.client, v1alpha1.ClusterName(member.Name)); err != nil {
		return false, err
	}
	return true, c.patch(ctx, member, func() { controllerutil.RemoveFinalizer(member, v1alpha1.Finalizer) })
}

// forgetManagers has the API server no longer note who set which field of the member: that is half of the object, and a third
// of what each write of a status costs (ADR 0023). Where somebody applies the object, it is noted on.
func forgetManagers(member *v1alpha1.MemberCluster) {
	applied := func(m metav1.ManagedFieldsEntry) bool { return m.Operation == metav1.ManagedFieldsOperationApply }
	if !slices.ContainsFunc(member.ManagedFields, applied) {
		member.ManagedFields = []metav1.ManagedFieldsEntry{{}} // an empty list would change nothing
	}
}

// revoke ends the session of a key that is not the pinned one any more, or of a member that is kept out. Its agent hears
// why when it dials again: nothing waits for it to listen.
func (c *Controller) revoke(member *v1alpha1.MemberCluster) {
	key, presence := c.registry.key(v1alpha1.ClusterName(member.Name))
	switch hold := Held(member); {
	case presence == nil:
	case Revoked(member, key):
		presence.End(fmt.Errorf("the key of member %s was revoked", member.Name))
	case hold != nil:
		presence.End(errors.New(hold.Message))
	case member.Status.Identity != nil && member.Status.Identity.KeyFingerprint != key:
		presence.End(fmt.Errorf("another key was pinned for member %s", member.Name))
	}
}

func (c *Controller) patch(ctx context.Context, member *v1alpha1.MemberCluster, change func()) error {
	before := member.DeepCopy()
	change()
	err := c.client.Patch(ctx, member, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if err != nil {
		return fmt.Errorf("changing the finalizers of member %s: %w", member.Name, err)
	}
	return nil
}

// DeleteToken deletes the join token of a member, if there is one.
func DeleteToken(ctx context.Context, c client.Client, member v1alpha1.ClusterName) error {
	token := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret(member)}}
	if err := client.IgnoreNotFound(c.Delete(ctx, token)); err != nil {
		return fmt.Errorf("deleting the join token of member %s: %w", member, err)
	}
	return nil
}
