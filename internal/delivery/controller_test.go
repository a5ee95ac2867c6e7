package delivery_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

func configMap(name, value string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: shop}\ndata: {value: '" + value + "'}\n"
}

// TestFromCommitToClusters is the life of a Package, from a real repository to what each cluster is told.
func TestFromCommitToClusters(t *testing.T) {
	h := newHub(t)
	repo := sourcetest.New(t)
	first := repo.Commit(map[string]string{"app/a.yaml": configMap("a", "in ${cluster.labels.region}"), "other/b.yaml": configMap("b", "b")})
	eu := h.cluster("eu", map[string]string{"region": "eu"})
	us := h.cluster("us", map[string]string{"region": "us"})
	h.place("prod", eu, us)
	key := h.create("app", repo.Serve(nil), "app", "prod")

	h.waitTold(eu, key, `app/a.yaml {"apiVersion":"v1","data":{"value":"in eu"}`)
	h.waitTold(us, key, `"in us"`)
	h.waitFor("app", v1alpha1.ConditionFetched, "True Fetched", "main is at "+first[:12])
	h.waitFor("app", v1alpha1.ConditionRendered, "True Rendered", first[:12], "gives 1 object", "cluster.labels.region")
	h.waitFor("app", v1alpha1.ConditionPlaced, "True Placed", "selects 2 clusters")
	h.waitFor("app", v1alpha1.ConditionDelivered, "False Delivering", "on 0/2; at work: "+string(eu))
	h.obeys(eu)
	h.obeys(us)
	h.waitFor("app", v1alpha1.ConditionReady, "True Delivered", "on 2/2 clusters")
	if got := h.pkg("app").Status; got.Revision != first || got.Clusters.Summary != "2/2" || got.ObservedGeneration != 1 {
		t.Errorf("status %+v", got)
	}

	// A commit that changes another folder is seen, and makes no release.
	before := h.pkg("app").Status.Release
	elsewhere := repo.Change(map[string]string{"other/b.yaml": configMap("b", "changed")})
	h.refresh("app")
	h.waitFor("app", v1alpha1.ConditionFetched, "True Fetched", elsewhere[:12])
	h.waitFor("app", v1alpha1.ConditionReady, "True Delivered")
	if got := h.pkg("app").Status; got.Release != before || len(h.releases()) != 1 {
		t.Errorf("release %q of %d, want %q alone", got.Release, len(h.releases()), before)
	}

	// One that changes this folder does.
	second := repo.Change(map[string]string{"app/a.yaml": configMap("a", "now in ${cluster.labels.region}")})
	h.refresh("app")
	h.waitTold(eu, key, "now in eu")
	h.waitFor("app", v1alpha1.ConditionDelivered, "False Delivering", second[:12]+" on 0/2")
	h.obeys(eu)
	h.obeys(us)
	h.waitFor("app", v1alpha1.ConditionReady, "True Delivered")

	// A cluster with another value gets a variant of its own, of the same revision; the others' content stays.
	held, _ := h.desired.For(eu)
	asia := h.cluster("asia", map[string]string{"region": "asia"})
	h.place("prod", asia, eu, us)
	h.waitTold(asia, key, "now in asia")
	if now, _ := h.desired.For(eu); now.Assign[key].GetDigest() != held.Assign[key].GetDigest() {
		t.Error("a new cluster changed the content of an old one")
	}
	if got := h.pkg("app").Status.Revision; got != second {
		t.Errorf("revision %q, want %s", got, second)
	}

	// A cluster without the label keeps what it holds; the message names it, the label and the file.
	bare := h.cluster("bare", nil)
	h.place("prod", asia, bare, eu, us)
	h.waitFor("app", v1alpha1.ConditionRendered, "False VariableMissing", "cluster "+string(bare)+" has no label region, which app/a.yaml refers to as ${cluster.labels.region}")
	if got := h.told(bare, key); got != "keep" {
		t.Errorf("the cluster without the label is told %q", got)
	}
	h.waitTold(eu, key, "now in eu")

	// Not selected any more: removed. The others are not told anything else.
	h.place("prod", asia, eu)
	h.waitTold(us, key, "remove")
	h.waitTold(eu, key, "now in eu")

	// Deleted: every cluster that holds it lets go first, and the status says on whom it waits.
	h.obeys(eu)
	h.obeys(asia)
	h.says(eu, metav1.ConditionUnknown, v1alpha1.MemberPackage{Package: key, Phase: v1alpha1.PackageApplied})
	h.says(us, metav1.ConditionTrue)
	h.must(h.Delete(t.Context(), h.pkg("app")))
	h.waitTold(asia, key, "remove")
	h.waitFor("app", v1alpha1.ConditionDelivered, "False Deleting", "what they hold: "+string(asia)+";", "not connected: "+string(eu))
	h.obeys(asia)
	h.waitFor("app", v1alpha1.ConditionDelivered, "False Deleting waiting for clusters that may hold it and are not connected: "+string(eu))
	h.says(eu, metav1.ConditionTrue)
	h.waitGone("app")
	if left := h.releases(); len(left) != 0 {
		t.Errorf("%d releases are left", len(left))
	}
	h.waitTold(asia, key, "keep") // what nobody knows is kept
}

// TestNothingIsRemovedBecauseTheSourceFails breaks sources in every way, one after the other, and looks whether any
// cluster is told anything else than before. Law 1.
func TestNothingIsRemovedBecauseTheSourceFails(t *testing.T) {
	h := newHub(t)
	repo := sourcetest.New(t)
	good := map[string]string{"app/a.yaml": configMap("a", "good"), "app/b.yaml": configMap("b", "good")}
	first := repo.Commit(good)
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	key := h.create("app", repo.URL(), "app", "prod")
	h.waitTold(eu, key, `"good"`)
	h.obeys(eu)
	h.waitFor("app", v1alpha1.ConditionReady, "True Delivered")
	held := h.told(eu, key)

	away := repo.Dir + ".away"
	change := func(files map[string]string) func() {
		return func() { repo.Commit(files) }
	}
	for _, tc := range []struct {
		reason  string
		breakIt func()
		mend    func()
		type_   string
		begin   string
		texts   []string
	}{
		{reason: "invalid YAML", breakIt: change(map[string]string{"app/a.yaml": configMap("a", "good") + "---\nkind: {\n"}), type_: v1alpha1.ConditionRendered,
			begin: "False RenderFailed", texts: []string{"app/a.yaml, document 2 (line 6)", "stays"}},
		{reason: "a number for a label", breakIt: change(map[string]string{"app/a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s, labels: {v: 1.0}}\n"}), type_: v1alpha1.ConditionRendered,
			begin: "False RenderFailed", texts: []string{"app/a.yaml: Secret s: metadata.labels.v: is a number"}},
		{reason: "no object left", breakIt: change(map[string]string{"app/README.md": "moved"}), type_: v1alpha1.ConditionRendered,
			begin: "False EmptyRender", texts: []string{`path "app"`, "stays"}},
		{reason: "the folder is gone", breakIt: change(map[string]string{"new/a.yaml": configMap("a", "x")}), type_: v1alpha1.ConditionFetched,
			begin: "False PathNotFound", texts: []string{`path "app" does not exist in commit`, "stays"}},
		{reason: "no file left", breakIt: change(nil), type_: v1alpha1.ConditionFetched, begin: "False PathNotFound"},
		{reason: "the branch is gone", breakIt: func() { repo.Git("branch", "-m", "main", "trunk") }, mend: func() { repo.Git("branch", "-m", "trunk", "main") },
			type_: v1alpha1.ConditionFetched, begin: "False RefNotFound", texts: []string{`there is no branch or tag "main"`}},
		{reason: "the repository is gone", breakIt: func() { h.must(os.Rename(repo.Dir, away)) }, mend: func() { h.must(os.Rename(away, repo.Dir)) },
			type_: v1alpha1.ConditionFetched, begin: "False FetchFailed", texts: []string{"there is no repository at this address", "stays"}},
		{reason: "the repository has been emptied", breakIt: func() {
			h.must(os.Rename(filepath.Join(repo.Dir, ".git"), away))
			repo.Git("init", "--quiet", "--initial-branch=main")
		}, mend: func() {
			h.must(os.RemoveAll(filepath.Join(repo.Dir, ".git")))
			h.must(os.Rename(away, filepath.Join(repo.Dir, ".git")))
		}, type_: v1alpha1.ConditionFetched, begin: "False RefNotFound", texts: []string{"the repository is empty"}},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			tc.breakIt()
			h.refresh("app")
			h.waitFor("app", tc.type_, tc.begin, tc.texts...)
			h.waitFor("app", v1alpha1.ConditionReady, tc.begin)
			if got := h.told(eu, key); got != held {
				t.Errorf("the cluster is told %q, want %q", got, held)
			}
			if got := h.pkg("app").Status; got.Revision != first || got.Clusters.Ready != 1 {
				t.Errorf("revision %s and counts %+v, want those of the last good release", got.Revision, got.Clusters)
			}
			if tc.mend != nil {
				tc.mend()
			}
			repo.Commit(good)
			h.refresh("app")
			h.waitFor("app", v1alpha1.ConditionReady, "True Delivered")
		})
	}
	if n := len(h.releases()); n != 1 {
		t.Errorf("%d releases, want the first one alone, for the content came back each time", n)
	}
	t.Run("a force push is followed", func(t *testing.T) {
		repo.Git("checkout", "--quiet", "--orphan", "rewritten")
		repo.Commit(map[string]string{"app/a.yaml": configMap("a", "rewritten")})
		repo.Git("branch", "-M", "rewritten", "main")
		h.refresh("app")
		h.waitTold(eu, key, "rewritten")
	})
}

// TestUnknownPlacementsKeep: a Placement that goes or cannot be decided moves nothing.
func TestUnknownPlacementsKeep(t *testing.T) {
	h := newHub(t)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "x")})
	eu, us := h.cluster("eu", nil), h.cluster("us", nil)
	key := h.create("app", repo.URL(), ".", "prod")
	h.waitFor("app", v1alpha1.ConditionPlaced, "False PlacementNotFound", `there is no placement "prod"`, "spec.placementRef.name")
	if got := h.told(eu, key); got != "keep" {
		t.Errorf("without a placement a cluster is told %q", got)
	}
	h.place("prod", eu)
	h.waitTold(eu, key, `"x"`)
	h.waitTold(us, key, "remove")

	placement := &v1alpha1.Placement{}
	h.must(h.Get(t.Context(), client.ObjectKey{Namespace: h.namespace, Name: "prod"}, placement))
	meta.SetStatusCondition(&placement.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionDecided, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInvalidSelector,
		Message: "spec.clusterSelector is bad", ObservedGeneration: placement.Generation,
	})
	h.must(h.Status().Update(t.Context(), placement))
	h.waitFor("app", v1alpha1.ConditionPlaced, "False Undecided", "spec.clusterSelector is bad")
	h.waitTold(us, key, "keep")
	h.waitTold(eu, key, `"x"`)

	h.must(h.Delete(t.Context(), placement))
	h.waitFor("app", v1alpha1.ConditionPlaced, "False PlacementNotFound", "keep what they hold")
	h.waitTold(eu, key, "keep")
	h.waitTold(us, key, "keep")
}

// TestARestartLosesNothing stops the hub, takes the source away, and starts it again.
func TestARestartLosesNothing(t *testing.T) {
	h := newHub(t)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "in ${cluster.labels.region}")})
	eu := h.cluster("eu", map[string]string{"region": "eu"})
	h.place("prod", eu)
	key := h.create("app", repo.URL(), ".", "prod")
	h.waitTold(eu, key, "in eu")
	h.obeys(eu)
	h.waitFor("app", v1alpha1.ConditionReady, "True Delivered")
	before, held := h.pkg("app"), h.told(eu, key)

	h.stop()
	h.start()
	h.waitTold(eu, key, held)
	h.eventually("the first fetch", func() string {
		entries, err := os.ReadDir(filepath.Join(h.dir, "git"))
		if err != nil || len(entries) == 0 {
			return "no mirror"
		}
		return ""
	})
	if got := h.pkg("app"); got.ResourceVersion != before.ResourceVersion {
		t.Errorf("a restart wrote the Package: %s, was %s", got.ResourceVersion, before.ResourceVersion)
	}

	h.stop()
	h.must(os.Rename(repo.Dir, repo.Dir+".away"))
	h.start()
	h.waitFor("app", v1alpha1.ConditionFetched, "False FetchFailed")
	h.waitTold(eu, key, held)
	// Without the source a new cluster gets the same revision, from the mirror.
	us := h.cluster("us", map[string]string{"region": "us"})
	h.place("prod", eu, us)
	h.waitTold(us, key, "in us")

	h.stop()
	h.must(os.RemoveAll(filepath.Join(h.dir, "registry")))
	h.start()
	h.waitTold(us, key, "in us") // the content is made again
	h.waitTold(eu, key, "in eu")
}

// TestTheHubsOwnDiskIsNoSource, unless the hub was told so.
func TestTheHubsOwnDiskIsNoSource(t *testing.T) {
	h := newHub(t)
	h.create("app", "file:///etc", ".", "prod")
	h.waitFor("app", v1alpha1.ConditionFetched, "False SourceNotAllowed", "spec.source.git.url: file:///etc", "--allow-local-sources")
}

// TestOneBadSourceBlocksNobody: a server that never answers holds up its own Packages alone.
func TestOneBadSourceBlocksNobody(t *testing.T) {
	h := newHub(t)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "x")})
	release := make(chan struct{})
	defer close(release)
	hanging := repo.Serve(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })
	})
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	for _, name := range []string{"bad-1", "bad-2", "bad-3", "bad-4", "bad-5"} {
		h.create(name, hanging, ".", "prod")
	}
	key := h.create("good", repo.URL(), ".", "prod")
	h.waitTold(eu, key, `"x"`)
	h.waitFor("bad-1", v1alpha1.ConditionReady, "False NoRelease")
}

// TestOldReleasesGo: ten are kept, and the content of the others goes with them.
func TestOldReleasesGo(t *testing.T) {
	h := newHub(t)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "0")})
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	key := h.create("app", repo.URL(), ".", "prod")
	h.waitTold(eu, key, `"0"`)
	first := h.releases()[0].Spec
	for _, value := range strings.Split("1 2 3 4 5 6 7 8 9 10 11 12", " ") {
		repo.Commit(map[string]string{"a.yaml": configMap("a", value)})
		h.refresh("app")
		h.waitTold(eu, key, `"`+value+`"`)
		newest := strings.Fields(h.told(eu, key))[0]
		h.eventually("the hub's cache", func() string {
			var release v1alpha1.Release
			if err := h.cached.Get(t.Context(), client.ObjectKey{Namespace: h.namespace, Name: newest}, &release); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	h.eventually("the releases", func() string {
		// The cache may not have had the newest when the oldest were dropped.
		if n := len(h.releases()); n < 10 || n > 11 {
			return "there are " + string(rune('0'+n/10)) + string(rune('0'+n%10))
		}
		return ""
	})
	current := h.pkg("app").Status.Release
	if !slices.ContainsFunc(h.releases(), func(r v1alpha1.Release) bool { return r.Name == current }) {
		t.Error("the current release was dropped")
	}
	h.waitTold(eu, key, `"12"`)
	h.eventually("the content of the first release", func() string {
		has, err := h.store.Has(t.Context(), first.Repository, first.Variants[0].Digest, first.Variants[0].Size)
		if err != nil || has {
			return "is still referred to"
		}
		return ""
	})
}

// TestADeletedReleaseIsMadeAgain: Releases are not for people to delete, but it does no harm.
func TestADeletedReleaseIsMadeAgain(t *testing.T) {
	h := newHub(t)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "x")})
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	key := h.create("app", repo.URL(), ".", "prod")
	h.waitTold(eu, key, `"x"`)
	release := h.releases()[0]
	h.must(h.Delete(t.Context(), &release))
	h.eventually("the release", func() string {
		if list := h.releases(); len(list) != 1 || list[0].Name != release.Name || list[0].UID == release.UID {
			return "is not there again"
		}
		return ""
	})
	h.waitTold(eu, key, `"x"`)
}
