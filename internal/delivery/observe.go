package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// observe reads what there is: the Placement, the current Release, the clusters, and whose it is.
func (c *Controller) observe(ctx context.Context, v *visit) error {
	v.seen.Deleting = !v.pkg.DeletionTimestamp.IsZero()
	if err := c.observePlacement(ctx, v); err != nil {
		return err
	}
	if err := c.observeTeam(ctx, v); err != nil {
		return err
	}
	v.seen.Policy, v.seen.Rule = PolicyOf(&v.pkg.Spec, v.team), ruleOf(v.pkg.Spec.Source).digest
	if err := c.observeRelease(ctx, v); err != nil {
		return err
	}
	var err error
	v.members, err = membersOf(ctx, c.client, v)
	return err
}

func (c *Controller) observePlacement(ctx context.Context, v *visit) error {
	name := v.pkg.Spec.PlacementRef.Name
	var placement v1alpha1.Placement
	// Shared with the cache and only read: its list of clusters may be long, and many Packages refer to it.
	err := c.client.Get(ctx, client.ObjectKey{Namespace: v.pkg.Namespace, Name: name}, &placement, client.UnsafeDisableDeepCopy)
	placed := metav1.Condition{Type: v1alpha1.ConditionPlaced, Status: metav1.ConditionFalse}
	switch {
	case apierrors.IsNotFound(err):
		placed.Reason = v1alpha1.ReasonPlacementNotFound
		placed.Message = fmt.Sprintf("there is no placement %q in namespace %q (spec.placementRef.name); clusters keep what they hold", name, v.pkg.Namespace)
		v.set(placed)
		return nil
	case err != nil:
		return fmt.Errorf("reading placement %q of package %s: %w", name, v.key, err)
	}
	v.seen.Placement = &placement
	selected := len(placement.Status.Clusters)
	switch decisionOf(&placement) {
	case decided:
		placed.Status, placed.Reason = metav1.ConditionTrue, v1alpha1.ReasonPlaced
		placed.Message = fmt.Sprintf("placement %q selects %s", name, v1alpha1.Counted(selected, "cluster"))
		if selected == 0 {
			placed.Reason, placed.Message = v1alpha1.ReasonNoClusters, fmt.Sprintf("placement %q selects no cluster", name)
		}
	case standing, undecided:
		placed.Reason = v1alpha1.ReasonUndecided
		placed.Message = fmt.Sprintf("placement %q is not decided", name)
		if why := meta.FindStatusCondition(placement.Status.Conditions, v1alpha1.ConditionDecided); why != nil && why.Status == metav1.ConditionFalse {
			placed.Message += ": " + why.Message
		}
	}
	if from, restored := v.pkg.Annotations[v1alpha1.RestoredAnnotation]; restored {
		placed.Message += fmt.Sprintf("; it was restored from a backup of %s: no cluster prunes it because of that until `umbel restore --finish`", from)
	}
	v.set(placed)
	return nil
}

// observeRelease reads the Release that the status names. It may be younger than the cache.
func (c *Controller) observeRelease(ctx context.Context, v *visit) error {
	name := v.pkg.Status.Release
	if v.memo.release != nil {
		name = v.memo.release.Name // created here; the status may not have been written, or not be in the cache
	}
	if name == "" {
		return nil
	}
	var release v1alpha1.Release
	at := client.ObjectKey{Namespace: v.pkg.Namespace, Name: name}
	err := c.client.Get(ctx, at, &release, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		err = c.live.Get(ctx, at, &release)
	}
	if apierrors.IsNotFound(err) {
		v.memo.release, v.memo.tried, v.memo.verified = nil, attempt{}, ""
		return nil // somebody deleted it; rendering makes it again
	}
	if err != nil {
		return fmt.Errorf("reading release %q of package %s: %w", name, v.key, err)
	}
	if release.Spec.PackageRef.Name != v.pkg.Name {
		return nil
	}
	if !c.believes(v, &release) {
		v.memo.release, v.memo.tried, v.memo.verified = nil, attempt{}, ""
		return nil // rendering makes one, or says that this one is in its way
	}
	v.seen.Release = &release
	v.memo.release = &release
	v.pkg.Status.Release, v.pkg.Status.Revision = release.Name, release.Spec.Revision
	return nil
}

// pageOfClusters is how many clusters the API is asked for at once, past the cache.
const pageOfClusters = 500

// membersOf reads the clusters that have to do with the Package, as the cache has them.
func membersOf(ctx context.Context, from client.Reader, v *visit) ([]Member, error) {
	var list v1alpha1.MemberClusterList
	if err := from.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing clusters for package %s: %w", v.key, err)
	}
	return v.membersIn(nil, list.Items), nil
}

// membersPast reads them past the cache, in pages: they may be thousands, and each says what it holds.
func membersPast(ctx context.Context, from client.Reader, v *visit) (members []Member, err error) {
	var list v1alpha1.MemberClusterList
	for {
		if err := from.List(ctx, &list, client.Limit(pageOfClusters), client.Continue(list.Continue)); err != nil {
			return nil, fmt.Errorf("listing clusters for package %s: %w", v.key, err)
		}
		members = v.membersIn(members, list.Items)
		if list.Continue == "" {
			return members, nil
		}
		list.Items = nil // what was found in them is still used
	}
}

// membersIn adds those of some clusters that have to do with the Package.
func (v *visit) membersIn(members []Member, clusters []v1alpha1.MemberCluster) []Member {
	for i := range clusters {
		cluster := &clusters[i]
		holds := holding(cluster, v.key)
		if holds != nil || v.seen.Placement != nil && selects(v.seen.Placement, v1alpha1.ClusterName(cluster.Name)) {
			members = append(members, memberOf(cluster, holds)) // of a few of thousands
		}
	}
	return members
}

func memberOf(cluster *v1alpha1.MemberCluster, holds *v1alpha1.MemberPackage) Member {
	return Member{
		Cluster:   ClusterOf(cluster),
		Agent:     cluster.Status.AgentVersion,
		Features:  cluster.Status.AgentFeatures,
		Connected: meta.IsStatusConditionTrue(cluster.Status.Conditions, v1alpha1.ConditionConnected),
		Holds:     holds,
	}
}

// holding returns what a cluster says of a Package. Its list is in the order of the names.
func holding(cluster *v1alpha1.MemberCluster, key v1alpha1.PackageKey) *v1alpha1.MemberPackage {
	packages := cluster.Status.Packages
	byKey := func(p v1alpha1.MemberPackage, key v1alpha1.PackageKey) int {
		return strings.Compare(string(p.Package), string(key))
	}
	if i, found := slices.BinarySearchFunc(packages, key, byKey); found {
		return &packages[i]
	}
	// Not every writer may keep the order, and "it holds nothing" is not to be said by mistake.
	if i := slices.IndexFunc(packages, func(p v1alpha1.MemberPackage) bool { return p.Package == key }); i >= 0 {
		return &packages[i]
	}
	return nil
}

// selected returns the clusters that the last decision names and that are there.
func (v *visit) selected() []Cluster {
	var clusters []Cluster
	for _, member := range v.members {
		if v.seen.Placement != nil && selects(v.seen.Placement, member.Name) && !member.Leaving {
			clusters = append(clusters, member.Cluster)
		}
	}
	return clusters
}
