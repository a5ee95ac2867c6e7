package adopt

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/kube/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// hubAPI is a hub's API, with nothing in it yet.
func hubAPI(t *testing.T) kube.Client {
	t.Helper()
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	scheme, err := hub.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	api, err := kube.New(config, kube.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// TestClustersMoveOneByOne: a Package takes over on one cluster after the other, remembers of each how it was, and goes with the last.
func TestClustersMoveOneByOne(t *testing.T) {
	api := hubAPI(t)
	b := book{hub: api, key: kube.ObjectKey{Namespace: "default", Name: "shop"}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// selected are the clusters that the Placement names; none when it selects nobody.
	selected := func() []string {
		t.Helper()
		var p v1alpha1.Placement
		must(api.Get(t.Context(), b.key, &p))
		if len(p.Spec.Fields) == 0 {
			if diff := cmp.Diff([]string{"false"}, p.Spec.Expressions); diff != "" {
				t.Errorf("it would select clusters: %s", diff)
			}
			return nil
		}
		if len(p.Spec.Expressions) != 0 {
			t.Errorf("it selects nobody: %v", p.Spec.Expressions)
		}
		return p.Spec.Fields[0].Values
	}
	want := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shop"}, Spec: v1alpha1.PackageSpec{
		Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example.com/x.git", Path: "."}}, PlacementRef: v1alpha1.LocalReference{Name: "shop"},
	}}
	open := func(cluster v1alpha1.ClusterName) {
		t.Helper()
		uid, err := b.open(t.Context(), want, cluster)
		must(err)
		if there, err := b.find(t.Context()); err != nil || there.UID != uid || uid == "" {
			t.Errorf("the package is %v, %v, and not %q", there, err, uid)
		}
	}
	open("a")
	if got := selected(); got != nil {
		t.Errorf("before the other is stopped, %v are selected", got)
	}
	must(b.place(t.Context(), "a"))
	there, err := b.find(t.Context())
	must(err)
	must(fits(there, want))
	open("b")
	open("b")
	must(b.place(t.Context(), "b"))
	must(b.place(t.Context(), "b"))
	if diff := cmp.Diff([]string{"a", "b"}, selected()); diff != "" {
		t.Errorf("selected (-want +got):\n%s", diff)
	}
	there, err = b.find(t.Context())
	must(err)
	if all := begun(there); len(all) != 0 || !adopts(there) {
		t.Errorf("all are selected, and it is on the way with %v", all)
	}
	other := want.DeepCopy()
	other.Spec.Source.Git.Path = "elsewhere"
	if fits(there, other) == nil {
		t.Error("another source was taken for the same")
	}
	stranger := there.DeepCopy()
	stranger.Annotations = nil
	if fits(stranger, want) == nil {
		t.Error("a package of somebody else would be taken")
	}

	// Objects in it give way to a repository when they are still those that were looked at.
	object := func(name string) v1alpha1.InlineObject {
		return v1alpha1.InlineObject{APIVersion: "v1", Kind: "ConfigMap", Metadata: v1alpha1.InlineMetadata{Name: name}}
	}
	inline := v1alpha1.Source{Inline: &v1alpha1.InlineSource{Objects: []v1alpha1.InlineObject{object("a")}}}
	git := *there.Spec.Source.DeepCopy()
	there.Spec.Source = inline
	must(api.Update(t.Context(), there))
	inline = there.Spec.Source // as the API keeps it
	must(b.settle(t.Context(), inline, git))
	there, err = b.find(t.Context())
	must(err)
	must(fits(there, want))
	more := *inline.DeepCopy()
	more.Inline.Objects = append(more.Inline.Objects, object("b"))
	there.Spec.Source = more
	must(api.Update(t.Context(), there))
	if err := b.settle(t.Context(), inline, git); err == nil {
		t.Error("an object that was added meanwhile would be deleted everywhere")
	}
	there, err = b.find(t.Context())
	must(err)
	there.Spec.Source = git
	must(api.Update(t.Context(), there))

	must(b.displace(t.Context(), "a", time.Now()))
	there, err = b.find(t.Context())
	must(err)
	var p v1alpha1.Placement
	must(api.Get(t.Context(), b.key, &p))
	removal := there.Spec.Deletes.ApprovedRemoval
	if diff := cmp.Diff([]v1alpha1.ClusterName{"a"}, removal.Clusters); diff != "" || removal.Generation != p.Generation || removal.Placement != "shop" {
		t.Errorf("the removal of %v is approved for generation %d of %d", removal.Clusters, removal.Generation, p.Generation)
	}
	if diff := cmp.Diff([]string{"b"}, selected()); diff != "" {
		t.Errorf("selected (-want +got):\n%s", diff)
	}
	last, err := b.forget(t.Context(), "a")
	must(err)
	if last {
		t.Error("b has it still")
	}
	must(b.displace(t.Context(), "b", time.Now()))
	if got := selected(); got != nil {
		t.Errorf("the last one is gone, and %v are selected", got)
	}
	open("c") // by somebody else, who has stopped the other by then
	if last, err = b.forget(t.Context(), "b"); err != nil || last {
		t.Errorf("it went, and c was begun with: %v", err)
	}
	last, err = b.forget(t.Context(), "c")
	must(err)
	if there, err = b.find(t.Context()); there != nil || err != nil || !last {
		t.Errorf("the last one is gone, and the package is %v, %v", there, err)
	}
}

// TestAReleaseOfAnotherSource: a hub that has seen a new source, and still renders it, delivers the release of the one before.
func TestAReleaseOfAnotherSource(t *testing.T) {
	api := hubAPI(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	b := book{hub: api, key: kube.ObjectKey{Namespace: "default", Name: "shop"}}
	at := metav1.ObjectMeta{Namespace: "default", Name: "shop"}
	inline := v1alpha1.Source{Inline: &v1alpha1.InlineSource{}}
	git := v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example.com/x.git", Path: "."}}
	release := func(name string, from v1alpha1.Source) {
		t.Helper()
		must(api.Create(t.Context(), &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: v1alpha1.ReleaseSpec{
			PackageRef: v1alpha1.LocalReference{Name: "shop"}, Source: from, Revision: "4f0c2a9e7b1d", Repository: "packages/default/shop",
			Variants: []v1alpha1.Variant{{Digest: "sha256:" + strings.Repeat("a", 64), Size: 1, Objects: 1}},
		}}))
	}
	release("shop-inline", inline)
	release("shop-git", git)
	pkg := &v1alpha1.Package{ObjectMeta: at, Spec: v1alpha1.PackageSpec{Source: git, PlacementRef: v1alpha1.LocalReference{Name: "shop"}}}
	must(api.Create(t.Context(), pkg))
	member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "prod-eu"}}
	must(api.Create(t.Context(), member))
	holds := func(release string) (bool, string) {
		t.Helper()
		pkg.Status.ObservedGeneration, pkg.Status.Release = pkg.Generation, release
		must(api.Status().Update(t.Context(), pkg))
		member.Status.Packages = []v1alpha1.MemberPackage{{Package: "default/shop", Release: release, Phase: v1alpha1.PackageApplied}}
		must(api.Status().Update(t.Context(), member))
		done, waits, err := b.applied("prod-eu")(t.Context())
		must(err)
		return done, waits
	}
	if done, waits := holds("shop-inline"); done || waits != "the hub is not so far: it has said nothing yet" {
		t.Errorf("the release of what stood in the package was taken for the repository's: %t, %q", done, waits)
	}
	if done, waits := holds("shop-git"); !done {
		t.Errorf("it waits for %s", waits)
	}
}
