package delivery_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// TestTheAPIRefusesBadInput: what can be told from the object alone is refused when it is written, with the field.
func TestTheAPIRefusesBadInput(t *testing.T) {
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	namespace := kubetest.Namespace(t, config)
	api, err := client.New(config, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }
	pkg := func(name string, change func(*v1alpha1.PackageSpec)) client.Object {
		p := &v1alpha1.Package{ObjectMeta: at(name)}
		p.Spec.Source.Git = &v1alpha1.GitSource{URL: "https://example.org/repo.git"}
		p.Spec.PlacementRef.Name = "prod"
		change(&p.Spec)
		return p
	}
	for _, tc := range []struct {
		reason string
		object client.Object
		want   string // empty: it is taken
	}{
		{reason: "a Package", object: pkg("good", func(*v1alpha1.PackageSpec) {})},
		{reason: "a name that is no DNS label", object: pkg("a.b", func(*v1alpha1.PackageSpec) {}), want: "the name of a Package is a DNS label"},
		{reason: "a name that is too long", object: pkg(strings.Repeat("a", 64), func(*v1alpha1.PackageSpec) {}), want: "at most 63 characters"},
		{reason: "an address without a scheme", object: pkg("p", func(s *v1alpha1.PackageSpec) { s.Source.Git.URL = "example.org/repo.git" }), want: `spec.source.git.url: Invalid value: "example.org/repo.git": url has to begin with https://, ssh://, http:// or file://`},
		{reason: "ssh without a Secret", object: pkg("p", func(s *v1alpha1.PackageSpec) { s.Source.Git.URL = "git@example.org:repo.git" }), want: "a repository over ssh needs secretRef"},
		{reason: "no address", object: pkg("p", func(s *v1alpha1.PackageSpec) { s.Source.Git.URL = "" }), want: "spec.source.git.url"},
		{reason: "no source", object: pkg("p", func(s *v1alpha1.PackageSpec) { s.Source.Git = nil }), want: "exactly one source has to be given: git, oci, helm or inline"},
		{reason: "an absolute path", object: pkg("p", func(s *v1alpha1.PackageSpec) { s.Source.Git.Path = "/etc" }), want: `spec.source.git.path: Invalid value: "/etc": path is relative to the root of the repository`},
		{reason: "a path that leaves", object: pkg("p", func(s *v1alpha1.PackageSpec) { s.Source.Git.Path = "a/../../b" }), want: "does not leave it"},
		{reason: "a path with dots in a name", object: pkg("dots", func(s *v1alpha1.PackageSpec) { s.Source.Git.Path = "a/..b/c..d" })},
		{reason: "polling too often", object: pkg("p", func(s *v1alpha1.PackageSpec) { s.Source.Git.PollInterval = &metav1.Duration{Duration: time.Second} }), want: "pollInterval is at least 5s"},
		{reason: "no placement", object: pkg("p", func(s *v1alpha1.PackageSpec) { s.PlacementRef.Name = "" }), want: "spec.placementRef.name"},
		{reason: "a Package of a name that is taken", object: pkg("good", func(*v1alpha1.PackageSpec) {}), want: "already exists"},
		{reason: "a cluster's name that is no DNS label", object: &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "a.b"}}, want: "the name of a MemberCluster is a DNS label"},
		{reason: "a policy that nobody knows", object: &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Spec: v1alpha1.MemberClusterSpec{DeletionPolicy: "Burn"}}, want: `spec.deletionPolicy: Unsupported value: "Burn": supported values: "Orphan", "Prune"`},
		{reason: "a Release without content", object: &v1alpha1.Release{ObjectMeta: at("r"), Spec: v1alpha1.ReleaseSpec{
			PackageRef: v1alpha1.LocalReference{Name: "p"}, Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://x"}}, Revision: "r", Repository: "r", Variants: []v1alpha1.Variant{}}}, want: "spec.variants"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			err := api.Create(t.Context(), tc.object)
			if tc.want == "" && err != nil {
				t.Errorf("it was refused: %v", err)
			}
			if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
		})
	}
	t.Run("a Release never changes", func(t *testing.T) {
		release := &v1alpha1.Release{ObjectMeta: at("fixed"), Spec: v1alpha1.ReleaseSpec{
			PackageRef: v1alpha1.LocalReference{Name: "p"}, Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://x"}},
			Revision: "r", Repository: "r", Variants: []v1alpha1.Variant{{Digest: "sha256:" + strings.Repeat("a", 64)}},
		}}
		if err := api.Create(t.Context(), release); err != nil {
			t.Fatal(err)
		}
		release.Spec.Revision = "other"
		err := api.Update(t.Context(), release)
		if err == nil || !strings.Contains(err.Error(), "a Release never changes; a new version of the Package makes a new one") {
			t.Errorf("got %v", err)
		}
	})
}
