package scope

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

func shop() *v1alpha1.Scope {
	return &v1alpha1.Scope{
		ObjectMeta: metav1.ObjectMeta{Name: "shop", UID: "uid", Generation: 2},
		Spec: v1alpha1.ScopeSpec{
			Users: []string{"ada", "system:serviceaccount:default:ci"}, Groups: []string{"team-shop", "system:serviceaccounts:default"}, Role: "edit",
			ServiceAccounts: []string{"shop/deployer"},
			ClusterSelector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}, Namespaces: []string{"shop", "shop-test"},
		},
	}
}

func TestPackage(t *testing.T) {
	pkg, err := Package(shop())
	if err != nil {
		t.Fatal(err)
	}
	if pkg.Namespace+"/"+pkg.Name != "umbel-system/scope-shop" || pkg.Spec.PlacementRef.Name != Placement(shop()).Name || !metav1.IsControlledBy(pkg, shop()) {
		t.Errorf("package %s/%s of placement %q, owned by %v", pkg.Namespace, pkg.Name, pkg.Spec.PlacementRef.Name, pkg.OwnerReferences)
	}
	var bindings []rbacv1.RoleBinding
	for _, object := range pkg.Spec.Source.Inline.Objects {
		var b rbacv1.RoleBinding
		if err := json.Unmarshal(object.Raw, &b); err != nil {
			t.Fatal(err)
		}
		bindings = append(bindings, b)
	}
	want := rbacv1.RoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "umbel:scope:shop:edit", Labels: map[string]string{"umbel.dev/scope": "shop"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "edit"},
		Subjects: []rbacv1.Subject{
			{APIGroup: "rbac.authorization.k8s.io", Kind: "User", Name: "ada"},
			{APIGroup: "rbac.authorization.k8s.io", Kind: "User", Name: "hub:system:serviceaccount:default:ci"}, // as the member sees it
			{APIGroup: "rbac.authorization.k8s.io", Kind: "Group", Name: "team-shop"},
			{APIGroup: "rbac.authorization.k8s.io", Kind: "Group", Name: "hub:system:serviceaccounts:default"},
			{Kind: "ServiceAccount", Namespace: "shop", Name: "deployer"}, // which is the member's own
		},
	}
	test := *want.DeepCopy()
	test.Namespace = "shop-test"
	if diff := cmp.Diff([]rbacv1.RoleBinding{want, test}, bindings); diff != "" {
		t.Errorf("bindings (-want +got):\n%s", diff)
	}

	everywhere := shop()
	everywhere.Spec.Namespaces = []string{"*"}
	if pkg, err = Package(everywhere); err != nil {
		t.Fatal(err)
	}
	object := pkg.Spec.Source.Inline.Objects[0]
	if len(pkg.Spec.Source.Inline.Objects) != 1 || object.Kind != "ClusterRoleBinding" || object.Metadata.Namespace != "" {
		t.Errorf("for every namespace: got %s", object.Raw)
	}
}

// TestBindingsNeverMeet: two Scopes, and two roles of one Scope, have bindings of different names.
func TestBindingsNeverMeet(t *testing.T) {
	seen := map[string]bool{}
	for _, of := range [][2]string{{"a", "edit"}, {"a", "view"}, {"b", "edit"}, {"a-edit", "view"}, {"a", "edit:x"}} {
		name := bindingName(of[0], of[1])
		if seen[name] {
			t.Errorf("%v has the name %s of another", of, name)
		}
		seen[name] = true
	}
}

func TestAccess(t *testing.T) {
	got := Access(shop(), []v1alpha1.ClusterName{"prod-us", "prod-eu"})
	want := []rbacv1.PolicyRule{{APIGroups: []string{"umbel.dev"}, Resources: []string{"memberclusters"}, ResourceNames: []string{"prod-eu", "prod-us"}, Verbs: []string{"get", "proxy"}}}
	if diff := cmp.Diff(want, got.Rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	// A rule that names no object allows every one.
	for _, none := range [][]v1alpha1.ClusterName{nil, {}} {
		if got := Access(shop(), none); len(got.Rules) != 0 {
			t.Errorf("of no cluster: got %v, want no rule", got.Rules)
		}
	}
	every := shop()
	every.Spec.ClusterSelector = metav1.LabelSelector{}
	want[0].ResourceNames = nil
	if diff := cmp.Diff(want, Access(every, []v1alpha1.ClusterName{"prod-us", "prod-eu"}).Rules); diff != "" {
		t.Errorf("of every cluster (-want +got):\n%s", diff)
	}
	binding := AccessBinding(shop())
	if binding.RoleRef.Name != got.Name || len(binding.Subjects) != 4 || binding.Subjects[1].Name != "system:serviceaccount:default:ci" {
		t.Errorf("binding %+v, want the people as the hub knows them", binding)
	}
}

func TestConditions(t *testing.T) {
	placement := func(observed int64, status metav1.ConditionStatus, message string, clusters ...v1alpha1.ClusterName) *v1alpha1.Placement {
		p := Placement(shop())
		p.Generation, p.Status.ObservedGeneration, p.Status.Clusters = 3, observed, clusters
		if status != "" {
			meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionDecided, Status: status, Reason: "R", Message: message, ObservedGeneration: 3})
		}
		return p
	}
	stale := placement(3, metav1.ConditionTrue, "", "a")
	stale.Generation = 4
	text := func(c metav1.Condition) string {
		return c.Type + " " + string(c.Status) + " " + c.Reason + " " + c.Message
	}
	for _, tc := range []struct {
		reason            string
		placement         *v1alpha1.Placement
		decided           bool
		placed, reachable string
	}{
		{"decided", placement(3, metav1.ConditionTrue, "", "a", "b"), true, "Placed True Placed 2 clusters are selected", "Reachable True Reachable the hub lets its people through to 2 clusters"},
		{"decided: none", placement(3, metav1.ConditionTrue, ""), true, "Placed True NoClusters no cluster is selected", "Reachable True Reachable the hub lets its people through to 0 clusters"},
		{"new", placement(0, "", ""), false, "Placed False Undecided which clusters are selected is not decided; what stood before stays", "Reachable False Undecided"},
		{"a broken selector", placement(2, metav1.ConditionFalse, "spec.clusterSelector: broken", "a"), false, "Placed False Undecided spec.clusterSelector: broken", "Reachable False Undecided"},
		{"a decision on another spec", stale, false, "Placed False Undecided which", "Reachable False Undecided"},
	} {
		if got := Decided(tc.placement); got != tc.decided {
			t.Errorf("%s: decided %t", tc.reason, got)
		}
		if got := text(Placed(tc.placement)); !strings.HasPrefix(got, tc.placed) {
			t.Errorf("%s: got %q, want %q", tc.reason, got, tc.placed)
		}
		if got := text(Reachable(tc.placement)); !strings.HasPrefix(got, tc.reachable) {
			t.Errorf("%s: got %q, want %q", tc.reason, got, tc.reachable)
		}
	}

	pkg := func(change func(*v1alpha1.Package)) *v1alpha1.Package {
		p := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: "umbel-system", Name: "scope-shop", Generation: 2}}
		meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Delivered", Message: "on 2/2", ObservedGeneration: 2})
		change(p)
		return p
	}
	for _, tc := range []struct {
		reason string
		pkg    *v1alpha1.Package
		want   string
	}{
		{"as the Package says", pkg(func(*v1alpha1.Package) {}), "Delivered True Delivered on 2/2"},
		{"the Package is changed", pkg(func(p *v1alpha1.Package) { p.Generation = 3 }), "Delivered Unknown Delivering package umbel-system/scope-shop has not been looked at yet"},
		{"the Package is new", pkg(func(p *v1alpha1.Package) { p.Status.Conditions = nil }), "Delivered Unknown Delivering"},
		{"the Package is going", pkg(func(p *v1alpha1.Package) {
			now := metav1.NewTime(time.Unix(1, 0))
			p.DeletionTimestamp = &now
			meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionDelivered, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDeleting, Message: "waiting for clusters: edge"})
		}), "Delivered False Deleting waiting for clusters: edge"},
	} {
		if got := text(Delivered(tc.pkg)); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
		}
	}
}
