package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	// keepReleases is how many Releases of a Package are kept.
	keepReleases = 10
	// settle is how long a cluster may take to say for the first time that it holds a Package. A Package that is
	// deleted so soon after it was delivered waits for that long.
	settle = 10 * time.Second
)

// retire deletes old Releases, and the content that none of the others refers to, after a new one was made.
func (c *Controller) retire(ctx context.Context, v *visit) error {
	current := v.seen.Release
	if current == nil || v.memo.retired == current.Name {
		return nil
	}
	var list v1alpha1.ReleaseList
	if err := c.client.List(ctx, &list, client.InNamespace(v.pkg.Namespace), client.MatchingFields{releaseByPackage: v.pkg.Name}); err != nil {
		return fmt.Errorf("listing the releases of package %s: %w", v.key, err)
	}
	kept, old := split(list.Items, current.Name)
	if err := c.drop(ctx, v, append(kept, *current), old); err != nil {
		return err
	}
	v.memo.retired = current.Name
	return nil
}

// split cuts Releases, the newest first, after as many as are kept. The current one is never among the old.
func split(releases []v1alpha1.Release, current string) (kept, old []v1alpha1.Release) {
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
		if len(kept) < keepReleases || release.Name == current {
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

// wait lets a deleted Package go once no cluster says that it holds it, and says on whom it waits until then.
func (c *Controller) wait(ctx context.Context, v *visit) error {
	if !controllerutil.ContainsFinalizer(v.pkg, v1alpha1.Finalizer) {
		return nil
	}
	holding, offline, silent := v.holders()
	if v.memo.silent == nil {
		v.memo.silent = silent // an empty list, but never nil again
	}
	grace := v.pkg.DeletionTimestamp.Add(settle).Sub(c.now())
	if len(v.memo.silent) == 0 {
		grace = 0
	}
	if len(holding) > 0 || grace > 0 {
		deleting := metav1.Condition{
			Type: v1alpha1.ConditionDelivered, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDeleting,
			Message: "clusters are removing what they hold",
		}
		if len(holding) > 0 {
			deleting.Message += ": " + names(holding)
		}
		if len(offline) > 0 {
			deleting.Message += "; waiting for clusters that are not connected: " + names(offline)
		}
		v.set(deleting)
		if len(holding) == 0 {
			v.again(grace)
		}
		return nil
	}
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

// holders returns the clusters that say that they hold the Package, those of them that are not connected, and the
// connected ones that were given it and say nothing of it.
func (v *visit) holders() (holding, offline, silent []v1alpha1.ClusterName) {
	silent = []v1alpha1.ClusterName{}
	given := Seen{Placement: v.seen.Placement, Release: v.seen.Release}
	for _, member := range v.members {
		if member.Holds != nil {
			holding = append(holding, member.Name)
			if !member.Connected {
				offline = append(offline, member.Name)
			}
			continue
		}
		if action, _ := Assign(given, member.Cluster); action == Deliver && member.Connected {
			silent = append(silent, member.Name)
		}
	}
	slices.Sort(holding)
	slices.Sort(offline)
	return holding, offline, silent
}
