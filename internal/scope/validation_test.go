package scope_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
)

// mayI asks the API whether a person may reach a cluster through the hub.
func mayI(w *world, as client.Client, cluster v1alpha1.ClusterName) bool {
	w.t.Helper()
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "proxy", Group: "umbel.dev", Resource: "memberclusters", Name: string(cluster)},
	}}
	w.must(as.Create(w.t.Context(), review))
	return review.Status.Allowed
}

// TestTheAPIRefusesBadScopes: what can be told from a Scope alone is refused when it is written, with the field.
func TestTheAPIRefusesBadScopes(t *testing.T) {
	w := start(t)
	for i, tc := range []struct {
		reason string
		change func(*v1alpha1.Scope)
		want   string // empty: it is taken
	}{
		{"a Scope", func(*v1alpha1.Scope) {}, ""},
		{"a name that is no DNS label", func(s *v1alpha1.Scope) { s.Name = "a.b" }, "the name of a Scope is a DNS label"},
		{"a name that is too long", func(s *v1alpha1.Scope) { s.Name = strings.Repeat("a", 58) }, "at most 57 characters"},
		{"the longest name", func(s *v1alpha1.Scope) { s.Name = strings.Repeat("a", 57) }, ""},
		{"nobody", func(s *v1alpha1.Scope) { s.Spec.Users = nil }, "users, groups and serviceAccounts are all empty"},
		{"a group alone", func(s *v1alpha1.Scope) { s.Spec.Users, s.Spec.Groups = nil, []string{"team"} }, ""},
		{"a ServiceAccount alone", func(s *v1alpha1.Scope) { s.Spec.Users, s.Spec.ServiceAccounts = nil, []string{"shop/deployer"} }, ""},
		{"a ServiceAccount without a namespace", func(s *v1alpha1.Scope) { s.Spec.ServiceAccounts = []string{"deployer"} }, "a ServiceAccount of the clusters is NAMESPACE/NAME"},
		{"a user without a name", func(s *v1alpha1.Scope) { s.Spec.Users = []string{""} }, "spec.users[0]"},
		{"a user twice", func(s *v1alpha1.Scope) { s.Spec.Users = []string{"a", "a"} }, `spec.users[1]: Duplicate value: "a"`},
		{"everybody", func(s *v1alpha1.Scope) { s.Spec.Groups = []string{"system:authenticated"} }, `spec.groups: Invalid value: system:authenticated and`},
		{"nobody in particular", func(s *v1alpha1.Scope) { s.Spec.Users = []string{"system:anonymous"} }, `spec.users: Invalid value: system:anonymous is`},
		{"no role", func(s *v1alpha1.Scope) { s.Spec.Role = "" }, "spec.role"},
		{"a role that cannot be", func(s *v1alpha1.Scope) { s.Spec.Role = "a/b" }, `spec.role: Invalid value: "a/b": role is the name of a ClusterRole`},
		{"a role of Kubernetes' own", func(s *v1alpha1.Scope) { s.Spec.Role = "system:aggregate-to-view" }, ""},
		{"no namespace", func(s *v1alpha1.Scope) { s.Spec.Namespaces = []string{} }, "spec.namespaces"},
		{"a namespace that cannot be", func(s *v1alpha1.Scope) { s.Spec.Namespaces = []string{"shop", "Shop"} }, `spec.namespaces[1]: Invalid value: "Shop": a namespace is a DNS label`},
		{"every namespace", func(s *v1alpha1.Scope) { s.Spec.Namespaces = []string{"*"} }, ""},
		{"every namespace and one", func(s *v1alpha1.Scope) { s.Spec.Namespaces = []string{"*", "shop"} }, `spec.namespaces: Invalid value: '*' stands for every namespace`},
		{"every cluster", func(s *v1alpha1.Scope) { s.Spec.ClusterSelector = metav1.LabelSelector{} }, ""},
		{"a selector that means nothing", func(s *v1alpha1.Scope) {
			s.Spec.ClusterSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "env", Operator: "Like", Values: []string{"prod"}}}
		}, ": matchExpressions: operator is one of"},
	} {
		s := w.scope(fmt.Sprintf("bad-%d", i))
		tc.change(s)
		err := w.Create(t.Context(), s)
		if tc.want == "" && err != nil {
			t.Errorf("%s was refused: %v", tc.reason, err)
		}
		if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %q in it", tc.reason, err, tc.want)
		}
	}
	// A selector is given, be it empty: that nothing was said is not to say "all".
	raw := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"users": []any{"ada"}, "role": "view", "namespaces": []any{"shop"}}}}
	raw.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Scope"))
	raw.SetName("unsaid")
	if err := w.Create(t.Context(), raw); err == nil || !strings.Contains(err.Error(), "spec.clusterSelector: Required value") {
		t.Errorf("no selector: got %v", err)
	}
}

// TestWhoMayGiveARole: a Scope gives away a role, and takes the verb that Kubernetes asks for that.
func TestWhoMayGiveARole(t *testing.T) {
	w := start(t)
	w.installPolicies()
	lead := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "team-lead"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"umbel.dev"}, Resources: []string{"scopes"}, Verbs: []string{"*"}},
		{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}, ResourceNames: []string{"view", "edit"}, Verbs: []string{"bind"}},
	}}
	w.must(w.Create(t.Context(), lead))
	w.must(w.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "team-lead"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "team-lead"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "lena"}},
	}))
	config := rest.CopyConfig(w.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "lena"}
	lena, err := client.New(config, client.Options{Scheme: w.Scheme()})
	w.must(err)
	const want = `spec.role: lena may not give role "cluster-admin" to others: that takes the verb "bind" on clusterroles.rbac.authorization.k8s.io "cluster-admin" on the hub`
	refused := func(err error) string {
		if err == nil || !strings.Contains(err.Error(), want) {
			return fmt.Sprintf("got %v", err)
		}
		return ""
	}
	w.eventually("the policy holds", func() string { // an API server takes a moment to learn of one
		s := w.scope("too-much")
		s.Spec.Role = "cluster-admin"
		return refused(lena.Create(t.Context(), s, client.DryRunAll))
	})
	mine := w.scope("mine")
	w.must(lena.Create(t.Context(), mine))
	patch := func(by client.Client, text string) error {
		return by.Patch(t.Context(), mine.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(text)))
	}
	if complaint := refused(patch(lena, `{"spec":{"role":"cluster-admin"}}`)); complaint != "" {
		t.Errorf("by a change: %s", complaint)
	}
	w.must(patch(lena, `{"spec":{"role":"edit"}}`))
	w.must(patch(w.Client, `{"spec":{"role":"cluster-admin"}}`)) // an administrator may
	w.must(patch(lena, `{"metadata":{"labels":{"team":"shop"}}}`))
	if complaint := refused(patch(lena, `{"spec":{"users":["lena"]}}`)); complaint != "" {
		t.Errorf("to others than it was given to: %s", complaint)
	}
	w.must(lena.Delete(t.Context(), mine))
	w.gone(mine)
}

// installPolicies does what a hub does.
func (w *world) installPolicies() {
	w.t.Helper()
	raw, err := fs.ReadFile(deploy.Policies, "policies/scopes.yaml")
	w.must(err)
	for document := range bytes.SplitSeq(raw, []byte("\n---\n")) {
		object := &unstructured.Unstructured{}
		w.must(yaml.Unmarshal(document, &object.Object))
		w.must(w.Apply(w.t.Context(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("test"), client.ForceOwnership))
	}
}
