package adopt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/origin"
	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/render"
)

// settled is for a Package that took the cluster over already, when a repository is named. Objects that stand in the Package itself
// give way to those of the repository, which have to be the same ones; a Package that is in Git has to be in this one.
func (m *move) settled(there *v1alpha1.Package, managed *origin.Managed) (*v1alpha1.Package, *origin.Managed, error) {
	want := there.DeepCopy()
	want.Spec.Source = v1alpha1.Source{Git: &v1alpha1.GitSource{URL: m.Git}}
	m.adjust(&want.Spec.Source)
	inline := there.Spec.Source.Inline
	if inline == nil {
		return there, managed, fits(there, want)
	}
	for _, object := range inline.Objects {
		raw, err := json.Marshal(object)
		if err != nil {
			return nil, nil, err
		}
		id, err := bundle.Identify(raw)
		if err != nil {
			return nil, nil, err
		}
		managed.Objects = append(managed.Objects, id.Key())
	}
	managed.Notes = append(managed.Notes, "its objects stand in the package until now (spec.source.inline): the repository takes their place")
	m.settles = there.Spec.Source.DeepCopy()
	return want, managed, nil
}

// alike sees to it that nothing changes on the other clusters of the Package either, which nobody asks: they have to get the very same
// objects from what makes them now.
func (m *move) alike(ctx context.Context, makes render.Maker) error {
	there, clusters, err := m.book.others(ctx, v1alpha1.ClusterName(m.Cluster))
	if err != nil || len(clusters) == 0 {
		return err
	}
	made, err := delivery.Kit{}.MakerOf(ctx, m.hub, there, nil) // its objects stand in it
	if err != nil {
		return err
	}
	before, err := m.entries(there, made, clusters)
	if err != nil {
		return err
	}
	after, err := m.entries(there, makes, clusters)
	if err != nil {
		return err
	}
	for _, cluster := range slices.Sorted(maps.Keys(before)) {
		changes, err := unlike(before[cluster], after[cluster])
		if err != nil {
			return err
		}
		if len(changes) > 0 {
			return fmt.Errorf("cluster %s holds package %s too, and would get other objects than stand in it: %s", cluster, m.book.key, some(changes))
		}
	}
	return nil
}

// entries are the objects for each cluster.
func (m *move) entries(pkg *v1alpha1.Package, makes render.Maker, clusters []v1alpha1.MemberCluster) (map[v1alpha1.ClusterName][]bundle.Entry, error) {
	contents, err := delivery.ContentsFor(pkg.Spec.Variants, makes, clusters)
	if err != nil {
		return nil, err
	}
	all := map[v1alpha1.ClusterName][]bundle.Entry{}
	for cluster := range contents.Without {
		all[cluster] = nil
	}
	for _, class := range contents.Classes {
		for _, cluster := range class.Clusters {
			all[cluster] = class.Entries
		}
	}
	return all, nil
}

// others returns the Package, and the other clusters that hold it or are to.
func (b book) others(ctx context.Context, but v1alpha1.ClusterName) (*v1alpha1.Package, []v1alpha1.MemberCluster, error) {
	pkg, placement, all := &v1alpha1.Package{}, &v1alpha1.Placement{}, &v1alpha1.MemberClusterList{}
	if err := b.hub.Get(ctx, b.key, pkg); err != nil {
		return nil, nil, err
	}
	at := kube.ObjectKey{Namespace: b.key.Namespace, Name: pkg.Spec.PlacementRef.Name}
	if err := b.hub.Get(ctx, at, placement); kube.IgnoreNotFound(err) != nil {
		return nil, nil, err
	}
	if err := b.hub.List(ctx, all); err != nil {
		return nil, nil, err
	}
	key := v1alpha1.KeyOf(b.key.Namespace, b.key.Name)
	others := slices.DeleteFunc(all.Items, func(c v1alpha1.MemberCluster) bool {
		name := v1alpha1.ClusterName(c.Name)
		holds := slices.ContainsFunc(c.Status.Packages, func(held v1alpha1.MemberPackage) bool { return held.Package == key })
		return name == but || !holds && !slices.Contains(placement.Status.Clusters, name)
	})
	return pkg, others, nil
}

// settle has the Package be rendered from a repository, in place of the objects that stood in it when the plan was made. One that
// was added since would be deleted everywhere.
func (b book) settle(ctx context.Context, was, from v1alpha1.Source) error {
	return b.change(ctx, func(pkg *v1alpha1.Package) error {
		if !equality.Semantic.DeepEqual(pkg.Spec.Source, was) {
			return fmt.Errorf("package %s: somebody changed its source meanwhile (spec.source); look at the plan again", b.key)
		}
		pkg.Spec.Source = from
		return nil
	})
}

// unlike names the objects that are not the same in both.
func unlike(before, after []bundle.Entry) ([]string, error) {
	read := func(entries []bundle.Entry) (map[bundle.Key][]byte, error) {
		all := map[bundle.Key][]byte{}
		for _, e := range entries {
			id, err := bundle.Identify(e.Object)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.File, err)
			}
			var object any
			if err := json.Unmarshal(e.Object, &object); err != nil {
				return nil, fmt.Errorf("%s: %w", e.File, err)
			}
			if all[id.Key()], err = json.Marshal(object); err != nil { // sorted, and without spaces
				return nil, err
			}
		}
		return all, nil
	}
	was, err := read(before)
	if err != nil {
		return nil, err
	}
	is, err := read(after)
	if err != nil {
		return nil, err
	}
	var names []string
	for key, object := range was {
		if !bytes.Equal(object, is[key]) {
			names = append(names, key.String())
		}
	}
	for key := range is {
		if was[key] == nil {
			names = append(names, key.String())
		}
	}
	slices.Sort(names)
	return names, nil
}
