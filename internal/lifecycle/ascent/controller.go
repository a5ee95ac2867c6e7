package ascent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	// again is when a cluster is looked at once more that could not be asked, or was refused.
	again = 5 * time.Second
	// askTime is how long a cluster's API may take to say which deprecated APIs are in use.
	askTime = 20 * time.Second
)

// Metrics returns what the API servers of a Cluster count, in the text format of Prometheus, each for itself: of so many members of its
// control plane as could be found, and an error when one of these could not be asked.
type Metrics func(ctx context.Context, cluster client.ObjectKey, planes int64) ([]string, error)

// controller has Clusters upgraded as Rollouts say, and tells the fleet how far they are.
type controller struct {
	client  client.Client
	metrics Metrics
	events  events.EventRecorder
}

// Setup adds the controller to a manager on whose API there is Cluster API, and whose client reads Secrets from the API. metrics may be
// nil: then the Secret with a kubeconfig that every provider of a control plane keeps says how a cluster is reached.
func Setup(m ctrl.Manager, metrics Metrics) error {
	c := &controller{client: m.GetClient(), metrics: metrics, events: m.GetEventRecorder("umbel-ascent")}
	if metrics == nil {
		c.metrics = func(ctx context.Context, cluster client.ObjectKey, planes int64) ([]string, error) {
			return AskAll(ctx, c.client, cluster, planes)
		}
	}
	cluster, deployment, class := &unstructured.Unstructured{}, &unstructured.Unstructured{}, &unstructured.Unstructured{}
	cluster.SetGroupVersionKind(kind("Cluster"))
	deployment.SetGroupVersionKind(kind("MachineDeployment"))
	class.SetGroupVersionKind(kind("ClusterClass"))
	err := ctrl.NewControllerManagedBy(m).Named("ascent").For(cluster).
		Watches(deployment, handler.EnqueueRequestsFromMapFunc(ofPool)).
		Watches(class, handler.EnqueueRequestsFromMapFunc(c.ofClass)).
		Watches(&v1alpha1.MemberCluster{}, handler.EnqueueRequestsFromMapFunc(ofMember), builder.WithPredicates(predicate.Funcs{UpdateFunc: concerns})).
		Watches(&v1alpha1.Rollout{}, handler.EnqueueRequestsFromMapFunc(c.ofRollout)).
		Complete(c)
	if err != nil {
		return fmt.Errorf("setting up what upgrades clusters: %w", err)
	}
	return nil
}

func ofPool(_ context.Context, deployment client.Object) []reconcile.Request {
	name := deployment.GetLabels()["cluster.x-k8s.io/cluster-name"]
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: deployment.GetNamespace(), Name: name}}}
}

func ofMember(_ context.Context, member client.Object) []reconcile.Request {
	namespace, name, ok := v1alpha1.SplitManaged(member.GetAnnotations()[v1alpha1.ManagedAnnotation])
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: namespace, Name: name}}}
}

// concerns says whether a change of a member is one of what is written here, or of whether it is a Cluster.
func concerns(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*v1alpha1.MemberCluster)
	after, too := e.ObjectNew.(*v1alpha1.MemberCluster)
	return ok && too && (before.Annotations[v1alpha1.ManagedAnnotation] != after.Annotations[v1alpha1.ManagedAnnotation] ||
		!equality.Semantic.DeepEqual(before.Status.Lifecycle, after.Status.Lifecycle))
}

// ofClass returns the Clusters of a class.
func (c *controller) ofClass(ctx context.Context, class client.Object) []reconcile.Request {
	return c.clusters(ctx, func(cluster *unstructured.Unstructured) bool {
		return classOf(cluster) == client.ObjectKeyFromObject(class)
	})
}

// ofRollout returns the Clusters that a Rollout would have at another version.
func (c *controller) ofRollout(ctx context.Context, object client.Object) []reconcile.Request {
	r, ok := object.(*v1alpha1.Rollout)
	if !ok || r.Spec.Kubernetes == nil {
		return nil
	}
	orders := r.Orders()
	return c.clusters(ctx, func(cluster *unstructured.Unstructured) bool {
		told := orders.For(v1alpha1.ClusterName(cluster.GetName()))
		return told != "" && told != text(cluster, "spec", "topology", "version")
	}, client.InNamespace(r.Namespace))
}

// clusters returns those of the Clusters that are meant.
func (c *controller) clusters(ctx context.Context, meant func(*unstructured.Unstructured) bool, in ...client.ListOption) []reconcile.Request {
	all := &unstructured.UnstructuredList{}
	all.SetGroupVersionKind(kind("ClusterList"))
	if err := c.client.List(ctx, all, append(in, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil // the cache is being stopped
	}
	var requests []reconcile.Request
	for i := range all.Items {
		if meant(&all.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
	return requests
}

// Reconcile has a Cluster upgraded when its turn has come, and says how far it is.
func (c *controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	cluster := &unstructured.Unstructured{}
	cluster.SetGroupVersionKind(kind("Cluster"))
	if err := c.client.Get(ctx, req.NamespacedName, cluster); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	member := &v1alpha1.MemberCluster{}
	err := c.client.Get(ctx, client.ObjectKey{Name: cluster.GetName()}, member)
	if err != nil || member.Annotations[v1alpha1.ManagedAnnotation] != req.String() || cluster.GetDeletionTimestamp() != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	ground, err := Survey(ctx, c.client, cluster)
	if err != nil {
		return ctrl.Result{}, err
	}
	state, after, err := c.climb(ctx, ground)
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: time.Second}, nil // somebody else wrote it meanwhile
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: after}, c.say(ctx, member, state)
}

// climb takes the step that is due, and returns how far the cluster is and when to look again.
func (c *controller) climb(ctx context.Context, g Ground) (v1alpha1.MemberLifecycle, time.Duration, error) {
	state := Observe(g)
	var rollouts v1alpha1.RolloutList
	if err := c.client.List(ctx, &rollouts, client.InNamespace(g.Cluster.GetNamespace())); err != nil {
		return state, 0, fmt.Errorf("listing the rollouts of namespace %s: %w", g.Cluster.GetNamespace(), err)
	}
	r := Ordered(v1alpha1.ClusterName(g.Cluster.GetName()), state.Version, rollouts.Items)
	if r == nil {
		return state, 0, nil
	}
	if state.Phase != v1alpha1.LifecycleReady { // a watch tells when it is
		state.Message = fmt.Sprintf("it is brought to %s when it is at work: %s", r.Spec.Release, state.Message)
		return state, 0, nil
	}
	step, err := Plan(Wish{Version: r.Spec.Release}, g)
	if err == nil {
		err = c.allowed(ctx, g, step, r.Spec.Kubernetes.RemovedAPIs)
	}
	if unasked, ok := errors.AsType[*unaskedError](err); ok {
		state.Phase, state.Message = v1alpha1.LifecycleWorking, unasked.Error()
		return state, again, nil
	}
	if err != nil {
		state.Refused, state.Message = r.Spec.Release, strings.ReplaceAll(err.Error(), "\n", "; and ")
		return state, again, nil
	}
	return c.write(ctx, g, step, r)
}

// write writes the version that a Cluster is to have.
func (c *controller) write(ctx context.Context, g Ground, step Climb, r *v1alpha1.Rollout) (v1alpha1.MemberLifecycle, time.Duration, error) {
	ordered, err := step.Order(g.Cluster)
	if err != nil {
		return v1alpha1.MemberLifecycle{}, 0, err
	}
	err = c.client.Patch(ctx, ordered, client.MergeFromWithOptions(g.Cluster, client.MergeFromWithOptimisticLock{}))
	switch {
	case apierrors.IsInvalid(err) || apierrors.IsForbidden(err): // Cluster API, or a policy, has its reasons
		state := Observe(g)
		state.Refused, state.Message = step.To, err.Error()
		return state, again, nil
	case err != nil:
		return v1alpha1.MemberLifecycle{}, 0, fmt.Errorf("writing version %s of cluster %s: %w", step.To, g.Cluster.GetName(), err)
	}
	c.events.Eventf(ordered, r, corev1.EventTypeNormal, "Upgrading", "Upgrade", "Began to bring it from %s to %s, as rollout %s says", step.From, step.To, r.Name)
	return Observe(Ground{Cluster: ordered, Class: g.Class, Pools: g.Pools}), 0, nil
}

// unaskedError says that not all API servers of a cluster could be asked.
type unaskedError struct {
	to  string
	err error
}

func (e *unaskedError) Error() string {
	return fmt.Sprintf("it is brought to %s when all its API servers can be asked which deprecated APIs are in use: %v", e.to, e.err)
}

// allowed says why APIs that are in use forbid a step. Within a minor nothing is taken away.
func (c *controller) allowed(ctx context.Context, g Ground, step Climb, removed v1alpha1.RemovedAPIs) error {
	if removed == v1alpha1.RemovedIgnore || step.withinMinor() {
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	metrics, err := c.metrics(asking, client.ObjectKeyFromObject(g.Cluster), step.Planes)
	if found := int64(len(metrics)); err == nil && found < step.Planes {
		err = fmt.Errorf("it knows of %d of the %d", found, step.Planes)
	}
	if err != nil {
		return &unaskedError{step.To, err}
	}
	return step.Barred(DeprecatedIn(metrics...), step.Planes)
}

// say writes how far the cluster of a member is, when that is news. Whatever else writes that status writes the rest of it.
func (c *controller) say(ctx context.Context, member *v1alpha1.MemberCluster, state v1alpha1.MemberLifecycle) error {
	if equality.Semantic.DeepEqual(member.Status.Lifecycle, &state) {
		return nil
	}
	before := member.DeepCopy()
	member.Status.Lifecycle = &state
	if err := c.client.Status().Patch(ctx, member, client.MergeFrom(before)); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("saying how far the Kubernetes of cluster %s is: %w", member.Name, err))
	}
	return nil
}
