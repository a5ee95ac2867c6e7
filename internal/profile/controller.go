package profile

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	inventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"umbel.dev/umbel/api/v1alpha1"
)

// +kubebuilder:rbac:groups=umbel.dev,resources=memberclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=multicluster.x-k8s.io,resources=clusterprofiles,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups=multicluster.x-k8s.io,resources=clusterprofiles/status,verbs=get;update
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Controller keeps the ClusterProfiles.
type Controller struct {
	client client.Client // members from the manager's cache; writes
	live   client.Reader // asks the API
	own    cache.Cache   // our profiles, and how the hub is reached
	events events.EventRecorder
}

// Setup adds the controller to the manager, whose scheme has to know ClusterProfiles. The API has to serve them.
func Setup(mgr ctrl.Manager) error {
	own, err := newCache(mgr)
	if err != nil {
		return err
	}
	c := &Controller{
		client: mgr.GetClient(), live: mgr.GetAPIReader(), own: own, events: mgr.GetEventRecorder("umbel-profile"),
	}
	profiles := handler.TypedEnqueueRequestsFromMapFunc(func(_ context.Context, p *inventory.ClusterProfile) []ctrl.Request {
		return []ctrl.Request{request(p.Name)}
	})
	door := handler.TypedEnqueueRequestsFromMapFunc(func(ctx context.Context, _ *corev1.ConfigMap) []ctrl.Request { return c.all(ctx) })
	err = ctrl.NewControllerManagedBy(mgr).
		Named("profile").
		For(&v1alpha1.MemberCluster{}, builder.WithPredicates(shows())).
		WatchesRawSource(source.Kind(own, &inventory.ClusterProfile{}, profiles)).
		WatchesRawSource(source.Kind(own, &corev1.ConfigMap{}, door)).
		Complete(c)
	if err != nil {
		return fmt.Errorf("setting up the profile controller: %w", err)
	}
	return nil
}

// Reconcile brings the ClusterProfile of one member up to date.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	profile, err := c.profile(ctx, req.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	var member v1alpha1.MemberCluster
	err = c.client.Get(ctx, req.NamespacedName, &member, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		return ctrl.Result{}, c.drop(ctx, req.Name, profile)
	}
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading MemberCluster %q: %w", req.Name, err)
	}
	door, err := c.door(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	err = c.write(ctx, &member, profile, Plan(&member, door, profile))
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return ctrl.Result{}, nil // the newer version is on its way through the watch
	}
	return ctrl.Result{}, err
}

// profile returns our ClusterProfile of a name, or nil when there is none.
func (c *Controller) profile(ctx context.Context, name string) (*inventory.ClusterProfile, error) {
	var profile inventory.ClusterProfile
	err := c.own.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: name}, &profile)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ClusterProfile %s/%s: %w", v1alpha1.SystemNamespace, name, err)
	}
	return &profile, nil
}

// door reads how the hub is reached. What is not announced yet is not known.
func (c *Controller) door(ctx context.Context) (Door, error) {
	var info corev1.ConfigMap
	err := c.own.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}, &info)
	if client.IgnoreNotFound(err) != nil {
		return Door{}, fmt.Errorf("reading how the hub is reached: %w", err)
	}
	return Door{Address: info.Data[v1alpha1.HubInfoAddress], CA: info.Data[v1alpha1.HubInfoCA]}, nil
}

// write makes the profile as it should be: the object first, then its status, each when it differs.
func (c *Controller) write(ctx context.Context, member *v1alpha1.MemberCluster, before, after *inventory.ClusterProfile) error {
	status := after.Status
	switch {
	case before == nil:
		err := c.client.Create(ctx, after)
		if apierrors.IsAlreadyExists(err) {
			return c.taken(ctx, member)
		}
		if err != nil {
			return fmt.Errorf("creating ClusterProfile %s/%s: %w", after.Namespace, after.Name, err)
		}
	case !equality.Semantic.DeepEqual(before.ObjectMeta, after.ObjectMeta) || before.Spec != after.Spec:
		if err := c.client.Update(ctx, after); err != nil {
			return fmt.Errorf("writing ClusterProfile %s/%s: %w", after.Namespace, after.Name, err)
		}
	}
	if before != nil && equality.Semantic.DeepEqual(before.Status, status) {
		return nil
	}
	after.Status = status
	if err := c.client.Status().Update(ctx, after); err != nil {
		return fmt.Errorf("writing the status of ClusterProfile %s/%s: %w", after.Namespace, after.Name, err)
	}
	return nil
}

// taken looks at a ClusterProfile that is there and that our cache does not have: it is somebody else's, or a new one of ours.
func (c *Controller) taken(ctx context.Context, member *v1alpha1.MemberCluster) error {
	var other inventory.ClusterProfile
	err := c.live.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: member.Name}, &other)
	if err != nil || other.Labels[inventory.LabelClusterManagerKey] == Manager {
		return client.IgnoreNotFound(err) // its event is on its way
	}
	c.events.Eventf(member, nil, corev1.EventTypeWarning, "ProfileTaken", "Project",
		"The ClusterProfile %s/%s is somebody else's (its label %s is %q), so it does not show this member: rename or delete it",
		other.Namespace, other.Name, inventory.LabelClusterManagerKey, other.Labels[inventory.LabelClusterManagerKey])
	return nil
}

// drop deletes the profile of a member that is gone. The API is asked before: a cache that is behind is not a reason.
func (c *Controller) drop(ctx context.Context, name string, profile *inventory.ClusterProfile) error {
	if profile == nil || !profile.DeletionTimestamp.IsZero() {
		return nil
	}
	err := c.live.Get(ctx, client.ObjectKey{Name: name}, &v1alpha1.MemberCluster{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	only := client.Preconditions{UID: &profile.UID}
	if err := client.IgnoreNotFound(c.client.Delete(ctx, profile, only)); err != nil {
		return fmt.Errorf("deleting the ClusterProfile of member %q, which is gone: %w", name, err)
	}
	return nil
}

// all asks for every member.
func (c *Controller) all(ctx context.Context) []ctrl.Request {
	var members v1alpha1.MemberClusterList
	if err := c.client.List(ctx, &members, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing the members whose profiles say how the hub is reached")
		return nil
	}
	requests := make([]ctrl.Request, len(members.Items))
	for i := range members.Items {
		requests[i] = request(members.Items[i].Name)
	}
	return requests
}

func request(member string) ctrl.Request {
	return ctrl.Request{NamespacedName: client.ObjectKey{Name: member}}
}
