package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	admissionv1client "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// as returns a client that acts as somebody who may do everything.
func (s *station) as(user string, groups ...string) *kubernetes.Clientset {
	s.t.Helper()
	name := s.namespace + "-" + strings.NewReplacer(":", "-").Replace(user)
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	}
	if _, err := s.client.RbacV1().ClusterRoleBindings().Create(s.t.Context(), binding, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = s.client.RbacV1().ClusterRoleBindings().Delete(context.Background(), name, metav1.DeleteOptions{})
	})
	s.eventually("the API server knows what "+user+" may", func() error {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: s.namespace, Verb: "patch", Resource: "configmaps"},
		}}
		review, err := s.client.AuthorizationV1().SubjectAccessReviews().Create(s.t.Context(), review, metav1.CreateOptions{})
		if err == nil && !review.Status.Allowed {
			err = fmt.Errorf("%s may not yet: %s", user, review.Status.Reason)
		}
		return err
	})
	config := rest.CopyConfig(s.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	return kubernetes.NewForConfigOrDie(config)
}

// TestOthersAreRefused: with prevention, somebody who may do everything cannot change or delete what a package holds, and is
// told whose it is and where to change it. The agent, controllers and who is named go through; and all of it goes with the
// package.
func TestOthersAreRefused(t *testing.T) {
	s := newStation(t)
	s.start()
	policy := &wire.Policy{Prevention: &wire.Prevention{Source: "https://git.example.com/fleet.git, path apps/shop", Users: []string{"carol"}, Groups: []string{"operators"}}}
	first := s.release("shop/guarded", "r1", s.configMap("a", map[string]string{"x": "1"}), s.configMap("b", nil))
	s.assign(treated(first, policy))
	s.reaches("shop/guarded", "r1", wire.PackageStatus_APPLIED)
	edit := func(client *kubernetes.Clientset, patch string, dry ...string) error {
		_, err := client.CoreV1().ConfigMaps(s.namespace).Patch(t.Context(), "a", types.MergePatchType, []byte(patch), metav1.PatchOptions{
			FieldManager: "kubectl-edit", DryRun: dry,
		})
		return err
	}
	alice := s.as("alice")
	var refused error
	s.eventually("alice is refused", func() error {
		if refused = edit(alice, `{"data":{"hers":"9"}}`); !apierrors.IsForbidden(refused) {
			return fmt.Errorf("got %v", refused)
		}
		return nil
	})
	for _, want := range []string{"Package shop/guarded of Umbel holds this object", "https://git.example.com/fleet.git, path apps/shop", "umbel:break-glass"} {
		if !strings.Contains(refused.Error(), want) {
			t.Errorf("got %v, want %q", refused, want)
		}
	}
	if err := alice.CoreV1().ConfigMaps(s.namespace).Delete(t.Context(), "b", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("alice deletes: %v", err)
	}
	if err := edit(alice, `{"metadata":{"labels":{"umbel.dev/package":null}}}`); !apierrors.IsForbidden(err) {
		t.Errorf("alice takes the label off, to be free of it: %v", err)
	}
	robot := s.as("system:serviceaccount:operators:robot", "system:serviceaccounts")
	if err := edit(robot, `{"data":{"x":"9"}}`); !apierrors.IsForbidden(err) {
		t.Errorf("a controller changes what is ours: %v", err)
	}
	if _, err := alice.CoreV1().ConfigMaps(s.namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "hers"}}, metav1.CreateOptions{}); err != nil {
		t.Errorf("what is nobody's package is nobody's business: %v", err)
	}
	for who, err := range map[string]error{
		"a dry run, which changes nothing":        edit(alice, `{"data":{"x":"9"}}`, metav1.DryRunAll),
		"a controller adds a finalizer":           edit(robot, `{"metadata":{"annotations":{"robot":"was here"}}}`),
		"a user who is named":                     edit(s.as("carol"), `{"data":{"y":"1"}}`),
		"a group that is named":                   edit(s.as("dave", "operators"), `{"data":{"y":"2"}}`),
		"an administrator who breaks the glass":   edit(s.as("erin", "umbel:break-glass"), `{"data":{"y":"3"}}`),
		"the garbage collector":                   edit(s.as("system:serviceaccount:kube-system:generic-garbage-collector", "system:serviceaccounts"), `{"data":{"y":"4"}}`),
		"a controller manager without identities": edit(s.as("system:kube-controller-manager"), `{"data":{"y":"5"}}`),
	} {
		if err != nil {
			t.Errorf("%s: %v", who, err)
		}
	}
	s.assign(treated(s.release("shop/guarded", "r2", s.configMap("a", map[string]string{"x": "2"})), policy)) // and b is pruned
	s.reaches("shop/guarded", "r2", wire.PackageStatus_APPLIED)
	s.lacks("b")
	if err := edit(s.as("carol"), `{"data":{"x":"7"}}`); err != nil {
		t.Error(err)
	}
	s.drifts("shop/guarded", func(d *wire.Drift) bool { return d.GetAction() == wire.Drift_REPAIRED })

	s.stop()
	s.start()
	s.assign(treated(s.release("shop/guarded", "r2", s.configMap("a", map[string]string{"x": "2"})), &wire.Policy{}))
	s.unguarded()
	s.eventually("alice is free again", func() error { return edit(alice, `{"data":{"y":"6"}}`) })
	s.assign(treated(s.release("shop/guarded", "r3", s.configMap("a", nil)), policy))
	s.reaches("shop/guarded", "r3", wire.PackageStatus_APPLIED)
	s.unassign("shop/guarded")
	s.holdsNothing()
	s.unguarded()
}

// unguarded waits until there is no admission policy for packages.
func (s *station) unguarded() {
	s.t.Helper()
	s.eventually("the admission policy goes", func() error {
		in := metav1.ListOptions{LabelSelector: "umbel.dev/prevents-drift-of"}
		policies, err := s.client.AdmissionregistrationV1().ValidatingAdmissionPolicies().List(s.t.Context(), in)
		if err != nil {
			return err
		}
		bindings, err := s.client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().List(s.t.Context(), in)
		if err != nil {
			return err
		}
		if n := len(policies.Items) + len(bindings.Items); n > 0 {
			return fmt.Errorf("%d are there", n)
		}
		return nil
	})
}

// TestAGuardThatStandsIsNotWrittenAgain: neither a start nor a release writes it, unless somebody deleted or changed it.
func TestAGuardThatStandsIsNotWrittenAgain(t *testing.T) {
	s := newStation(t)
	var written atomic.Int64
	count := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method != http.MethodGet && strings.HasPrefix(r.URL.Path, "/apis/admissionregistration.k8s.io/") {
			written.Add(1)
		}
		return next.RoundTrip(r)
	}
	s.meddle.Store(&count)
	s.start()
	policy := &wire.Policy{Prevention: &wire.Prevention{Source: "somewhere"}}
	releases := 0
	passes := func(why string, want int64) {
		t.Helper()
		written.Store(0)
		s.stop()
		s.start()
		releases++
		name := fmt.Sprintf("r%d", releases)
		s.assign(treated(s.release("shop/still", name, s.configMap("a", map[string]string{"x": name})), policy))
		s.reaches("shop/still", name, wire.PackageStatus_APPLIED)
		if n := written.Load(); n != want {
			t.Errorf("%s: it was written %d times, want %d", why, n, want)
		}
	}
	const name = "umbel-drift-0"
	passes("at first", 2)
	passes("as it was", 0)
	policies, bindings := s.client.AdmissionregistrationV1().ValidatingAdmissionPolicies(), s.client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	s.stop()
	if err := bindings.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	passes("its binding was deleted while nobody looked", 1)
	if _, err := bindings.Get(t.Context(), name, metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	s.stop()
	loosen(t, policies)
	passes("its policy was loosened while nobody looked", 2)
	if is, err := policies.Get(t.Context(), name, metav1.GetOptions{}); err != nil || is.Spec.Validations[0].Expression == "true" {
		t.Errorf("the policy is %+v, %v", is.Spec.Validations, err)
	}
	policy.Prevention.Users = []string{"carol"}
	passes("somebody else is named", 1)
	s.stop()
	if err := os.Remove(filepath.Join(s.dir, "guards.json")); err != nil {
		t.Fatal(err)
	}
	passes("what was noted of it is lost, so that nobody knows what others added", 4)
}

func loosen(t *testing.T, policies admissionv1client.ValidatingAdmissionPolicyInterface) {
	t.Helper()
	loose := []byte(`{"spec":{"validations":[{"expression":"true"}]}}`)
	if _, err := policies.Patch(t.Context(), "umbel-drift-0", types.MergePatchType, loose, metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
		t.Fatal(err)
	}
}

// TestWhoTakesTheGuardAway: it is put back like any object, without a release and without a start, whatever was done to it: also what
// adds to it and changes nothing of what the agent wrote, and hides who did.
func TestWhoTakesTheGuardAway(t *testing.T) {
	s := newStation(t)
	s.start()
	policy := &wire.Policy{Prevention: &wire.Prevention{Source: "somewhere"}}
	s.assign(treated(s.release("shop/watched", "r1", s.configMap("a", map[string]string{"x": "1"})), policy))
	s.reaches("shop/watched", "r1", wire.PackageStatus_APPLIED)
	const name = "umbel-drift-0"
	policies, bindings := s.client.AdmissionregistrationV1().ValidatingAdmissionPolicies(), s.client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	alice := s.as("alice")
	refused := func(why string) {
		t.Helper()
		s.eventually(why+", and alice is refused", func() error {
			_, err := alice.CoreV1().ConfigMaps(s.namespace).Patch(t.Context(), "a", types.MergePatchType, []byte(`{"data":{"hers":"9"}}`), metav1.PatchOptions{})
			if !apierrors.IsForbidden(err) {
				return fmt.Errorf("got %v", err)
			}
			return nil
		})
	}
	refused("at first")
	was, err := policies.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	bound, err := bindings.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	patchPolicy := func(kind types.PatchType, patch string) error {
		_, err := policies.Patch(t.Context(), name, kind, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-edit"})
		return err
	}
	both := []string{"ValidatingAdmissionPolicy.admissionregistration.k8s.io " + name, "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io " + name}
	for _, c := range []struct {
		why   string
		which int
		do    func() error
	}{
		{"the binding is deleted", 1, func() error { return bindings.Delete(t.Context(), name, metav1.DeleteOptions{}) }},
		{"the policy is deleted", 0, func() error { return policies.Delete(t.Context(), name, metav1.DeleteOptions{}) }},
		{"a condition is added that is never met", 0, func() error {
			return patchPolicy(types.StrategicMergePatchType, `{"spec":{"matchConditions":[{"name":"never","expression":"false"}]}}`)
		}},
		{"the binding is for elsewhere", 1, func() error {
			_, err := bindings.Patch(t.Context(), name, types.MergePatchType,
				[]byte(`{"spec":{"matchResources":{"namespaceSelector":{"matchLabels":{"no":"where"}}}}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
			return err
		}},
		{"a condition is added, and the label goes", 0, func() error {
			return patchPolicy(types.MergePatchType, `{"metadata":{"labels":null},"spec":{"matchConditions":[{"name":"never","expression":"false"}]}}`)
		}},
	} {
		before := s.status("shop/watched").GetRepairs()
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		s.eventually(c.why+", and is put back", func() error {
			policy, err := policies.Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			binding, err := bindings.Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if diff := cmp.Diff([]any{was.Spec, was.Labels, bound.Spec, bound.Labels}, []any{policy.Spec, policy.Labels, binding.Spec, binding.Labels}); diff != "" {
				return errors.New(diff)
			}
			if st := s.status("shop/watched"); st.GetRepairs() == before || st.GetLastRepair().GetObject() != both[c.which] {
				return fmt.Errorf("the status tells of %d repairs, the last %v", st.GetRepairs(), st.GetLastRepair())
			}
			return nil
		})
		refused(c.why)
	}
	s.drifts("shop/watched", func(d *wire.Drift) bool { return d.GetBy() == "kubectl-edit" && d.GetObject() == both[0] })
	if st := s.status("shop/watched"); st.GetPhase() != wire.PackageStatus_APPLIED {
		t.Errorf("the package is %v", st)
	}
}

// TestPackagesShareAGuard: an API server evaluates each policy for each write of anything, so that there are few. Each package lets
// through whom it names, and no other's; one that goes leaves the others guarded.
func TestPackagesShareAGuard(t *testing.T) {
	s := newStation(t)
	s.start()
	names := []string{"one", "two", "three"}
	for _, name := range names {
		policy := &wire.Policy{Prevention: &wire.Prevention{Source: "the repository of " + name, Users: []string{"friend-of-" + name}}}
		s.assign(treated(s.release("shop/"+name, "r1", s.configMap(name, map[string]string{"x": "1"})), policy))
	}
	for _, name := range names {
		s.reaches("shop/"+name, "r1", wire.PackageStatus_APPLIED)
	}
	list, err := s.client.AdmissionregistrationV1().ValidatingAdmissionPolicies().List(t.Context(), metav1.ListOptions{LabelSelector: "umbel.dev/prevents-drift-of"})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("there are %d policies (%v), want one", len(list.Items), err)
	}
	edit := func(who, what string) error {
		patch := []byte(`{"data":{"by":"` + who + `"}}`)
		_, err := s.as(who).CoreV1().ConfigMaps(s.namespace).Patch(t.Context(), what, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-edit"})
		return err
	}
	for _, name := range names {
		s.eventually("others are refused to change "+name, func() error {
			for _, other := range names {
				err := edit("friend-of-"+other, name)
				if other == name && err != nil {
					return fmt.Errorf("its friend: %w", err)
				}
				if other != name && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "Package shop/"+name+" of Umbel holds this object") ||
					!strings.Contains(err.Error(), "change it in the repository of "+name)) {
					return fmt.Errorf("the friend of %s: %v", other, err)
				}
			}
			return nil
		})
	}
	s.unassign("shop/two")
	s.lacks("two")
	if err := edit("friend-of-two", "one"); !apierrors.IsForbidden(err) {
		t.Errorf("when another package goes: %v", err)
	}
	s.unassign("shop/one", "shop/three")
	s.unguarded()
	s.eventually("nothing is left in the agent's folder", func() error {
		if _, err := os.Stat(filepath.Join(s.dir, "guards.json")); !os.IsNotExist(err) {
			return fmt.Errorf("the notes are there: %v", err)
		}
		return nil
	})
}

// TestGuardsStayWithinWhatAnAPIServerTakes: of a thousand packages with long names and sources, each policy is accepted.
func TestGuardsStayWithinWhatAnAPIServerTakes(t *testing.T) {
	s := newStation(t)
	asked := map[v1alpha1.PackageKey]*protection{}
	for i := range 250 {
		name := fmt.Sprintf("%s-%04d", strings.Repeat("n", 58), i)
		asked[v1alpha1.KeyOf(strings.Repeat("s", 63), name)] = &protection{
			source: strings.Repeat("é", 1000), users: []string{strings.Repeat("u", 60)}, groups: []string{strings.Repeat("g", 60)}, writers: []string{strings.Repeat("w", 60)},
		}
	}
	all, err := guardsFor(asked, "system:serviceaccount:umbel-system:umbel-agent")
	if err != nil || len(all) != 3 {
		t.Fatalf("got %d guards, %v", len(all), err)
	}
	for _, g := range all {
		for i, resource := range []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"} {
			err := s.client.RESTClient().Post().AbsPath("/apis/admissionregistration.k8s.io/v1/"+resource).Param("dryRun", "All").Body(g.bodies[i]).
				SetHeader("Content-Type", "application/json").Do(t.Context()).Error()
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// TestAnOldAPIServerCannotRefuse: that is said, and everything else goes on. The API server here is a real one, which the
// test keeps from telling of the kind.
func TestAnOldAPIServerCannotRefuse(t *testing.T) {
	s := newStation(t)
	hide := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/apis") || strings.HasPrefix(r.URL.Path, "/apis/admissionregistration.k8s.io") {
			r.Header.Set("Accept", "application/json")
		}
		answer, err := next.RoundTrip(r)
		if err == nil && strings.HasPrefix(r.URL.Path, "/apis/admissionregistration.k8s.io") {
			_ = answer.Body.Close()
			answer.StatusCode, answer.Body = http.StatusNotFound, http.NoBody
		}
		return answer, err
	}
	s.meddle.Store(&hide)
	s.start()
	s.assign(treated(s.release("shop/guarded", "r1", s.configMap("a", map[string]string{"x": "1"})), &wire.Policy{Prevention: &wire.Prevention{}}))
	st := s.reaches("shop/guarded", "r1", wire.PackageStatus_APPLIED)
	if len(st.GetFailures()) != 1 || !strings.Contains(st.GetFailures()[0].GetMessage(), "no ValidatingAdmissionPolicy (Kubernetes 1.30 has it)") {
		t.Errorf("got %v", st.GetFailures())
	}
	s.update("a", func(cm *corev1.ConfigMap) { cm.Data["x"] = "9" })
	s.hasData("a", map[string]string{"x": "1"})
}
