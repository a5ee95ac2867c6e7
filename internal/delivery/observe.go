package delivery

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
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
	v.seen.Policy, v.seen.Rule = decide.PolicyOf(&v.pkg.Spec, v.team), ruleOf(v.pkg.Spec.Source).digest
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
	switch {
	case err == nil:
		v.seen.Placement = &placement
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("reading placement %q of package %s: %w", name, v.key, err)
	}
	v.set(decide.Placed(v.pkg, v.seen.Placement))
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
func membersOf(ctx context.Context, from client.Reader, v *visit) ([]decide.Member, error) {
	var list v1alpha1.MemberClusterList
	if err := from.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing clusters for package %s: %w", v.key, err)
	}
	return v.seen.Concerned(list.Items, v.key), nil
}

// membersPast reads them past the cache, in pages: they may be thousands, and each says what it holds.
func membersPast(ctx context.Context, from client.Reader, v *visit) (members []decide.Member, err error) {
	var list v1alpha1.MemberClusterList
	for {
		if err := from.List(ctx, &list, client.Limit(pageOfClusters), client.Continue(list.Continue)); err != nil {
			return nil, fmt.Errorf("listing clusters for package %s: %w", v.key, err)
		}
		members = append(members, v.seen.Concerned(list.Items, v.key)...)
		if list.Continue == "" {
			return members, nil
		}
		list.Items = nil // what was found in them is still used
	}
}

// selected returns the clusters that the last decision names and that are there.
func (v *visit) selected() []decide.Cluster {
	var clusters []decide.Cluster
	for _, member := range v.members {
		if v.seen.Selects(member.Name) && !member.Leaving {
			clusters = append(clusters, member.Cluster)
		}
	}
	return clusters
}
