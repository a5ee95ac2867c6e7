package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/backup"
	"umbel.dev/umbel/internal/kube/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// api is an API that serves our kinds, of a test alone.
func api(t *testing.T) (*rest.Config, client.Client) {
	t.Helper()
	own, err := kubetest.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Stop)
	kubetest.InstallCRDs(t, own.Config)
	kubetest.InstallRules(t, own.Config)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(own.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}})
	return own.Config, c
}

func create(t *testing.T, c client.Client, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// populate makes what a hub has, and something that is others'.
func populate(t *testing.T, c client.Client) {
	t.Helper()
	system, shop := v1alpha1.SystemNamespace, "shop"
	pkg := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "web"}, Spec: v1alpha1.PackageSpec{
		PlacementRef: v1alpha1.LocalReference{Name: "all"}, Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example/fleet.git"}},
	}}
	member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "prod-eu", Labels: map[string]string{"env": "prod"}, Finalizers: []string{v1alpha1.Finalizer}}}
	leaving := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "leaving", Finalizers: []string{v1alpha1.Finalizer}}}
	placement := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "all"}}
	create(t, c,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: shop, Labels: map[string]string{"team": "shop"}}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "others"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "umbel-member-ca"}, Data: map[string][]byte{"tls.key": []byte("k")}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "others", Name: "theirs"}, Data: map[string][]byte{"password": []byte("hunter2")}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "fleet-readers"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"umbel.dev"}, Resources: []string{"*"}, Verbs: []string{"get"}}}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "others"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"apps"}, Resources: []string{"*"}, Verbs: []string{"get"}}}},
		placement, pkg, member, leaving,
		// Of the namespace of a package, and of people who share it.
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "their-ci"}},
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "their-deployers"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"apps"}, Resources: []string{"*"}, Verbs: []string{"*"}}}},
		rulesNamed(system, "ours", "vector(1)"), rulesNamed(shop, "theirs", "vector(1)"),
		bind(shop, "their-ci", "Role", "their-deployers"), bind(shop, "their-admins", "ClusterRole", "admin"),
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "packagers"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"umbel.dev"}, Resources: []string{"packages"}, Verbs: []string{"*"}}}},
		bind(shop, "our-packagers", "Role", "packagers"), bind(shop, "our-readers", "ClusterRole", "fleet-readers"),
	)
	release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "web-1", OwnerReferences: []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "Package", Name: "web", UID: pkg.UID,
	}}}, Spec: v1alpha1.ReleaseSpec{PackageRef: v1alpha1.LocalReference{Name: "web"}, Source: pkg.Spec.Source, Revision: "r1", Repository: "shop/web",
		Variants: []v1alpha1.Variant{{Digest: "sha256:" + strings.Repeat("a", 64)}}}}
	create(t, c, release)
	placement.Spec.ClusterSelector = metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}
	for _, err := range []error{
		c.Update(t.Context(), placement), // its generation is 2 now
		status(t, c, placement, func() {
			placement.Status.ObservedGeneration, placement.Status.Clusters = placement.Generation, []v1alpha1.ClusterName{"prod-eu"}
		}),
		status(t, c, pkg, func() {
			pkg.Status.Release = "web-1"
			pkg.Status.Conditions = []metav1.Condition{{Type: "Rendered", Status: "True", Reason: "Rendered", LastTransitionTime: metav1.Now()}}
		}),
		status(t, c, member, func() { member.Status.Identity = &v1alpha1.MemberIdentity{KeyFingerprint: "f"} }),
		c.Delete(t.Context(), leaving),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// rulesNamed are rules with one expression.
func rulesNamed(namespace, name, expr string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": map[string]any{"namespace": namespace, "name": name},
		"spec": map[string]any{"groups": []any{map[string]any{"name": "g", "rules": []any{map[string]any{"record": "r", "expr": expr}}}}},
	}}
}

// bind gives a role to ada in a namespace.
func bind(namespace, name, kind, role string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "ada"}},
	}
}

func status(t *testing.T, c client.Client, o client.Object, change func()) error {
	before := o.DeepCopyObject().(client.Object)
	change()
	return c.Status().Patch(t.Context(), o, client.MergeFrom(before))
}

// dying ends with an error from its nth write on, as a process that was killed there.
type dying struct {
	http.RoundTripper
	left int
}

var errKilled = errors.New("killed")

func (d *dying) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		if d.left--; d.left < 0 {
			return nil, errKilled
		}
	}
	return d.RoundTripper.RoundTrip(r)
}

// TestARestoreThatIsKilledAtEveryWrite ends as one that was not, and until then no hub would start.
func TestARestoreThatIsKilledAtEveryWrite(t *testing.T) {
	from, old := api(t)
	populate(t, old)
	var file bytes.Buffer
	taken, err := backup.Take(t.Context(), backup.Hub{Config: from, Host: backup.Shared, Version: "v1", Now: time.Now,
		Blob: func(string, string) ([]byte, error) { return []byte("content"), nil }}, &file)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"Namespace": 2, "Secret": 1, "ClusterRole": 1, "ClusterRoleBinding": 2 /* of every embedded API */, "MemberCluster": 2, "Placement": 1, "Package": 1, "Release": 1,
		"Role": 1, "RoleBinding": 2, "PrometheusRule": 1}
	if diff := cmp.Diff(want, taken.Objects); diff != "" {
		t.Errorf("what is in it (-want +got):\n%s", diff)
	}
	if strings.Contains(file.String(), "hunter2") {
		t.Error("what is others' is in it")
	}
	archive, err := backup.Open(bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	to, fresh := api(t)
	guard := client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: backup.Guard}
	pushed := ""
	for writes := 0; ; writes++ {
		config := rest.CopyConfig(to)
		config.Wrap(func(rt http.RoundTripper) http.RoundTripper { return &dying{rt, writes} })
		err := archive.Restore(t.Context(), backup.Target{Config: config, Mapper: fresh.RESTMapper(), Now: time.Now, Push: func(_ context.Context, repository string, raw []byte) error {
			pushed = repository + " " + string(raw)
			return nil
		}})
		if err == nil {
			break
		}
		if !errors.Is(err, errKilled) || writes > 100 {
			t.Fatalf("after %d writes: %v", writes, err)
		}
		if err := fresh.Get(t.Context(), guard, &corev1.ConfigMap{}); writes > 0 && err != nil {
			t.Fatalf("killed after %d writes, it has no guard: %v", writes, err)
		}
	}
	if err := fresh.Get(t.Context(), guard, &corev1.ConfigMap{}); !apierrors.IsNotFound(err) {
		t.Errorf("its guard stands: %v", err)
	}
	if pushed != "shop/web content" {
		t.Errorf("content: %q", pushed)
	}
	checkRestored(t, fresh)
	err = archive.Restore(t.Context(), backup.Target{Config: to, Mapper: fresh.RESTMapper(), Now: time.Now})
	if err == nil || !strings.Contains(err.Error(), "a hub is there already") {
		t.Errorf("onto a hub: %v", err)
	}
}

// checkRestored looks at what populate made, in another API.
func checkRestored(t *testing.T, c client.Client) {
	t.Helper()
	get := func(namespace, name string, o client.Object) {
		t.Helper()
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o); err != nil {
			t.Error(err)
		}
	}
	var pkg v1alpha1.Package
	var release v1alpha1.Release
	var placement v1alpha1.Placement
	var member, leaving v1alpha1.MemberCluster
	var secret corev1.Secret
	var shop, system corev1.Namespace
	get("", v1alpha1.SystemNamespace, &system)
	get("shop", "web", &pkg)
	get("shop", "web-1", &release)
	get("shop", "all", &placement)
	get("", "prod-eu", &member)
	get("", "leaving", &leaving)
	get(v1alpha1.SystemNamespace, "umbel-member-ca", &secret)
	get("", "shop", &shop)
	ours := rulesNamed("", "", "")
	get(v1alpha1.SystemNamespace, "ours", ours)
	get("", "fleet-readers", &rbacv1.ClusterRole{})
	get("shop", "packagers", &rbacv1.Role{})
	get("shop", "our-packagers", &rbacv1.RoleBinding{})
	get("shop", "our-readers", &rbacv1.RoleBinding{})
	for what, ok := range map[string]bool{
		"the release is its package's":        len(release.OwnerReferences) == 1 && release.OwnerReferences[0].UID == pkg.UID,
		"the package is restored":             pkg.Annotations[v1alpha1.RestoredAnnotation] != "" && pkg.Status.Release == "web-1" && len(pkg.Status.Conditions) == 0,
		"the decision stands":                 placement.Status.ObservedGeneration == placement.Generation && fmt.Sprint(placement.Status.Clusters) == "[prod-eu]",
		"the key is pinned":                   member.Status.Identity != nil && member.Status.Identity.KeyFingerprint == "f" && member.Labels["env"] == "prod",
		"nobody has forgotten who leaves":     !leaving.DeletionTimestamp.IsZero() && len(leaving.Finalizers) == 1,
		"agents can tell it from the old one": system.Annotations[v1alpha1.EpochAnnotation] > "1700000000",
		"the CA's key is there":               string(secret.Data["tls.key"]) == "k",
		"the rules say what they said":        cmp.Equal(ours.Object["spec"], rulesNamed("", "", "vector(1)").Object["spec"]),
		"nor rules of others":                 apierrors.IsNotFound(c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "theirs"}, rulesNamed("", "", ""))),
		"the namespace has its labels":        shop.Labels["team"] == "shop",
		"nor what shares our namespaces":      apierrors.IsNotFound(c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "their-ci"}, &rbacv1.RoleBinding{})),
		"what is others' was not brought in":  apierrors.IsNotFound(c.Get(t.Context(), client.ObjectKey{Name: "others"}, &corev1.Namespace{})),
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
}
