package clitest_test

import (
	"context"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/clitest"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

const planned = `apiVersion: v1
kind: ConfigMap
metadata: {namespace: team-a, name: "plan-${cluster.labels.env}"}
data: {a: "%s"}
`

// TestPlan plans the changes of a working tree, of a commit, and of a package in a file, for clusters of which one answers.
func TestPlan(t *testing.T) {
	f := newFleet(t)
	f.membersOf(t)
	repo := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", repo, "-c", "user.name=ada", "-c", "user.email=ada@example.com"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	file := filepath.Join(repo, "apps", "shop", "map.yaml")
	write := func(value string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(planned, "%s", value)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("1")
	git("init", "-q", "-b", "main")
	git("add", ".")
	git("commit", "-q", "-m", "one")
	write("2")
	t.Chdir(filepath.Join(repo, "apps"))

	where := func(from said) said { // what differs from run to run
		from.Out = strings.ReplaceAll(from.Out, repo, "REPO")
		for _, line := range strings.Split(from.Out, "\n") {
			if _, rest, found := strings.Cut(line, "(commit "); found {
				from.Out = strings.ReplaceAll(from.Out, rest[:12], "COMMIT")
			}
		}
		return from
	}
	plan := func(args string) said {
		t.Helper()
		return where(f.run(t.Context(), strings.Fields("plan --clusters region=eu "+args)...))
	}
	const head = "Package default/shop, from path apps/shop of "
	for _, c := range []struct {
		reason, args string
		want         said
	}{
		{"the working tree, from within", "shop", said{Out: head + "the working tree REPO (commit COMMIT, with changes)\n\n" +
			"1 cluster: 1 to add, 0 stay (prod-eu)\n  + ConfigMap team-a/plan-prod   (apps/shop/map.yaml)\n", Err: "What 1 cluster holds (prod-eu) cannot be read, so fields that others have by now are shown as taken back: "}},
		{"a commit, for CI", "package shop --ref main --exit-code", said{Code: 3, Out: head + "main (commit COMMIT)\n\n" +
			"1 cluster: 1 to add, 0 stay (prod-eu)\n  + ConfigMap team-a/plan-prod   (apps/shop/map.yaml)\n", Err: "What 1 cluster holds (prod-eu) cannot be read, so fields that others have by now are shown as taken back: "}},
		{"no such commit", "shop --ref nope", said{Code: 1, Err: "error: --ref nope is no commit of " + repo}},
		{"no such package", "nope", said{Code: 1, Err: "error: there is no package \"nope\""}},
		{"nothing named", "", said{Code: 2, Err: "error: say which package: NAME, or -f FILE"}},
		{"a kind without content", "cluster prod-eu", said{Code: 2, Err: "error: a cluster has no content"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got := plan(c.args)
			if !strings.HasPrefix(got.Err, c.want.Err) {
				t.Errorf("it said %q", got.Err)
			}
			got.Err = c.want.Err
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("umbel plan %s (-want +got):\n%s", c.args, diff)
			}
		})
	}
	t.Run("of several, those that could not be asked are named", func(t *testing.T) {
		got := f.run(t.Context(), "plan", "shop", "--timeout", "5s")
		for _, want := range []string{
			"1 cluster: 1 to add, 0 stay (prod-eu)", "Not asked: cluster dev: it did not answer within 5s", "Not asked: cluster prod-us: cluster \"prod-us\" is not connected",
		} {
			if !strings.Contains(got.Out, want) {
				t.Errorf("%q is not in:\n%s", want, got.Out)
			}
		}
		if !strings.Contains(got.Err, "error: the plan is not whole: 2 clusters could not be asked\n") || got.Code != 1 {
			t.Errorf("got code %d: %s", got.Code, got.Err)
		}
	})
	t.Run("a package in a file, as it would be", func(t *testing.T) {
		pkg := "apiVersion: umbel.dev/v1alpha1\nkind: Package\nmetadata: {name: other}\nspec:\n  placementRef: {name: shops}\n" +
			"  source: {inline: {objects: [{apiVersion: v1, kind: ConfigMap, metadata: {name: words, namespace: team-a}, data: {a: \"1\"}}]}}\n"
		if err := os.WriteFile("package.yaml", []byte(pkg), 0o600); err != nil {
			t.Fatal(err)
		}
		var found struct {
			Groups []struct {
				Clusters  []string
				Unchanged int
				Changes   []struct{ Action, Object, Diff string }
			}
		}
		read(t, plan("-f package.yaml -o json"), &found)
		if len(found.Groups) != 1 || len(found.Groups[0].Changes) != 1 || found.Groups[0].Changes[0].Object != "ConfigMap team-a/words" ||
			!strings.Contains(found.Groups[0].Changes[0].Diff, "+    umbel.dev/package: default.other\n") {
			t.Errorf("got %+v", found)
		}
	})
	t.Run("a chart, with values from the hub", func(t *testing.T) {
		f.create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "sizes"}, Data: map[string]string{"values.yaml": "size: large"}})
		for name, content := range map[string]string{
			"chart/Chart.yaml":         "apiVersion: v2\nname: app\nversion: 1.0.0\n",
			"chart/templates/map.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"plan-{{ .Values.size }}\", namespace: team-a}\n",
			"package.yaml": "apiVersion: umbel.dev/v1alpha1\nkind: Package\nmetadata: {name: app}\nspec:\n  placementRef: {name: shops}\n" +
				"  source: {git: {url: \"https://git.example.com/fleet.git\", path: chart}}\n  helm: {valuesFrom: [{kind: ConfigMap, name: sizes, key: values.yaml}]}\n",
		} {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(repo, name)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(repo, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got := plan("-f " + filepath.Join(repo, "package.yaml"))
		if !strings.Contains(got.Out, "  + ConfigMap team-a/plan-large   (chart/templates/map.yaml)\n") || got.Code != 0 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("saved, for a package that requires one", func(t *testing.T) {
		got := f.run(t.Context(), "plan", "shop", "--save", "--timeout", "5s")
		for _, want := range []string{
			"Saved as plan shop-", ": 1 cluster: 1 to add, 0 stay\n", "2 clusters could not be asked, and will wait for another plan.\n", "spec.plan: Required makes it wait for one.\n",
		} {
			if !strings.Contains(got.Err, want) || got.Code != 0 {
				t.Errorf("code %d, %q is not in:\n%s", got.Code, want, got.Err)
			}
		}
		var plans v1alpha1.PlanList
		if err := f.api.List(t.Context(), &plans); err != nil {
			t.Fatal(err)
		}
		if len(plans.Items) != 1 || len(plans.Items[0].OwnerReferences) != 1 || plans.Items[0].Spec.Clusters != 1 {
			t.Fatalf("there are the plans %+v", plans.Items)
		}
		spec := plans.Items[0].Spec
		if len(spec.Contents) != 2 || len(spec.Contents[0].Clusters)+len(spec.Contents[1].Clusters) != 1 {
			t.Errorf("of the two contents it says %+v", spec.Contents) // of one, no cluster could be asked
		}
	})
	var list corev1.ConfigMapList
	if err := f.api.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	for _, object := range list.Items {
		if strings.HasPrefix(object.Name, "plan-") || object.Labels["umbel.dev/package"] != "" {
			t.Errorf("a plan wrote %s", object.Name)
		}
	}
}

// TestPlanFarFromTheSource: where there is no working tree, it is said of what to have one.
func TestPlanFarFromTheSource(t *testing.T) {
	f := newFleet(t)
	t.Chdir(t.TempDir())
	f.says(t, "plan shop --save", said{
		Err: "error: there is no Git working tree here: run this in a clone of https://git.example.com/fleet.git, name one with --from, or plan what the hub has rendered with --release (`umbel get releases` lists that)\n", Code: 1,
	})
	other := sourcetest.New(t)
	other.Commit(map[string]string{"README": "of something else"})
	t.Chdir(other.Dir)
	got := f.run(t.Context(), "plan", "shop")
	for _, want := range []string{"path apps/shop of the working tree ", " is not there: run this in a clone of https://git.example.com/fleet.git, "} {
		if got.Code != 1 || !strings.Contains(got.Err, want) {
			t.Errorf("in another repository: %q is not in %+v", want, got)
		}
	}
}

// TestPlanOfARelease plans what the hub has rendered already, far from the source: what is saved is of the very content that it has.
func TestPlanOfARelease(t *testing.T) {
	f := newFleet(t)
	hub, err := f.factory(nil, nil).Connect()
	if err != nil {
		t.Fatal(err)
	}
	blobs := map[string][]byte{}
	members := doorTo(t, hub)
	door := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		blob, is := blobs[r.URL.Path]
		switch {
		case is:
			w.Write(blob)
		case strings.HasPrefix(r.URL.Path, v1alpha1.ContentPath):
			kubeproxy.WriteError(w, http.StatusForbidden, "user \"ada\" may not read the content")
		default:
			members.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(door.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: door.Certificate().Raw})
	f.openDoor(t, strings.TrimPrefix(door.URL, "https://"), string(ca))
	release := clitest.ShopRelease()
	release.Name, release.Spec.Variables, release.Spec.Variants = "shop-waits", nil, nil
	blob, err := bundle.Encode([]bundle.Entry{{File: "apps/map.yaml", Object: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"plan-waits","namespace":"team-a"}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(blob))
	release.Spec.Variants = []v1alpha1.Variant{{Digest: digest, Size: int64(len(blob)), Objects: 1}}
	forged, unread, others := release.DeepCopy(), release.DeepCopy(), release.DeepCopy()
	forged.Name, unread.Name, others.Name = "shop-forged", "shop-unread", "other-waits"
	others.Spec.PackageRef.Name = "other"
	for _, r := range []*v1alpha1.Release{release, forged, unread, others} {
		f.create(t, r)
	}
	at := func(name string) string { return v1alpha1.ContentPath + "default/" + name + "/" + digest }
	blobs[at("shop-waits")], blobs[at("shop-forged")] = blob, append([]byte("x"), blob...)
	t.Chdir(t.TempDir())

	got := f.run(t.Context(), strings.Fields("plan shop --clusters region=eu --release shop-waits --save")...)
	want := "Package default/shop, from release shop-waits (revision 4f0c2a9e7b1d)\n\n1 cluster: 1 to add, 0 stay (prod-eu)\n  + ConfigMap team-a/plan-waits   (apps/map.yaml)\n"
	if got.Code != 0 || got.Out != want || !strings.Contains(got.Err, "Saved as plan shop-") {
		t.Errorf("got code %d: %s%s", got.Code, got.Out, got.Err)
	}
	var plans v1alpha1.PlanList
	if err := f.api.List(t.Context(), &plans); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = f.api.DeleteAllOf(context.WithoutCancel(t.Context()), &v1alpha1.Plan{}, kube.InNamespace("default"))
	}) // the next test has its own
	if !slices.ContainsFunc(plans.Items, func(p v1alpha1.Plan) bool { return len(p.Spec.Contents) == 1 && p.Spec.Contents[0].Digest == digest }) {
		t.Errorf("none of the plans is of what the hub has rendered: %+v", plans.Items)
	}
	for args, want := range map[string]string{
		"--release shop-forged":                 "what came is not the content " + digest,
		"--release shop-unread":                 "may not read the content",
		"--release other-waits":                 `release "other-waits" is one of package "other", not of "shop"`,
		"--release nope":                        `there is no release "nope"`,
		"--release shop-waits --ref main":       "--release goes without -f, --from and --ref",
		"--release shop-waits --from . -o json": "--release goes without -f, --from and --ref",
	} {
		if got := f.run(t.Context(), strings.Fields("plan shop --clusters region=eu "+args)...); got.Code == 0 || !strings.Contains(got.Err, want) {
			t.Errorf("%s: code %d, %s", args, got.Code, got.Err)
		}
	}
}

// TestPlanKnowsWhatIsHeld: of an object that others have changed, a plan takes back what the release that the cluster holds has, and no other
// field; what leaves that release is deleted though its label is gone. Who may not read that release is told, and shown more.
func TestPlanKnowsWhatIsHeld(t *testing.T) {
	f := newFleet(t)
	hub, err := f.factory(nil, nil).Connect()
	if err != nil {
		t.Fatal(err)
	}
	blobs := map[string][]byte{}
	members := doorTo(t, hub)
	door := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if blob, is := blobs[r.URL.Path]; is {
			w.Write(blob)
			return
		}
		if strings.HasPrefix(r.URL.Path, v1alpha1.ContentPath) {
			kubeproxy.WriteError(w, http.StatusForbidden, "user \"ada\" may not read the content")
			return
		}
		members.ServeHTTP(w, r)
	}))
	t.Cleanup(door.Close)
	f.openDoor(t, strings.TrimPrefix(door.URL, "https://"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: door.Certificate().Raw})))
	object := func(name, data string) []byte {
		return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":"team-a","labels":{"umbel.dev/package":"default.shop"}},"data":%s}`, name, data)
	}
	release := func(name string, objects ...[]byte) v1alpha1.Variant {
		t.Helper()
		var entries []bundle.Entry
		for i, o := range objects {
			entries = append(entries, bundle.Entry{File: fmt.Sprintf("apps/%d.yaml", i), Object: o})
		}
		blob, err := bundle.Encode(entries)
		if err != nil {
			t.Fatal(err)
		}
		variant := v1alpha1.Variant{Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(blob)), Size: int64(len(blob)), Objects: int32(len(objects))}
		blobs[v1alpha1.ContentPath+"default/"+name+"/"+variant.Digest] = blob
		r := clitest.ShopRelease()
		r.Name, r.Spec.Variables, r.Spec.Variants = name, nil, []v1alpha1.Variant{variant}
		f.create(t, r)
		return variant
	}
	holds := release("shop-holds", object("plan-held", `{"had":"1","dropped":"1"}`), object("plan-leaves", "{}"))
	release("shop-had", object("plan-held", `{"had":"2"}`))
	release("shop-never", object("plan-held", `{"had":"2","never":"2"}`))
	for name, data := range map[string]string{"plan-held": `{"had":"1","dropped":"1"}`, "plan-leaves": "{}"} {
		var theirs unstructured.Unstructured
		if err := theirs.UnmarshalJSON(object(name, data)); err != nil {
			t.Fatal(err)
		}
		if err := f.api.Apply(t.Context(), kube.ApplyConfigurationFromUnstructured(&theirs), kube.FieldOwner("umbel-agent")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.api.Delete(context.WithoutCancel(t.Context()), &theirs) })
	}
	patch := func(name, text string) {
		t.Helper()
		changed := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name, "namespace": "team-a"}}}
		if err := f.api.Patch(t.Context(), changed, kube.RawPatch(types.MergePatchType, []byte(text)), kube.FieldOwner("kubectl-edit")); err != nil {
			t.Fatal(err)
		}
	}
	patch("plan-held", `{"data":{"had":"theirs","dropped":"theirs","never":"theirs"}}`)
	patch("plan-leaves", `{"metadata":{"labels":null}}`)
	var cluster v1alpha1.MemberCluster
	if err := f.api.Get(t.Context(), kube.ObjectKey{Name: "prod-eu"}, &cluster); err != nil {
		t.Fatal(err)
	}
	cluster.Status.Packages[0].Release, cluster.Status.Packages[0].Digest = "shop-holds", holds.Digest
	if err := f.api.Status().Update(t.Context(), &cluster); err != nil {
		t.Fatal(err)
	}
	plan := func(release string) said {
		t.Helper()
		return f.run(t.Context(), strings.Fields("plan shop --clusters region=eu --release "+release)...)
	}
	if got := plan("shop-had"); got.Code != 0 || !strings.Contains(got.Out, "1 cluster: 1 to change, 1 to delete, 0 stay") || strings.Contains(got.Err, "cannot be read") ||
		!strings.Contains(got.Out, "-  had: theirs\n      +  had: \"2\"\n") || strings.Contains(got.Out, "-  dropped") || !strings.Contains(got.Out, "- ConfigMap team-a/plan-leaves") {
		t.Errorf("what it had: code %d\n%s%s", got.Code, got.Out, got.Err)
	}
	if got := plan("shop-never"); got.Code != 1 || !strings.Contains(got.Out, "it would fail: ") || !strings.Contains(got.Out, ".data.never") {
		t.Errorf("what it never had: code %d\n%s%s", got.Code, got.Out, got.Err)
	}
	delete(blobs, v1alpha1.ContentPath+"default/shop-holds/"+holds.Digest)
	if got := plan("shop-never"); got.Code != 0 || !strings.Contains(got.Out, "+  never: \"2\"") || !strings.Contains(got.Err, "What 1 cluster holds (prod-eu) cannot be read") || !strings.Contains(got.Err, "may not read the content") {
		t.Errorf("when it is not known: code %d\n%s%s", got.Code, got.Out, got.Err)
	}
}
