package rollout

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/live"
)

// visit is one pass over a Package: what was read.
type visit struct {
	pkg      *v1alpha1.Package
	rollouts []v1alpha1.Rollout // of this Package, in the order of their numbers
	releases map[string]*v1alpha1.Release
	decided  bool
	members  []*v1alpha1.MemberCluster // that are selected, and do not leave
}

// observe reads what there is.
func (c *Controller) observe(ctx context.Context, pkg *v1alpha1.Package) (*visit, error) {
	v := &visit{pkg: pkg, releases: map[string]*v1alpha1.Release{}}
	mine := []client.ListOption{client.InNamespace(pkg.Namespace), client.MatchingFields{byPackage: pkg.Name}}
	var rollouts v1alpha1.RolloutList
	if err := c.client.List(ctx, &rollouts, mine...); err != nil {
		return nil, fmt.Errorf("listing the rollouts of package %s/%s: %w", pkg.Namespace, pkg.Name, err)
	}
	v.rollouts = slices.DeleteFunc(rollouts.Items, func(r v1alpha1.Rollout) bool { return !metav1.IsControlledBy(&r, pkg) })
	slices.SortFunc(v.rollouts, func(a, b v1alpha1.Rollout) int { return cmp.Compare(a.Spec.Number, b.Spec.Number) })
	var releases v1alpha1.ReleaseList
	if err := c.client.List(ctx, &releases, append(mine, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("listing the releases of package %s/%s: %w", pkg.Namespace, pkg.Name, err)
	}
	for i := range releases.Items {
		v.releases[releases.Items[i].Name] = &releases.Items[i]
	}
	return v, c.observeMembers(ctx, v)
}

func (c *Controller) observeMembers(ctx context.Context, v *visit) error {
	var placement v1alpha1.Placement
	at := client.ObjectKey{Namespace: v.pkg.Namespace, Name: v.pkg.Spec.PlacementRef.Name}
	err := c.client.Get(ctx, at, &placement, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading placement %s: %w", at, err)
	}
	if v.decided = decided(&placement); !v.decided {
		return nil
	}
	var members v1alpha1.MemberClusterList
	if err := c.client.List(ctx, &members, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing the clusters of placement %s: %w", at, err)
	}
	listed := make([]bool, len(placement.Status.Clusters))
	for i := range members.Items {
		m := &members.Items[i]
		at, selected := slices.BinarySearch(placement.Status.Clusters, v1alpha1.ClusterName(m.Name))
		if !selected {
			continue
		}
		listed[at] = true
		if m.DeletionTimestamp.IsZero() {
			v.members = append(v.members, m)
		}
	}
	for at, name := range placement.Status.Clusters { // by a list that was cut short a rollout would be complete that nobody has had
		if listed[at] {
			continue
		}
		if err := live.Gone(ctx, c.live, "MemberCluster", client.ObjectKey{Name: string(name)}); err != nil {
			return err
		}
	}
	return nil
}

// decided says whether there is a decision to go by: about this very spec, or the last one where this spec cannot be decided.
func decided(placement *v1alpha1.Placement) bool {
	c := meta.FindStatusCondition(placement.Status.Conditions, v1alpha1.ConditionDecided)
	if c == nil || c.ObservedGeneration != placement.Generation {
		return false
	}
	return c.Status == metav1.ConditionTrue && placement.Status.ObservedGeneration == placement.Generation ||
		c.Status == metav1.ConditionFalse && placement.Status.ObservedGeneration > 0
}

// newest returns the rollout that counts.
func (v *visit) newest() *v1alpha1.Rollout {
	if len(v.rollouts) == 0 {
		return nil
	}
	return &v.rollouts[len(v.rollouts)-1]
}

// widened says whether the current Release of the Package is this one with variants for more clusters.
func (v *visit) widened(release string) bool {
	was, current := v.releases[release], v.releases[v.pkg.Status.Release]
	return was != nil && current != nil && current.Spec.Widens(&was.Spec)
}

// target is the Release that clusters get of a rollout to it: with variants for more clusters, where there are. It is nil when it
// is not there.
func (v *visit) target(release string) *v1alpha1.Release {
	if v.widened(release) {
		return v.releases[v.pkg.Status.Release]
	}
	return v.releases[release]
}

// ahead returns what is known of each cluster as seen by a rollout, with those that would not take its release now.
func (c *Controller) ahead(ctx context.Context, v *visit, r *v1alpha1.Rollout) ([]Cluster, error) {
	clusters, target := c.clusters(v, r.Spec.Release), v.target(r.Spec.Release)
	if target == nil {
		return clusters, nil
	}
	waits, err := c.waits(ctx, v.pkg, r, target)
	if err != nil {
		return nil, fmt.Errorf("finding out who waits with release %s: %w", target.Name, err)
	}
	for i := range clusters {
		clusters[i].hold(v.members[i], waits[clusters[i].Name])
	}
	return clusters, nil
}

// hold has a cluster wait for what it is said to wait for, and for its level, where it would get something.
func (c *Cluster) hold(m *v1alpha1.MemberCluster, why string) {
	if m.Spec.Observed() && !c.Content {
		why = observed
	}
	if why != "" && !c.out() {
		c.State, c.Message = Blocked, why
	}
}

// observed is what a cluster waits for where nothing is written.
const observed = "it is observed, so that nothing is delivered there"

// clusters returns what is known of each of them, as seen by a rollout to a release.
func (c *Controller) clusters(v *visit, release string) []Cluster {
	target, widened := v.target(release), v.widened(release)
	key := v1alpha1.KeyOf(v.pkg.Namespace, v.pkg.Name)
	clusters := make([]Cluster, 0, len(v.members))
	for _, m := range v.members {
		digest := ""
		if target != nil {
			digest = c.digest(&target.Spec, m)
		}
		one := clusterOf(m, held(m, key), digest)
		if widened && one.Holds == v.pkg.Status.Release {
			one.Holds = release
		}
		clusters = append(clusters, one)
	}
	return clusters
}

// held is what a cluster says of a Package; nil when it says nothing.
func held(m *v1alpha1.MemberCluster, key v1alpha1.PackageKey) *v1alpha1.MemberPackage {
	at := slices.IndexFunc(m.Status.Packages, func(p v1alpha1.MemberPackage) bool { return p.Package == key })
	if at < 0 {
		return nil
	}
	return &m.Status.Packages[at]
}

// clusterOf says what is known of one cluster. digest is that of the content that the release has for it; empty when it has
// none.
func clusterOf(m *v1alpha1.MemberCluster, holds *v1alpha1.MemberPackage, digest string) Cluster {
	c := Cluster{Name: v1alpha1.ClusterName(m.Name), Labels: m.Labels, State: Absent}
	if holds != nil && holds.Phase != v1alpha1.PackageRemoving {
		c.Holds, c.Content = holds.Release, digest != "" && holds.Digest == digest
		c.State, c.Message = stateOf(holds)
	}
	switch {
	case !meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionConnected):
		c.State = Away
	case digest == "":
		c.State = Unfit
	}
	return c
}

func stateOf(holds *v1alpha1.MemberPackage) (State, string) {
	message := holds.Message
	if len(holds.Failures) > 0 {
		message = holds.Failures[0].Object + ": " + holds.Failures[0].Message
	}
	switch {
	case holds.Phase == v1alpha1.PackageFailed, holds.Phase == v1alpha1.PackageApplied && len(holds.Failures) > 0:
		return Failing, message
	case holds.Phase == v1alpha1.PackageApplied && holds.Healthy >= holds.Objects:
		return Well, ""
	}
	return Unwell, message
}

// answering is how long all gates of a rollout have to be answered: meanwhile nobody looks at others.
const answering = 10 * time.Second

// answers asks the gates that a rollout waits for.
func (c *Controller) answers(ctx context.Context, r *v1alpha1.Rollout) Answers {
	ctx, cancel := context.WithTimeout(ctx, answering)
	defer cancel()
	answers := Answers{}
	for _, q := range Asks(r) {
		if answers[q.Stage] == nil {
			answers[q.Stage] = map[string]Answer{}
		}
		answers[q.Stage][q.Gate.Name] = c.answer(ctx, q)
	}
	return answers
}

func (c *Controller) answer(ctx context.Context, q Question) Answer {
	if c.ask == nil {
		return Answer{Unknown: "this hub keeps no metrics; `umbel rollout promote` goes on without"}
	}
	holds, err := c.ask(ctx, q.Gate.Query, q.Clusters)
	if err != nil {
		return Answer{Unknown: err.Error()}
	}
	return Answer{Holds: holds}
}
