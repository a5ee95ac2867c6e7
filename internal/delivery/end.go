package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
)

// keepReleases is how many Releases of a Package are kept.
const keepReleases = 10

// retire deletes old Releases, and the content that none of the others refers to, after a new one was made.
func (c *Controller) retire(ctx context.Context, v *visit) error {
	current := v.seen.Release
	if current == nil || v.memo.retired == current.Name {
		return nil
	}
	if v.memo.rendering != nil {
		return nil // what it stores may be what an old Release has, and then it has to stay; its end is the occasion
	}
	var list v1alpha1.ReleaseList
	if err := c.client.List(ctx, &list, client.InNamespace(v.pkg.Namespace), client.MatchingFields{releaseByPackage: v.pkg.Name}); err != nil {
		return fmt.Errorf("listing the releases of package %s: %w", v.key, err)
	}
	needed, err := c.referred(ctx, v)
	if err != nil {
		return err
	}
	kept, old := split(list.Items, func(release string) bool { return release == current.Name || needed(release) })
	if err := c.drop(ctx, v, append(kept, *current), old); err != nil {
		return err
	}
	if err := c.retirePlans(ctx, v); err != nil {
		return err
	}
	v.memo.retired = current.Name
	return nil
}

// split cuts Releases, the newest first, after as many as are kept. One that is needed is never among the old.
func split(releases []v1alpha1.Release, needed func(release string) bool) (kept, old []v1alpha1.Release) {
	slices.SortFunc(releases, func(a, b v1alpha1.Release) int {
		if order := b.CreationTimestamp.Compare(a.CreationTimestamp.Time); order != 0 {
			return order
		}
		// Within a second the version tells: a Release is written once.
		order, err := resourceversion.CompareResourceVersion(b.ResourceVersion, a.ResourceVersion)
		if err != nil {
			return strings.Compare(a.Name, b.Name)
		}
		return order
	})
	for _, release := range releases {
		if len(kept) < keepReleases || needed(release.Name) {
			kept = append(kept, release)
			continue
		}
		old = append(old, release)
	}
	return kept, old
}

// drop deletes Releases first and then the content that only they referred to: the other way round, a Release could
// stand there without its content.
func (c *Controller) drop(ctx context.Context, v *visit, kept, old []v1alpha1.Release) error {
	used := map[string]bool{}
	for _, release := range kept {
		for _, variant := range release.Spec.Variants {
			used[variant.Digest] = true
		}
	}
	for i := range old {
		if err := client.IgnoreNotFound(c.client.Delete(ctx, &old[i])); err != nil {
			return fmt.Errorf("deleting release %s of package %s: %w", old[i].Name, v.key, err)
		}
		for _, variant := range old[i].Spec.Variants {
			if used[variant.Digest] {
				continue
			}
			used[variant.Digest] = true
			if err := c.content.Delete(ctx, old[i].Spec.Repository, variant.Digest); err != nil {
				return fmt.Errorf("deleting the content of release %s: %w", old[i].Name, err)
			}
		}
	}
	return nil
}

// wait lets a deleted Package go once no cluster may hold it, and says for whom it waits until then.
func (c *Controller) wait(ctx context.Context, v *visit) error {
	if !controllerutil.ContainsFinalizer(v.pkg, v1alpha1.Finalizer) {
		return nil
	}
	if condition, waits := decide.Deleting(v.members); waits {
		v.set(condition)
		return nil
	}
	// Past the cache. A cluster is told to hold a Package only once its status lists it, and none is told since this
	// Package was published as being deleted: whoever is not listed now never will be.
	members, err := membersPast(ctx, c.live, v)
	if err != nil {
		return err
	}
	if condition, waits := decide.Deleting(members); waits {
		v.set(condition) // the change of the cluster that is listed is the occasion for the next pass
		return nil
	}
	if c.renderings.under(v.key) {
		return nil // what it stores has to go as well; its end is the occasion for the next pass
	}
	if r := c.ended(v); r != nil { // no Release refers to what it stored
		for _, variant := range r.variants {
			if err := c.content.Delete(ctx, v.key.Repository(), variant.Digest); err != nil {
				return fmt.Errorf("deleting what was rendered of package %s: %w", v.key, err)
			}
		}
	}
	return c.letGo(ctx, v)
}

// letGo drops the Releases of a Package that nobody holds, and takes the finalizer off.
func (c *Controller) letGo(ctx context.Context, v *visit) error {
	// Past the cache: a Release that was made just now must not stay behind.
	var list v1alpha1.ReleaseList
	if err := c.live.List(ctx, &list, client.InNamespace(v.pkg.Namespace)); err != nil {
		return fmt.Errorf("listing the releases of package %s: %w", v.key, err)
	}
	own := slices.DeleteFunc(list.Items, func(r v1alpha1.Release) bool { return r.Spec.PackageRef.Name != v.pkg.Name })
	if err := c.drop(ctx, v, nil, own); err != nil {
		return err
	}
	base := client.MergeFromWithOptions(v.pkg.DeepCopy(), client.MergeFromWithOptimisticLock{})
	controllerutil.RemoveFinalizer(v.pkg, v1alpha1.Finalizer)
	status := v.pkg.Status.DeepCopy()
	if err := client.IgnoreNotFound(c.client.Patch(ctx, v.pkg, base)); err != nil {
		return fmt.Errorf("taking the finalizer off package %s: %w", v.key, err)
	}
	v.pkg.Status = *status
	return nil
}
