package preview

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
	"umbel.dev/umbel/internal/kube/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

const shop = v1alpha1.PackageKey("default/shop")

// entries are manifests in YAML, each from a file of its own.
func entries(t *testing.T, manifests ...string) []bundle.Entry {
	t.Helper()
	var all []bundle.Entry
	for i, manifest := range manifests {
		raw, err := yaml.YAMLToJSON([]byte(manifest))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bundle.Entry{File: fmt.Sprintf("%d.yaml", i), Object: raw})
	}
	return all
}

// content is what an agent would send of manifests.
func content(t *testing.T, manifests ...string) *Content {
	t.Helper()
	c, err := Prepare(shop, entries(t, manifests...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func configMap(namespace, name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: %s, name: %s}\ndata: {key: %q, other: same}\n", namespace, name, value)
}

// apply has a manager apply a manifest, as an agent does when the manager is that.
func apply(t *testing.T, api kubernetes.Interface, manager, path string, manifest string) {
	t.Helper()
	e := entries(t, manifest)[0]
	body := []byte(e.Object)
	if manager == v1alpha1.FieldManager {
		sent, err := outgoing.All(shop, []bundle.Entry{e})
		if err != nil {
			t.Fatal(err)
		}
		body = sent[0].Body
	}
	err := api.CoreV1().RESTClient().Patch(types.ApplyPatchType).AbsPath(path).
		VersionedParams(&metav1.PatchOptions{FieldManager: manager}, metav1.ParameterCodec).Body(body).Do(t.Context()).Error()
	if err != nil {
		t.Fatal(err)
	}
}

// may waits until the API server knows that somebody may do something to ConfigMaps.
func may(t *testing.T, api kubernetes.Interface, user, verb, namespace string) {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Resource: "configmaps", Namespace: namespace},
	}}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		answer, err := api.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
		if err == nil && answer.Status.Allowed {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%s may not %s: %+v, %v", user, verb, answer, err)
		}
	}
}

// world is everything in the namespaces' ConfigMaps and Secrets, with versions: whatever is written changes it.
func world(ctx context.Context, t *testing.T, api kubernetes.Interface) string {
	t.Helper()
	maps, err := api.CoreV1().ConfigMaps("").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := api.CoreV1().Secrets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	maps.ResourceVersion, secrets.ResourceVersion = "", ""
	text, err := json.Marshal([]any{maps.Items, secrets.Items})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What a member says of a content is what would be there after an apply, in every case that there is, and nothing is written.
func TestPreview(t *testing.T) {
	config := kubetest.Start(t)
	api := kubernetes.NewForConfigOrDie(config)
	ns := kubetest.Namespace(t, config)
	maps := "/api/v1/namespaces/" + ns + "/configmaps/"
	for _, name := range []string{"same", "changed", "leaves"} {
		apply(t, api, v1alpha1.FieldManager, maps+name, configMap(ns, name, "old"))
	}
	apply(t, api, "somebody", maps+"theirs", configMap(ns, "theirs", "old"))
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {namespace: " + ns + ", name: keys}\nstringData: {a: %s, b: canary-same}\n"
	apply(t, api, v1alpha1.FieldManager, "/api/v1/namespaces/"+ns+"/secrets/keys", fmt.Sprintf(secret, "canary-old"))
	labelled := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "copy", Labels: map[string]string{v1alpha1.PackageLabel: shop.LabelValue()}}}
	if _, err := api.CoreV1().ConfigMaps(ns).Create(t.Context(), labelled, metav1.CreateOptions{}); err != nil {
		t.Fatal(err) // by somebody who copies labels
	}
	// A drift of a field that is ours is put back, so the diff shows it.
	drift := []byte(`{"data":{"other":"drifted"}}`)
	if _, err := api.CoreV1().ConfigMaps(ns).Patch(t.Context(), "changed", types.MergePatchType, drift, metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
		t.Fatal(err)
	}
	before := world(t.Context(), t, api)

	member, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	got, err := member.Of(t.Context(), content(t,
		configMap(ns, "same", "old"), configMap(ns, "changed", "new"), configMap(ns, "theirs", "new"), configMap(ns, "fresh", "new"),
		fmt.Sprintf(secret, "canary-new"),
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: "+ns+"-new}\n", configMap(ns+"-new", "inside", "new"),
		"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.example.com}\n"+
			"spec: {group: example.com, scope: Cluster, names: {kind: Thing, plural: things}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}\n",
		"apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: one}\n",
		"apiVersion: unknown.example.com/v1\nkind: Nothing\nmetadata: {name: one}\n",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: nowhere, name: lost}\n",
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {namespace: "+ns+", name: bad}\nspec: {replicas: three}\n",
	))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range got.Changes {
		if c.Problem != "" {
			got.Changes[i].Problem = strings.Fields(strings.ReplaceAll(c.Problem, `"`, ""))[0]
		}
	}
	want := []Change{
		{Action: Update, Object: "ConfigMap nowhere/lost", File: "10.yaml", Problem: "namespaces"},
		{Action: Update, Object: "ConfigMap " + ns + "/changed", File: "1.yaml", Diff: "@@ -1,7 +1,7 @@\n apiVersion: v1\n data:\n-  key: old\n+  key: new\n-  other: drifted\n+  other: same\n kind: ConfigMap\n metadata:\n   labels:\n"},
		{Action: Update, Object: "ConfigMap " + ns + "/theirs", File: "2.yaml", Problem: "Apply"},
		{Action: Update, Object: "Deployment.apps " + ns + "/bad", File: "11.yaml", Problem: "failed"},
		{Action: Update, Object: "Secret " + ns + "/keys", File: "4.yaml", Diff: "@@ -1,6 +1,6 @@\n apiVersion: v1\n data:\n-  a: (not shown)\n+  a: (not shown) (another one)\n   b: (not shown)\n kind: Secret\n metadata:\n"},
		{Action: Add, Object: "ConfigMap " + ns + "-new/inside", File: "6.yaml", Note: "its namespace comes with this package: the API server cannot check it yet"},
		{Action: Add, Object: "ConfigMap " + ns + "/fresh", File: "3.yaml"},
		{Action: Add, Object: "CustomResourceDefinition.apiextensions.k8s.io things.example.com", File: "7.yaml"},
		{Action: Add, Object: "Namespace " + ns + "-new", File: "5.yaml"},
		{Action: Add, Object: "Nothing.unknown.example.com one", File: "9.yaml", Problem: "the"},
		{Action: Add, Object: "Thing.example.com one", File: "8.yaml", Note: "its kind comes with this package: the API server cannot check it yet"},
		{Action: Delete, Object: "ConfigMap " + ns + "/leaves"},
	}
	if diff := cmp.Diff(want, got.Changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if got.Same != 1 || len(got.Unknown) > 0 {
		t.Errorf("%d objects stay, and unknown is %q", got.Same, got.Unknown)
	}
	if text := fmt.Sprint(got); strings.Contains(text, "canary") || strings.Contains(text, "Y2FuYXJ5") { // in base64
		t.Errorf("a value of a Secret is shown: %s", text)
	}
	if after := world(t.Context(), t, api); after != before {
		t.Errorf("something was written (-before +after):\n%s", cmp.Diff(before, after))
	}
}

// Who knows what the member holds is told what of it leaves, and nothing needs to be searched for.
func TestPreviewOfWhatIsHeld(t *testing.T) {
	config := kubetest.Start(t)
	api := kubernetes.NewForConfigOrDie(config)
	ns := kubetest.Namespace(t, config)
	maps := "/api/v1/namespaces/" + ns + "/configmaps/"
	for _, name := range []string{"stays", "leaves", "unknown"} {
		apply(t, api, v1alpha1.FieldManager, maps+name, configMap(ns, name, "old"))
	}
	apply(t, api, "somebody", maps+"theirs", configMap(ns, "theirs", "old"))
	key := func(name string) bundle.Key { return bundle.Key{Kind: "ConfigMap", Namespace: ns, Name: name} }
	held := content(t, configMap(ns, "stays", "old")).Holding(map[bundle.Key]Held{
		key("stays"): {}, key("leaves"): {}, key("theirs"): {}, key("gone"): {}, {Group: "unknown.example.com", Kind: "Nothing", Name: "one"}: {},
	})
	member, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	got, err := member.Of(t.Context(), held)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Change{{Action: Delete, Object: "ConfigMap " + ns + "/leaves"}}, got.Changes); diff != "" || got.Same != 1 || len(got.Unknown) > 0 {
		t.Errorf("%d stay, unknown is %q, changes (-want +got):\n%s", got.Same, got.Unknown, diff)
	}
	eve := rest.CopyConfig(config)
	eve.Impersonate = rest.ImpersonationConfig{UserName: "eve"}
	if member, err = Open(eve); err != nil {
		t.Fatal(err)
	}
	if got, err = member.Of(t.Context(), held); err != nil || len(got.Unknown) != 3 {
		t.Errorf("who may see nothing is told %+v, and %v", got, err)
	}
}

// Who may not look at everything is told what is not known, and nobody who cannot be asked is taken for one who has nothing.
func TestPreviewOfWhatCannotBeSeen(t *testing.T) {
	config := kubetest.Start(t)
	ns := kubetest.Namespace(t, config)
	eve := rest.CopyConfig(config)
	eve.Impersonate = rest.ImpersonationConfig{UserName: "eve"}
	member, err := Open(eve)
	if err != nil {
		t.Fatal(err)
	}
	got, err := member.Of(t.Context(), content(t, configMap(ns, "fresh", "new")))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Changes) != 1 || !strings.Contains(got.Changes[0].Problem, `User "eve" cannot get resource "configmaps"`) {
		t.Errorf("changes: %+v", got.Changes)
	}
	if text := strings.Join(got.Unknown, "\n"); !strings.Contains(text, "whether configmaps would be deleted: configmaps is forbidden") {
		t.Errorf("unknown: %s", text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := member.Of(ctx, content(t, configMap(ns, "fresh", "new"))); err == nil {
		t.Error("who was not asked has said something")
	}
}

func TestIsOurs(t *testing.T) {
	entry := metav1.ManagedFieldsEntry{Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply}
	if status := entry; !isOurs([]metav1.ManagedFieldsEntry{status}) {
		t.Error("an apply of the agent is not ours")
	}
	entry.Operation = metav1.ManagedFieldsOperationUpdate
	if isOurs([]metav1.ManagedFieldsEntry{entry}) {
		t.Error("an update in the agent's name is ours")
	}
}

// The hash is of what changes: not of the lines around it, and of nothing else that may be the same.
func TestHash(t *testing.T) {
	one := Change{Action: Update, Object: "ConfigMap a/b", Diff: "@@ -1,3 +1,3 @@\n context: 1\n-  a: 1\n+  a: 2\n"}
	around := one
	around.Diff = "@@ -9,3 +9,3 @@\n context: 2\n-  a: 1\n+  a: 2\n"
	base := (&Preview{Changes: []Change{one}}).Hash()
	if got := (&Preview{Changes: []Change{around}, Same: 7}).Hash(); got != base {
		t.Error("what stands around a change counts")
	}
	gone := Change{Action: Delete, Object: "ConfigMap a/c"}
	with := &Preview{Changes: []Change{one, gone}}
	if with.Hash() != base || len(with.Deletes()) != 1 || with.Deletes()[0] != gone.Object {
		t.Errorf("a delete counts as a change, or not as one: %q", with.Deletes())
	}
	line, problem := one, one
	line.Diff = "@@ -1,3 +1,3 @@\n context: 1\n-  a: 1\n+  a: 3\n"
	problem.Problem = "no"
	for reason, changes := range map[string][]Change{
		"nothing": nil, "another line": {line}, "only a delete": {gone}, "a problem": {problem}, "twice": {one, one},
	} {
		if got := (&Preview{Changes: changes}).Hash(); got == base {
			t.Errorf("%s has the same hash", reason)
		}
	}
}

// TestPreviewIntoANamespaceThatIsNotThere: an API server lets each request wait for such a namespace, so what it would say of each object is
// asked for a few of each kind.
func TestPreviewIntoANamespaceThatIsNotThere(t *testing.T) {
	config := rest.CopyConfig(kubetest.Start(t))
	var asked atomic.Int64
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return counting(func(r *http.Request) (*http.Response, error) {
			if strings.Contains(r.URL.Path, "/namespaces/not-there/") {
				asked.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	const many = 400
	manifests := []string{"apiVersion: v1\nkind: Namespace\nmetadata: {name: not-there}\n"}
	for i := range many {
		manifests = append(manifests, configMap("not-there", fmt.Sprint("a", i), "new"))
	}
	member, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	unheard, err := Prepare("default/not-there", entries(t, manifests...))
	if err != nil {
		t.Fatal(err)
	}
	got, err := member.Of(t.Context(), unheard)
	if err != nil {
		t.Fatal(err)
	}
	noted := 0
	for _, change := range got.Changes {
		if change.Action != Add || change.Problem != "" {
			t.Errorf("%+v", change)
		}
		if change.Note != "" {
			noted++
		}
	}
	if noted != many || len(got.Changes) != many+1 || len(got.Unknown) != 0 {
		t.Errorf("%d changes, %d with a note, unknown %v", len(got.Changes), noted, got.Unknown)
	}
	if n := asked.Load(); n == 0 || n > 2*inFlight {
		t.Errorf("the API server was asked %d times about %d objects", n, many)
	}
}

type counting func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (c counting) RoundTrip(r *http.Request) (*http.Response, error) { return c(r) }

// TestPreviewAsksForTheNamesOfMany: which of many objects are there is one question, of few and among far more it is one for each.
func TestPreviewAsksForTheNamesOfMany(t *testing.T) {
	config := rest.CopyConfig(kubetest.Start(t))
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	namespaces := client.CoreV1().Namespaces()
	if _, err := namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "there"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var gets, lists atomic.Int64
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return counting(func(r *http.Request) (*http.Response, error) {
			switch at := "/api/v1/namespaces/there/configmaps"; {
			case r.Method != http.MethodGet:
			case r.URL.Path == at:
				lists.Add(1)
			case strings.HasPrefix(r.URL.Path, at+"/"):
				gets.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	apply(t, client, "tests", "/apis/rbac.authorization.k8s.io/v1/namespaces/there/roles/gets", `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: gets, namespace: there}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get, create, patch]}]
`)
	apply(t, client, "tests", "/apis/rbac.authorization.k8s.io/v1/namespaces/there/rolebindings/gets", `apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: gets, namespace: there}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: gets}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: carol}]
`)
	may(t, client, "carol", "get", "there")
	const many, there = 2 * listFrom, 3
	for i := range there {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("a", i)}, Data: map[string]string{"text": "old"}}
		if _, err := client.CoreV1().ConfigMaps("there").Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		what        string
		objects     int
		as          string
		gets, lists int64
	}{
		{"many", many, "", there, 1},
		{"few", listFrom - 1, "", listFrom - 1, 0},
		{"many, by one who may not list them", many, "carol", many, 1},
	} {
		gets.Store(0)
		lists.Store(0)
		config := rest.CopyConfig(config)
		config.Impersonate.UserName = c.as
		member, err := Open(config)
		if err != nil {
			t.Fatal(err)
		}
		var manifests []string
		for i := range c.objects {
			manifests = append(manifests, configMap("there", fmt.Sprint("a", i), "new"))
		}
		content, err := Prepare("default/there", entries(t, manifests...))
		if err != nil {
			t.Fatal(err)
		}
		found, err := member.Of(t.Context(), content.Holding(nil))
		if err != nil {
			t.Fatal(err)
		}
		actions := map[Action]int{}
		for _, change := range found.Changes {
			actions[change.Action]++
		}
		if actions[Update] != there || actions[Add] != c.objects-there || len(found.Unknown) > 0 {
			t.Errorf("%s: %v, unknown %v", c.what, actions, found.Unknown)
		}
		if gets.Load() != c.gets || lists.Load() != c.lists {
			t.Errorf("%s: %d gets and %d lists, want %d and %d", c.what, gets.Load(), lists.Load(), c.gets, c.lists)
		}
	}
}

// TestPreviewThatTrusts: who looks again has a few new objects of each kind and namespace tried, and hears what is wrong with all of them. What
// is there is looked at as ever.
func TestPreviewThatTrusts(t *testing.T) {
	config := rest.CopyConfig(kubetest.Start(t))
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "trusted"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	apply(t, client, "tests", "/apis/rbac.authorization.k8s.io/v1/clusterroles/reader", `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get, list]}]
`)
	apply(t, client, "tests", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/reader", `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: reader}]
`)
	may(t, client, "reader", "get", "trusted")
	there := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a0"}, Data: map[string]string{"key": "old"}}
	if _, err := client.CoreV1().ConfigMaps("trusted").Create(t.Context(), there, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var tried atomic.Int64
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return counting(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPatch {
				tried.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	look := func(as string, trusting bool) *Preview {
		t.Helper()
		config := rest.CopyConfig(config)
		config.Impersonate.UserName = as
		member, err := Open(config)
		if err != nil {
			t.Fatal(err)
		}
		var manifests []string
		for i := range 3 * few {
			manifests = append(manifests, configMap("trusted", fmt.Sprint("a", i), "new"))
		}
		content, err := Prepare("default/trusting", entries(t, manifests...))
		if err != nil {
			t.Fatal(err)
		}
		if content.Holding(nil); trusting {
			content.Trusting()
		}
		tried.Store(0)
		found, err := member.Of(t.Context(), content)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	before := look("", false)
	if n := tried.Load(); n != 3*few {
		t.Errorf("a plan tried %d of %d objects", n, 3*few)
	}
	after := look("", true)
	if n := tried.Load(); n != few+1 { // and the one that is there
		t.Errorf("who looks again tried %d objects, want %d", n, few+1)
	}
	if diff := cmp.Diff(before.Changes, after.Changes); diff != "" || before.Hash() != after.Hash() {
		t.Errorf("who looks again sees something else:\n%s", diff)
	}
	refused := 0
	for _, change := range look("reader", true).Changes {
		if change.Problem != "" {
			refused++
		}
	}
	if refused != few+1 {
		t.Errorf("%d objects would be refused, of %d that were tried", refused, few+1)
	}
}

// TestTrustingLooksShare: looks that trust, at the same member within a moment, ask once which kinds there are and which objects are in a place; what a
// package is known to hold is asked for all the same, and a look that does not trust, or comes after Forget, sees what has happened meanwhile.
func TestTrustingLooksShare(t *testing.T) {
	config := rest.CopyConfig(kubetest.Start(t))
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shared"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var kinds, lists atomic.Int64
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return counting(func(r *http.Request) (*http.Response, error) {
			switch {
			case r.URL.Path == "/apis":
				kinds.Add(1)
			case r.URL.Query().Has("limit"):
				lists.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	member, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for i := range listFrom {
		names = append(names, fmt.Sprint("b", i))
	}
	// look returns how many objects would be added.
	look := func(trusting bool, held ...string) (added int) {
		t.Helper()
		var manifests []string
		for _, name := range names {
			manifests = append(manifests, configMap("shared", name, "new"))
		}
		content, err := Prepare("default/sharing", entries(t, manifests...))
		if err != nil {
			t.Fatal(err)
		}
		holds := map[bundle.Key]Held{}
		for _, name := range held {
			holds[bundle.Key{Kind: "ConfigMap", Namespace: "shared", Name: name}] = Held{}
		}
		if content.Holding(holds); trusting {
			content.Trusting()
		}
		found, err := member.Of(t.Context(), content)
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range found.Changes {
			if change.Action == Add {
				added++
			}
		}
		return added
	}
	asked := func(what string, wantKinds, wantLists int64) {
		t.Helper()
		if k, l := kinds.Swap(0), lists.Swap(0); k != wantKinds || l != wantLists {
			t.Errorf("%s: asked %d times for kinds and %d for names, want %d and %d", what, k, l, wantKinds, wantLists)
		}
	}
	member.listings.keep, member.catalog.keep = time.Hour, time.Hour // however slow the machine
	aged := func() {
		member.catalog.kinds.since = member.catalog.kinds.since.Add(-2 * time.Hour)
		for in, l := range member.listings.of {
			l.since = l.since.Add(-2 * time.Hour)
			member.listings.of[in] = l
		}
	}
	if added := look(true); added != listFrom {
		t.Errorf("%d of %d objects would be added", added, listFrom)
	}
	asked("the first look", 1, 1)
	there := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "b0"}, Data: map[string]string{"key": "old"}}
	if _, err := client.CoreV1().ConfigMaps("shared").Create(t.Context(), there, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	look(true) // and may see it all the same, if it is one of the few that are tried
	asked("a moment later", 0, 0)
	if added := look(true, "b0"); added != listFrom-1 {
		t.Errorf("of a package that holds one, %d of %d objects would be added", added, listFrom)
	}
	asked("of a package that holds one", 0, 0)
	if added := look(false); added != listFrom-1 {
		t.Errorf("who does not trust sees %d of %d objects that would be added", added, listFrom)
	}
	asked("who does not trust", 1, 1)
	if member.Forget(); look(true) != listFrom-1 {
		t.Error("what was to be forgotten was not")
	}
	asked("after Forget", 1, 1)
	aged()
	look(true)
	asked("when it is a while ago", 1, 1)
	aged()
	member.catalog.sweep()
	member.listings.sweep()
	if member.catalog.kinds != nil || len(member.listings.of) > 0 {
		t.Error("what is not recent is kept")
	}
}
