package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/version"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/live"
)

// kubernetes carries out the Rollouts about Kubernetes. Each stands for itself: there is no chain, since a later version goes on from
// where an earlier one ended, and none goes back.
type kubernetes struct{ *Controller }

// Reconcile does what is due in one Rollout.
func (k *kubernetes) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var r v1alpha1.Rollout
	if err := k.client.Get(ctx, req.NamespacedName, &r); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if r.Spec.Kubernetes == nil || !r.DeletionTimestamp.IsZero() || over(&r.Status) {
		return ctrl.Result{}, nil
	}
	members, err := k.members(ctx, &r)
	if err != nil {
		return ctrl.Result{}, err
	}
	status, news, again := k.next(ctx, &r, members)
	err = k.write(ctx, &r, status, news)
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: gather}, nil // the cache is behind
	}
	return ctrl.Result{RequeueAfter: again}, err
}

// members lists the fleet. A Rollout begins with what the API itself says, since those that it does not see then have no place in it, and
// it might be complete at once; later a list that lacks one of its clusters is believed when the API says that it is gone.
func (k *kubernetes) members(ctx context.Context, r *v1alpha1.Rollout) ([]v1alpha1.MemberCluster, error) {
	var reader client.Reader = k.client
	if r.Status.Phase == "" {
		reader = k.live
	}
	var list v1alpha1.MemberClusterList
	if err := reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the clusters of rollout %s/%s: %w", r.Namespace, r.Name, err)
	}
	listed := make(map[v1alpha1.ClusterName]bool, len(list.Items))
	for i := range list.Items {
		listed[v1alpha1.ClusterName(list.Items[i].Name)] = true
	}
	for i := range r.Status.Stages {
		stage := &r.Status.Stages[i]
		for _, name := range slices.Concat(stage.Waiting, stage.Moved) {
			if listed[name] {
				continue
			}
			if err := live.Gone(ctx, k.live, "MemberCluster", client.ObjectKey{Name: string(name)}); err != nil {
				return nil, err
			}
		}
	}
	return list.Items, nil
}

// next says what a Rollout is to say now.
func (k *kubernetes) next(ctx context.Context, r *v1alpha1.Rollout, members []v1alpha1.MemberCluster) (v1alpha1.RolloutStatus, []News, time.Duration) {
	now := k.now()
	clusters, err := KubernetesOf(r, members)
	if err != nil {
		return invalid(r, err, metav1.NewTime(now.Truncate(time.Second))), []News{{"Invalid", err.Error()}}, 0
	}
	if restored(r) {
		p := newPass(r, Seen{Clusters: clusters}, now)
		p.end(v1alpha1.RolloutAborted, v1alpha1.ReasonAborted, "it came out of a backup, and says how things were at another time: begin another one")
		p.explain()
		return p.status, p.news, 0
	}
	if r.Status.Phase == "" {
		status, err := Begin(r, clusters, func(v1alpha1.ClusterName) string { return "" }, now)
		if err != nil {
			return invalid(r, err, metav1.NewTime(now.Truncate(time.Second))), []News{{"Invalid", err.Error()}}, 0
		}
		return status, []News{{"Began", fmt.Sprintf("Began to bring %s to Kubernetes %s", many(int(status.Clusters)), r.Spec.Release)}}, 0
	}
	decision := Next(r, Seen{Clusters: clusters, Decided: true, Answers: k.answers(ctx, r)}, now)
	return decision.Status, decision.News, decision.Again
}

// KubernetesOf returns what a Rollout about Kubernetes sees of the members of the fleet: those that it selects, and that are not past
// its version.
func KubernetesOf(r *v1alpha1.Rollout, members []v1alpha1.MemberCluster) ([]Cluster, error) {
	selector, err := selectorOf(r)
	if err != nil {
		return nil, err
	}
	to, err := version.ParseGeneric(r.Spec.Release)
	if err != nil {
		return nil, fmt.Errorf("rollout %s: spec.release: %w", r.Name, err)
	}
	var clusters []Cluster
	orders := r.Orders()
	for i := range members {
		m := &members[i]
		if !selects(r, selector, m) {
			continue
		}
		c := Cluster{Name: v1alpha1.ClusterName(m.Name), Labels: m.Labels}
		if m.Status.Lifecycle != nil {
			c.Holds = m.Status.Lifecycle.Version
			if has, err := version.ParseGeneric(c.Holds); err == nil && to.LessThan(has) {
				continue
			}
		}
		c.judge(m, r, orders.For(c.Name) != "")
		clusters = append(clusters, c)
	}
	return clusters, nil
}

// Selects says whether a Rollout about Kubernetes is about a member of the fleet.
func Selects(r *v1alpha1.Rollout, m *v1alpha1.MemberCluster) (bool, error) {
	selector, err := selectorOf(r)
	return err == nil && selects(r, selector, m), err
}

func selectorOf(r *v1alpha1.Rollout) (labels.Selector, error) {
	selector, err := metav1.LabelSelectorAsSelector(&r.Spec.Kubernetes.ClusterSelector)
	if err != nil {
		return nil, fmt.Errorf("rollout %s: spec.kubernetes.clusterSelector: %w", r.Name, err)
	}
	return selector, nil
}

func selects(r *v1alpha1.Rollout, selector labels.Selector, m *v1alpha1.MemberCluster) bool {
	namespace, _, managed := v1alpha1.SplitManaged(m.Annotations[v1alpha1.ManagedAnnotation])
	return managed && namespace == r.Namespace && m.DeletionTimestamp.IsZero() && selector.Matches(labels.Set(m.Labels))
}

// judge says in which state a cluster is. One that is under way to the version and not connected is not away: it was the upgrade that
// had its agent go, for all that is known, and it has to come back.
func (c *Cluster) judge(m *v1alpha1.MemberCluster, r *v1alpha1.Rollout, moved bool) {
	is, there := m.Status.Lifecycle, connected(m)
	underway := slices.ContainsFunc(r.Status.Moving, func(group v1alpha1.MovingClusters) bool { return slices.Contains(group.Clusters, c.Name) })
	switch {
	case !there && !underway:
		c.State = Away
	case m.Spec.Observed() && !moved:
		c.State, c.Message = Blocked, "it is observed, so that nothing of it is changed"
	case is == nil:
		c.State, c.Message = Blocked, "what makes it has not said how far its Kubernetes is: `umbel provider list` shows whether that runs"
	case moved && is.Refused == r.Spec.Release:
		c.State, c.Holds, c.Message = Failing, r.Spec.Release, is.Message
	case is.Version == r.Spec.Release && is.Phase == v1alpha1.LifecycleReady && there:
		c.State, c.Content = Well, true
	case moved:
		c.State, c.Message = Unwell, is.Message
		if c.Message == "" && is.Version == r.Spec.Release {
			c.Message = "its agent has not come back since it was upgraded"
		}
	case is.Phase != v1alpha1.LifecycleReady:
		c.State, c.Message = Blocked, "it is not at work as it is: "+is.Message
	default:
		c.State = Well
		if c.Message = barrier(is, r.Spec.Release); c.Message != "" {
			c.State = Blocked
		}
	}
}

// barrier says why a cluster cannot be brought to a version now; empty when it can.
func barrier(is *v1alpha1.MemberLifecycle, to string) string {
	if slices.ContainsFunc(is.Next, func(next string) bool { return to == next || strings.HasPrefix(to, next+".") }) {
		return ""
	}
	now, err := version.ParseGeneric(is.Version)
	next, errNext := version.ParseGeneric(to)
	if err == nil && errNext == nil && (next.Major() != now.Major() || next.Minor() > now.Minor()+1) {
		return fmt.Sprintf("it has %s, and %s is more than one minor away: it follows once it has %d.%d", is.Version, to, now.Major(), next.Minor()-1)
	}
	if len(is.Next) == 0 {
		return fmt.Sprintf("it has %s, and its class has no later version for it", is.Version)
	}
	return fmt.Sprintf("it has %s, and its class has only %s for it", is.Version, strings.Join(is.Next, ", "))
}
