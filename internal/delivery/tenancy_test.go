package delivery_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
)

// annotate writes what the hub's Namespace says; an empty value takes it away.
func (h *hub) annotate(annotations map[string]string) {
	h.t.Helper()
	h.must(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		var namespace corev1.Namespace
		if err := h.Get(h.t.Context(), client.ObjectKey{Name: h.namespace}, &namespace); err != nil {
			return err
		}
		if namespace.Annotations == nil {
			namespace.Annotations = map[string]string{}
		}
		for key, value := range annotations {
			if namespace.Annotations[key] = value; value == "" {
				delete(namespace.Annotations, key)
			}
		}
		return h.Update(h.t.Context(), &namespace)
	}))
}

// TestANamespaceSaysWhoseItsPackagesAre: whom agents are told to act as follows the Namespace at once, without a new Release;
// what cannot be understood is told to nobody.
func TestANamespaceSaysWhoseItsPackagesAre(t *testing.T) {
	h := newHub(t)
	cluster := h.cluster("eu", nil)
	h.place("prod", cluster)
	h.annotate(map[string]string{v1alpha1.ActsAsAnnotation: "shop/deployer"})
	key := v1alpha1.KeyOf(h.namespace, "web")
	h.must(h.Create(t.Context(), h.inline("web", "prod", item("a", "1"))))
	told := func(as string) func() string {
		return func() string {
			set, _ := h.desired.For(cluster)
			a := set.Assign[key]
			got := ""
			if account := a.GetPolicy().GetActsAs(); account != nil {
				got = account.GetNamespace() + "/" + account.GetName()
			}
			switch {
			case a == nil || got != as || a.Where().GetDigest() == "":
				return fmt.Sprintf("it is told %v", a)
			case as != "" && (a.GetDigest() != "" || a.GetRepository() != ""):
				return "an agent that can act as nobody would apply it"
			case as != h.pkg("web").Status.ActsAs:
				return "the status says " + h.pkg("web").Status.ActsAs
			}
			return ""
		}
	}
	h.eventually("the agent is told to act as the team", told("shop/deployer"))
	release := h.released("web")
	h.annotate(map[string]string{v1alpha1.ActsAsAnnotation: "shop/other"})
	h.eventually("another account is told", told("shop/other"))

	h.annotate(map[string]string{v1alpha1.ActsAsAnnotation: "nobody"})
	h.eventually("what cannot be understood is told to nobody", func() string {
		set, _ := h.desired.For(cluster)
		if set.Assign[key] != nil || len(set.Remove) > 0 {
			return fmt.Sprintf("it is told %v", set)
		}
		return h.lacks("web", v1alpha1.ConditionDelivered, v1alpha1.ReasonTeamInvalid, `umbel.dev/acts-as is "nobody", want NAMESPACE/NAME`)
	})
	h.annotate(map[string]string{v1alpha1.ActsAsAnnotation: ""})
	h.eventually("the platform's acts as the agent", told(""))
	if now := h.pkg("web").Status.Release; now != release {
		t.Errorf("it took a new release: %s after %s", now, release)
	}
}

// lacks says what a Package lacks of a condition; nothing when it is there.
func (h *hub) lacks(name, kind, reason, text string) string {
	for _, c := range h.pkg(name).Status.Conditions {
		if c.Type == kind && c.Reason == reason && strings.Contains(c.Message, text) {
			return ""
		}
	}
	return fmt.Sprintf("its conditions are %v", h.pkg(name).Status.Conditions)
}

// TestATeamStaysWithinItsQuota: what is too much is said with what to do, and leaves clusters what they have.
func TestATeamStaysWithinItsQuota(t *testing.T) {
	h := newHub(t)
	one, two := h.cluster("one", nil), h.cluster("two", nil)
	h.place("few", one)
	h.place("many", one, two)
	h.annotate(map[string]string{
		v1alpha1.ActsAsAnnotation: "shop/deployer", v1alpha1.MaxPackagesAnnotation: "2", v1alpha1.MaxObjectsAnnotation: "2", v1alpha1.MaxClustersAnnotation: "1",
	})
	h.must(h.Create(t.Context(), h.inline("a", "few", item("a", "1")+item("b", "1"))))
	h.must(h.Create(t.Context(), h.inline("b", "many", item("c", "1"))))
	h.must(h.Create(t.Context(), h.inline("c", "few", item("d", "1"))))
	digest := func() string {
		set, _ := h.desired.For(one)
		return set.Assign[v1alpha1.KeyOf(h.namespace, "a")].Where().GetDigest()
	}
	h.eventually("the first is delivered", func() string {
		if digest() == "" {
			return "it is not"
		}
		return ""
	})
	h.eventually("the second is on too many clusters", func() string {
		return h.lacks("b", v1alpha1.ConditionDelivered, v1alpha1.ReasonQuotaExceeded, `placement "many" selects 2 clusters, and a package of namespace `+h.namespace+` may be on 1 (umbel.dev/max-clusters)`)
	})
	h.eventually("the third is one too many", func() string {
		return h.lacks("c", v1alpha1.ConditionDelivered, v1alpha1.ReasonQuotaExceeded, "may have 2 packages (umbel.dev/max-packages)")
	})
	before := digest()
	h.must(h.write("a", "few", item("a", "1")+item("b", "1")+item("e", "1")))
	h.eventually("the first is too large now", func() string {
		return h.lacks("a", v1alpha1.ConditionRendered, v1alpha1.ReasonQuotaExceeded, "it has 3 objects, and a package of namespace "+h.namespace+" may have 2 (umbel.dev/max-objects)")
	})
	if digest() != before {
		t.Error("a release that is too large was delivered")
	}
	set, _ := h.desired.For(one)
	if len(set.Assign) != 1 || len(set.Remove) != 0 {
		t.Errorf("one is told %v", set)
	}
	h.annotate(map[string]string{v1alpha1.MaxPackagesAnnotation: "3", v1alpha1.MaxObjectsAnnotation: "3", v1alpha1.MaxClustersAnnotation: "2"})
	h.eventually("all are delivered once they may", func() string {
		set, _ := h.desired.For(one)
		if len(set.Assign) != 3 || digest() == before {
			return fmt.Sprintf("one is told %v", set.Assign)
		}
		return ""
	})
}

// TestWhoMaySayWhoseThePackagesAre: not a team that may change its Namespace, be it to act as another one, as everybody, or with
// more of everything.
func TestWhoMaySayWhoseThePackagesAre(t *testing.T) {
	h := newHub(t)
	raw, err := fs.ReadFile(deploy.Policies, "policies/namespaces.yaml")
	h.must(err)
	for document := range bytes.SplitSeq(raw, []byte("\n---\n")) {
		object := &unstructured.Unstructured{}
		h.must(yaml.Unmarshal(document, &object.Object))
		h.must(h.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("test"), client.ForceOwnership))
	}
	h.annotate(map[string]string{v1alpha1.ActsAsAnnotation: "shop/deployer", v1alpha1.MaxPackagesAnnotation: "2"})
	team := h.person("tess", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces", "namespaces/status", "namespaces/finalize"}, Verbs: []string{"*"}},
		// As Kubernetes' own roles edit and admin have it.
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, Verbs: []string{"impersonate"}})
	lead := h.person("lena", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"*"}},
		rbacv1.PolicyRule{APIGroups: []string{"umbel.dev"}, Resources: []string{"serviceaccounts"}, ResourceNames: []string{"shop/deployer", "shop/tester"}, Verbs: []string{"act-as"}})
	patch := func(by client.Client, annotations string) error {
		return by.Patch(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: h.namespace}},
			client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":`+annotations+`}}`)), client.DryRunAll)
	}
	const refused = "may not say whose the Packages of namespace"
	h.eventually("the policy holds", func() string { // an API server takes a moment to learn of one
		if err := patch(team, `{"umbel.dev/acts-as":null}`); err == nil || !strings.Contains(err.Error(), refused) {
			return fmt.Sprintf("got %v", err)
		}
		return ""
	})
	h.eventually("the rights of the lead are known", func() string { // and of these
		if err := patch(lead, `{"umbel.dev/acts-as":"shop/tester"}`); err != nil {
			return fmt.Sprintf("got %v", err)
		}
		return ""
	})
	for _, c := range []struct {
		reason, annotations, want string
		by                        client.Client
	}{
		{"a team becomes the platform", `{"umbel.dev/acts-as":null}`, refused, team},
		{"by a patch of all annotations", `null`, refused, team},
		{"another team", `{"umbel.dev/acts-as":"kube-system/clusterrole-aggregation-controller"}`, refused, team},
		{"more packages", `{"umbel.dev/max-packages":"9999"}`, refused, team},
		{"as many as it likes", `{"umbel.dev/max-packages":null}`, refused, team},
		{"what says nothing of that", `{"note":"ours"}`, "", team},
		{"another account, by the rights of edit", `{"umbel.dev/acts-as":"shop/admin"}`, refused, team},
		{"who may have it act as both", `{"umbel.dev/acts-as":"shop/tester"}`, "", lead},
		{"and more of it", `{"umbel.dev/acts-as":"shop/tester","umbel.dev/max-packages":"3"}`, refused, lead},
		{"who may have it act as one of them", `{"umbel.dev/acts-as":"shop/admin"}`, refused, lead},
		{"who may have it act as one makes it the platform's", `{"umbel.dev/acts-as":null}`, refused, lead},
		{"an administrator", `{"umbel.dev/acts-as":null,"umbel.dev/max-packages":null}`, "", h.Client},
		{"nobody", `{"umbel.dev/acts-as":""}`, "NAMESPACE/NAME of a ServiceAccount", h.Client},
		{"no number", `{"umbel.dev/max-objects":"many"}`, "are numbers", h.Client},
	} {
		err := patch(c.by, c.annotations)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.reason, err, c.want)
		}
	}
	var namespace corev1.Namespace
	h.must(h.Get(t.Context(), client.ObjectKey{Name: h.namespace}, &namespace))
	namespace.Annotations = nil
	if err := team.Status().Update(t.Context(), &namespace, &client.SubResourceUpdateOptions{UpdateOptions: client.UpdateOptions{DryRun: []string{metav1.DryRunAll}}}); err == nil || !strings.Contains(err.Error(), refused) {
		t.Errorf("through the status: got %v", err)
	}
}

// person returns a client of somebody who has these rights on the hub.
func (h *hub) person(name string, rules ...rbacv1.PolicyRule) client.Client {
	h.t.Helper()
	name = h.namespace + "-" + name
	s := scheme(h.t)
	h.must(rbacv1.AddToScheme(s))
	admin, err := client.New(h.config, client.Options{Scheme: s})
	h.must(err)
	h.must(admin.Create(h.t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}))
	h.must(admin.Create(h.t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	}))
	config := rest.CopyConfig(h.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: name}
	as, err := client.New(config, client.Options{Scheme: s})
	h.must(err)
	return as
}
