package delivery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/decide"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/variable"
)

// Contents is what clusters would get of a revision.
type Contents struct {
	// Classes of clusters, each with its content.
	Classes []ClassContent
	// Without says, of clusters for which there is no content, why.
	Without map[v1alpha1.ClusterName]string
}

// ClassContent is the objects for a class of clusters.
type ClassContent struct {
	decide.Class
	Entries []bundle.Entry
	// Digest is what the hub stores it by; empty for one that was rendered here.
	Digest string
}

// here renders in this process, and keeps nothing.
type here struct{}

func (here) Folder(files fs.FS, folder string, remote ...render.Base) render.Maker {
	return render.Folder(files, folder, remote...)
}

func (here) Chart(files fs.FS, folder string, options render.ChartOptions) render.Maker {
	return render.Chart(files, folder, options)
}

// Kit is what it takes to render somewhere else than in a hub.
type Kit struct {
	// Workers render. Without them it is done in this process.
	Workers *render.Workers
	// Dir is a folder for what is fetched of remote bases.
	Dir string
}

// MakerOf is what renders a Package as it is given. Its files are the root of its source, whatever they are and wherever they come
// from: nothing is fetched of it. The values that a chart has from the hub are read there, and remote bases are fetched as by Fetch.
func (k Kit) MakerOf(ctx context.Context, hub client.Reader, pkg *v1alpha1.Package, files fs.FS) (render.Maker, error) {
	if inline := pkg.Spec.Source.Inline; inline != nil {
		return render.Inline(manifests(inline)), nil
	}
	options, err := chartOptions(ctx, hub, pkg)
	if err != nil {
		return nil, err
	}
	files, remote, err := k.beside(ctx, hub, pkg, files)
	if err != nil {
		return nil, err
	}
	if k.Workers == nil {
		return makerOf(here{}, files, pkg, made{options, remote})
	}
	return makerOf(k.Workers, files, pkg, made{options, remote})
}

// beside fetches the remote bases of a Package, and shows them beside its files.
func (k Kit) beside(ctx context.Context, hub client.Reader, pkg *v1alpha1.Package, files fs.FS) (fs.FS, []render.Base, error) {
	listed := basesOf(pkg)
	trees, pins := map[source.Ref]fs.FS{}, make([]v1alpha1.ReleasedBase, len(listed))
	for i, b := range listed {
		tree, commit, err := fetch(ctx, hub, b.ref, k.Dir)
		if err != nil {
			return nil, nil, b.fails(err)
		}
		trees[b.ref], pins[i] = tree, b.pin(commit)
	}
	return beside(files, listed, pins, func(ref source.Ref, _ string) (fs.FS, error) { return trees[ref], nil })
}

// Fetch fetches the source of a Package into a folder of this machine, as the hub does into its own, with the Secret on the hub
// that the Package names. It returns the files and their revision; neither where the manifests stand in the Package.
func Fetch(ctx context.Context, hub client.Reader, pkg *v1alpha1.Package, dir string) (fs.FS, string, error) {
	at, remote := placeOf(pkg.Namespace, pkg.Spec.Source)
	if !remote {
		return nil, "", nil
	}
	return fetch(ctx, hub, at.ref, dir)
}

func fetch(ctx context.Context, hub client.Reader, ref source.Ref, dir string) (fs.FS, string, error) {
	all, err := readers(Needs{Dir: dir, LocalSources: []string{"/"}}) // whoever asks may read what they may read
	if err != nil {
		return nil, "", err
	}
	var with source.Credentials
	if ref.Secret != "" {
		if with, err = credentialsOn(ctx, hub, ref); err != nil {
			return nil, "", err
		}
	}
	revision, err := all[ref.Kind].Resolve(ctx, ref, with)
	if err != nil {
		return nil, "", source.Explain(ref, err, with)
	}
	files, err := all[ref.Kind].Tree(ref, revision.ID)
	return files, revision.ID, err
}

// FolderOf is where the manifests of a Package are in its source.
func FolderOf(pkg *v1alpha1.Package) string {
	at, _ := placeOf(pkg.Namespace, pkg.Spec.Source)
	return folderOf(at)
}

// ContentsFor renders what the clusters would get, as a Release does, and keeps nothing.
func ContentsFor(given []v1alpha1.PackageVariant, makes render.Maker, clusters []v1alpha1.MemberCluster) (*Contents, error) {
	variants, err := variantsOf(given)
	if err != nil {
		return nil, err
	}
	known := make([]decide.Cluster, len(clusters))
	facts := make([]variable.Cluster, len(clusters))
	for i := range clusters {
		known[i] = decide.ClusterOf(&clusters[i])
		facts[i] = known[i].Facts()
	}
	family, err := render.Variants(makes, variants, facts)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for _, name := range family.Variables {
		files[name] = family.File(name)
	}
	classes, missing := decide.Classes(family.Variables, known)
	contents := &Contents{Without: map[v1alpha1.ClusterName]string{}}
	for _, class := range classes {
		entries, err := family.For(class.Values)
		if lacking := lackingFor(class, err); len(lacking) > 0 {
			missing = append(missing, lacking...)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("for cluster %s: %w", decide.Names(class.Clusters), err)
		}
		contents.Classes = append(contents.Classes, ClassContent{Class: class, Entries: entries})
	}
	for _, m := range missing {
		contents.Without[m.Cluster] = m.Tell(files)
	}
	return contents, nil
}

// ContentsOf is what the clusters would get of a Release that stands there. read returns a content of it, which is verified here.
func ContentsOf(release *v1alpha1.ReleaseSpec, clusters []v1alpha1.MemberCluster, read func(*v1alpha1.Variant) ([]byte, error)) (*Contents, error) {
	contents, byDigest := &Contents{Without: map[v1alpha1.ClusterName]string{}}, map[string]int{}
	for i := range clusters {
		name := v1alpha1.ClusterName(clusters[i].Name)
		variant := decide.VariantFor(release, decide.ClusterOf(&clusters[i]))
		if variant == nil {
			contents.Without[name] = "the release has no content for it: it was rendered before the cluster was as it is"
			continue
		}
		at, known := byDigest[variant.Digest]
		if !known {
			entries, err := EntriesOf(variant, read)
			if err != nil {
				return nil, fmt.Errorf("for cluster %s: %w", name, err)
			}
			at, byDigest[variant.Digest] = len(contents.Classes), len(contents.Classes)
			contents.Classes = append(contents.Classes, ClassContent{Class: decide.Class{Values: variant.Values}, Entries: entries, Digest: variant.Digest})
		}
		contents.Classes[at].Clusters = append(contents.Classes[at].Clusters, name)
	}
	return contents, nil
}

// EntriesOf are the objects of a content of a Release. read returns it, and it is verified here.
func EntriesOf(variant *v1alpha1.Variant, read func(*v1alpha1.Variant) ([]byte, error)) ([]bundle.Entry, error) {
	blob, err := read(variant)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(blob); "sha256:"+hex.EncodeToString(sum[:]) != variant.Digest {
		return nil, fmt.Errorf("what came is not the content %s", variant.Digest)
	}
	var entries []bundle.Entry
	for item, err := range bundle.Decode(bytes.NewReader(blob), bundle.DefaultLimits) {
		if err != nil {
			return nil, err
		}
		entries = append(entries, item.Entry)
	}
	return entries, nil
}
