package plan

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// holding is what clusters hold of a package, by the release that they have of it.
type holding struct{ entries []bundle.Entry }

// holding reads what the clusters hold of the package, which tells whose fields its agents take back. What cannot be read is said, and
// left out: of such a cluster it is taken for granted that the agent takes back what others have of its objects.
func (o *Options) holding(ctx context.Context, hub *client.Hub, key v1alpha1.PackageKey, selected []v1alpha1.MemberCluster) (map[v1alpha1.ClusterName]*holding, error) {
	nothing := &holding{}
	holds, known := map[v1alpha1.ClusterName]*holding{}, map[string]*holding{}
	var read reader
	var unread []v1alpha1.ClusterName
	var why error
	for i := range selected {
		name := v1alpha1.ClusterName(selected[i].Name)
		at := slices.IndexFunc(selected[i].Status.Packages, func(p v1alpha1.MemberPackage) bool { return p.Package == key })
		if at < 0 {
			holds[name] = nothing
			continue
		}
		has := selected[i].Status.Packages[at]
		if has.Phase != v1alpha1.PackageApplied {
			continue // it names the release that it works on, and what was applied of that, or of the one before, is not known
		}
		one, asked := known[has.Digest]
		if !asked {
			var err error
			if read == nil {
				read, err = o.shelf(ctx, hub)
			}
			if err == nil {
				one, err = held(ctx, hub, key, has, read)
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			why = cmp.Or(why, err)
			known[has.Digest] = one
		}
		if one == nil {
			unread = append(unread, name)
			continue
		}
		holds[name] = one
	}
	if len(unread) > 0 {
		fmt.Fprintf(o.Err, "What %s (%s) cannot be read, so fields that others have by now are shown as taken back: %v\n",
			clusters(len(unread))+" "+v1alpha1.Agreeing(len(unread), "holds", "hold"), names(unread), why)
	}
	return holds, nil
}

// reader reads a content of a Release from the hub.
type reader = func(context.Context, *v1alpha1.Release, *v1alpha1.Variant) ([]byte, error)

// held reads the content that a cluster has of a package.
func held(ctx context.Context, hub *client.Hub, key v1alpha1.PackageKey, has v1alpha1.MemberPackage, read reader) (*holding, error) {
	namespace, _ := key.Split()
	release := &v1alpha1.Release{}
	if err := hub.Get(ctx, kube.ObjectKey{Namespace: namespace, Name: has.Release}, release); err != nil {
		return nil, err
	}
	at := slices.IndexFunc(release.Spec.Variants, func(v v1alpha1.Variant) bool { return v.Digest == has.Digest })
	if at < 0 {
		return nil, fmt.Errorf("release %s has no content %s", has.Release, has.Digest)
	}
	entries, err := delivery.EntriesOf(&release.Spec.Variants[at], func(v *v1alpha1.Variant) ([]byte, error) { return read(ctx, release, v) })
	if err != nil {
		return nil, fmt.Errorf("reading the content of release %s: %w", has.Release, err)
	}
	return &holding{entries}, nil
}
