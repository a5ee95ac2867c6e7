package delivery_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// bases has a Package list remote bases.
func (h *hub) bases(name string, listed ...v1alpha1.RemoteBase) {
	h.t.Helper()
	h.change(name, func(p *v1alpha1.Package) { p.Spec.Kustomize = &v1alpha1.KustomizeOptions{RemoteBases: listed} })
}

// TestRemoteBases is the way of a Package whose kustomization refers to another repository, a private one: it is refused until the Package
// lists it, rendered at the commit that a tag is at, anew when the tag is moved, and stays what it is when its server is gone.
func TestRemoteBases(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", map[string]string{"region": "eu"})
	h.place("prod", eu)
	web := sourcetest.New(t)
	kustomization := map[string]string{"kustomization.yaml": "resources: [a.yaml]\n"}
	of := func(value string) map[string]string {
		return map[string]string{"deploy/kustomization.yaml": kustomization["kustomization.yaml"], "deploy/a.yaml": configMap("a", value+" in ${cluster.labels.region}")}
	}
	first := web.Commit(of("one"))
	web.Git("tag", "v1")
	var gone atomic.Bool
	url := web.Serve(func(next http.Handler) http.Handler {
		locked := sourcetest.Locked(sourcetest.Basic("ada", sourcetest.Canary))(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if gone.Load() {
				http.Error(w, "gone", http.StatusBadGateway)
				return
			}
			locked.ServeHTTP(w, r)
		})
	})
	fleet := sourcetest.New(t)
	fleet.Commit(map[string]string{"app/kustomization.yaml": "namePrefix: web-\nresources: ['" + url + "//deploy?ref=v1']\n"})
	key := h.from("app", "prod", v1alpha1.Source{Git: &v1alpha1.GitSource{URL: fleet.URL(), Path: "app"}})

	h.waitFor("app", v1alpha1.ConditionRendered, "False RenderFailed", `app/kustomization.yaml: resources[0]: "`+url+`//deploy?ref=v1" is not in this repository`,
		`add to the Package: spec: {kustomize: {remoteBases: [{url: "`+url+`", ref: "v1"}]}}`)
	base := v1alpha1.RemoteBase{URL: url, Ref: "v1"}
	h.bases("app", base)
	h.waitFor("app", v1alpha1.ConditionFetched, "False Unauthorized", "spec.kustomize.remoteBases[0]: ", "spec.kustomize.remoteBases[0].secretRef names a Secret with them")
	h.secret("web", map[string]string{"username": "ada", "password": sourcetest.Canary}, nil)
	base.SecretRef = &v1alpha1.LocalReference{Name: "web"}
	h.bases("app", base)
	h.waitTold(eu, key, render.BasesFolder+"/-"+first+`/deploy/a.yaml {"apiVersion":"v1","data":{"value":"one in eu"},"kind":"ConfigMap","metadata":{"name":"web-a"`)
	h.waitFor("app", v1alpha1.ConditionFetched, "True Fetched", "main is at ", "; v1 of "+url+" is at "+source.Short(first))
	h.waitBases("app", v1alpha1.ReleasedBase{URL: url, Ref: "v1", Commit: first})

	// Its ref has to be what the kustomization says, and to be no branch.
	h.bases("app", v1alpha1.RemoteBase{URL: url, Ref: "main", SecretRef: base.SecretRef})
	h.waitFor("app", v1alpha1.ConditionFetched, "False RefNotFound", `spec.kustomize.remoteBases[0]: `, `there is no tag "main"`, "stays")
	h.bases("app", v1alpha1.RemoteBase{URL: url, Ref: first, SecretRef: base.SecretRef})
	h.waitFor("app", v1alpha1.ConditionRendered, "False RenderFailed", "is listed in spec.kustomize.remoteBases at "+first+", and not at v1")
	h.bases("app", base)
	h.waitFor("app", v1alpha1.ConditionRendered, "True Rendered")

	// A commit beside it changes nothing; a tag that is moved does.
	releases := len(h.releases())
	web.Commit(of("two"))
	h.refresh("app")
	h.waitFor("app", v1alpha1.ConditionFetched, "True Fetched", source.Short(first))
	if got := len(h.releases()); got != releases {
		t.Errorf("a commit that the tag is not at made %d releases", got-releases)
	}
	second := web.Git("rev-parse", "HEAD")
	web.Git("tag", "--force", "v1")
	h.refresh("app")
	h.waitTold(eu, key, `"two in eu"`)
	h.waitBases("app", v1alpha1.ReleasedBase{URL: url, Ref: "v1", Commit: second})

	// Whoever plans it gets the same, in a process of its own.
	var member v1alpha1.MemberCluster
	h.must(h.Get(t.Context(), client.ObjectKey{Name: string(eu)}, &member))
	kit := delivery.Kit{Dir: t.TempDir(), Workers: render.NewWorkers(t.Context(), func() *exec.Cmd {
		c := exec.Command(os.Args[0])
		c.Env = []string{"UMBEL_TEST_WORKER=1"}
		return c
	}, render.DefaultLimits, 1)}
	makes, err := kit.MakerOf(t.Context(), h, h.pkg("app"), os.DirFS(fleet.Dir))
	h.must(err)
	contents, err := delivery.ContentsFor(nil, makes, []v1alpha1.MemberCluster{member})
	h.must(err)
	if entry := contents.Classes[0].Entries[0]; h.told(eu, key) != fmt.Sprintf("%s %s %s", h.released("app"), entry.File, entry.Object) {
		t.Errorf("it is planned as %s of %s, and told as %s", entry.Object, entry.File, h.told(eu, key))
	}
	kit.Workers = render.NewWorkers(t.Context(), func() *exec.Cmd { return render.Command("/nowhere/umbel") }, render.DefaultLimits, 1)
	makes, err = kit.MakerOf(t.Context(), h, h.pkg("app"), os.DirFS(fleet.Dir))
	h.must(err)
	if _, err := makes(render.Choice{}); err == nil || !strings.Contains(err.Error(), "/nowhere/umbel") {
		t.Errorf("without a program that renders: %v", err)
	}

	// Its server is gone, and the hub starts again: a cluster that comes gets what the others have.
	gone.Store(true)
	h.stop()
	h.start()
	us := h.cluster("us", map[string]string{"region": "us"})
	h.place("prod", eu, us)
	h.waitTold(us, key, `"two in us"`)
	h.waitTold(eu, key, `"two in eu"`)
	h.waitFor("app", v1alpha1.ConditionFetched, "False FetchFailed", "spec.kustomize.remoteBases[0]: ", "stays")
	gone.Store(false)

	// What is not listed any more is not used any more, and clusters keep what they hold.
	h.change("app", func(p *v1alpha1.Package) { p.Spec.Kustomize = nil })
	h.waitFor("app", v1alpha1.ConditionRendered, "False RenderFailed", "no remote base that the Package lists", "stays")
	h.waitTold(eu, key, `"two in eu"`)
	h.tellsNoSecret()
}

// waitBases waits until the Release of a Package says that it was rendered with these.
func (h *hub) waitBases(name string, want ...v1alpha1.ReleasedBase) {
	h.t.Helper()
	h.eventually("the bases of "+name, func() string {
		current := h.released(name)
		for _, release := range h.releases() {
			if release.Name == current && slices.Equal(release.Spec.RemoteBases, want) {
				return ""
			}
		}
		return fmt.Sprintf("release %s is not of %+v", current, want)
	})
}

// TestTheAPIRefusesRemoteBases that mean nothing, or not what somebody may think.
func TestTheAPIRefusesRemoteBases(t *testing.T) {
	h := newHub(t)
	repo := sourcetest.New(t)
	hash := strings.Repeat("0", 40)
	git := func(change func(*v1alpha1.GitSource)) v1alpha1.Source {
		g := &v1alpha1.GitSource{URL: repo.URL(), Path: "."}
		if change != nil {
			change(g)
		}
		return v1alpha1.Source{Git: g}
	}
	signed := git(func(g *v1alpha1.GitSource) {
		g.Verify = &v1alpha1.GitVerification{Verification: v1alpha1.Verification{KeysFrom: []v1alpha1.KeysReference{{Kind: "ConfigMap", Name: "signers"}}}}
	})
	web := v1alpha1.RemoteBase{URL: "https://git.example.com/team/web", Ref: "v1"}
	pinned := v1alpha1.RemoteBase{URL: web.URL, Ref: hash}
	for _, tc := range []struct {
		reason string
		source v1alpha1.Source
		helm   *v1alpha1.HelmOptions
		bases  []v1alpha1.RemoteBase
		want   string // empty where it is taken
	}{
		{"one", git(nil), nil, []v1alpha1.RemoteBase{web}, ""},
		{"two refs of one", git(nil), nil, []v1alpha1.RemoteBase{web, pinned}, ""},
		{"the same twice", git(nil), nil, []v1alpha1.RemoteBase{web, web}, "Duplicate value"},
		{"no ref", git(nil), nil, []v1alpha1.RemoteBase{{URL: web.URL}}, "spec.kustomize.remoteBases[0].ref"},
		{"a ref in the address", git(nil), nil, []v1alpha1.RemoteBase{{URL: web.URL + "?ref=v1", Ref: "v1"}}, "has no ?ref="},
		{"ssh without a Secret", git(nil), nil, []v1alpha1.RemoteBase{{URL: "git@git.example.com:a/b", Ref: "v1"}}, "needs secretRef"},
		{"of a chart", v1alpha1.Source{Helm: &v1alpha1.HelmSource{URL: "https://charts.example.com", Chart: "shop"}}, nil, []v1alpha1.RemoteBase{web}, "only a folder has kustomizations"},
		{"with values of a chart", git(nil), &v1alpha1.HelmOptions{}, []v1alpha1.RemoteBase{web}, "exclude each other"},
		{"a tag, where the source has to be signed", signed, nil, []v1alpha1.RemoteBase{web}, "name the full hash of a commit in ref"},
		{"a commit, where the source has to be signed", signed, nil, []v1alpha1.RemoteBase{pinned}, ""},
	} {
		p := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, GenerateName: "bases-"}}
		p.Spec.Source, p.Spec.PlacementRef.Name, p.Spec.Helm = tc.source, "prod", tc.helm
		p.Spec.Kustomize = &v1alpha1.KustomizeOptions{RemoteBases: tc.bases}
		err := h.Create(t.Context(), p)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %q in it", tc.reason, err, tc.want)
		}
	}
}
