package apply

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/member"
)

// team gives a ServiceAccount, which is not there, what a team may do in the station's namespace: everything with some kinds,
// roles and bindings among them, and nothing that escalates.
func (s *station) team(name string) *wire.ServiceAccount {
	s.t.Helper()
	// Kubernetes' own admin and edit are put together by its controllers, and an API server alone has none.
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: teamRole}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps", "secrets", "services", "pods"}, Verbs: teamVerbs},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: teamVerbs},
		{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles", "rolebindings"}, Verbs: teamVerbs},
	}}
	if _, err := s.client.RbacV1().ClusterRoles().Create(s.t.Context(), role, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		s.t.Fatal(err)
	}
	account := &wire.ServiceAccount{Namespace: s.namespace, Name: name}
	s.grant(account)
	return account
}

const teamRole = "test-team"

var teamVerbs = []string{"get", "list", "watch", "create", "update", "patch", "delete"}

// grant binds that role to the account in the station's namespace, and waits until the API server knows.
func (s *station) grant(account *wire.ServiceAccount) {
	s.t.Helper()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "test-" + account.GetName()},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: teamRole},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.GetNamespace(), Name: account.GetName()}},
	}
	if _, err := s.client.RbacV1().RoleBindings(s.namespace).Create(s.t.Context(), binding, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.eventually("the team may", func() error {
		if !s.may(account) {
			return errors.New("it may not")
		}
		return nil
	})
}

// revoke takes it away again.
func (s *station) revoke(account *wire.ServiceAccount) {
	s.t.Helper()
	if err := s.client.RbacV1().RoleBindings(s.namespace).Delete(s.t.Context(), "test-"+account.GetName(), metav1.DeleteOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.eventually("the team may not any more", func() error {
		if s.may(account) {
			return errors.New("it may")
		}
		return nil
	})
}

// may asks the API server whether the account may change ConfigMaps in the station's namespace.
func (s *station) may(account *wire.ServiceAccount) bool {
	s.t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:               "system:serviceaccount:" + account.GetNamespace() + ":" + account.GetName(),
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: s.namespace, Verb: "patch", Resource: "configmaps"},
	}}
	answer, err := s.client.AuthorizationV1().SubjectAccessReviews().Create(s.t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.Status.Allowed
}

// acting is the assignment of a team's package, as a hub sends it.
func acting(a *wire.Assignment, account *wire.ServiceAccount) *wire.Assignment {
	a = proto.CloneOf(a)
	if a.Policy == nil {
		a.Policy = &wire.Policy{}
	}
	a.Policy.ActsAs = account
	a.PolicyId += " as " + account.GetNamespace() + "/" + account.GetName()
	a.Content = &wire.Content{Repository: a.GetRepository(), Digest: a.GetDigest(), Size: a.GetSize()}
	a.Repository, a.Digest, a.Size = "", "", 0
	return a
}

// object is a manifest of a kind that has little in it.
func object(apiVersion, kind, namespace, name, rest string) string {
	at := ""
	if namespace != "" {
		at = fmt.Sprintf(`,"namespace":%q`, namespace)
	}
	return fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":%q%s}%s}`, apiVersion, kind, name, at, rest)
}

// TestATeamsPackageIsRefusedWhatItsRolesForbid: each way out of its namespace that a team can write down is refused by the
// member's own API server, named in the status, and changes nothing; what it may apply is applied beside it.
func TestATeamsPackageIsRefusedWhatItsRolesForbid(t *testing.T) {
	s := newStation(t)
	s.start()
	account := s.team("deployer")
	const rules = `,"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]`
	toAll := fmt.Sprintf(`,"subjects":[{"kind":"ServiceAccount","namespace":%q,"name":"deployer"}],"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"}`, s.namespace)
	const rbac, name = "rbac.authorization.k8s.io/v1", "escape"
	escapes := map[string]string{
		"a role over the cluster":              object(rbac, "ClusterRole", "", name, rules),
		"cluster-admin, everywhere":            object(rbac, "ClusterRoleBinding", "", name, toAll),
		"cluster-admin, where it may bind":     object(rbac, "RoleBinding", s.namespace, name, toAll),
		"a role with more than it has":         object(rbac, "Role", s.namespace, name, rules),
		"a Secret of the control plane":        object("v1", "Secret", "kube-system", name, ""),
		"an object without a namespace":        object("v1", "ConfigMap", "", name, ""), // which means default
		"a Namespace":                          object("v1", "Namespace", "", name, ""),
		"a quota of its own":                   object("v1", "ResourceQuota", s.namespace, name, `,"spec":{"hard":{"pods":"1000"}}`),
		"a kind":                               object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "escapes.example.com", `,"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"escapes","singular":"escape","kind":"Escape"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]}`),
		"the agent's own namespace":            object("v1", "ConfigMap", "umbel-agent", name, ""),
		"a role that others are made of":       object(rbac, "ClusterRole", "", "edit", rules),
		"a binding that it takes over by name": object(rbac, "ClusterRoleBinding", "", "cluster-admin", toAll),
	}
	var all []*wire.Assignment
	packages := map[string]string{}
	for reason, escape := range escapes {
		mine := fmt.Sprintf("mine-%d", len(all))
		packages[reason] = "team/" + mine
		all = append(all, acting(s.release(packages[reason], "r1", escape, s.configMap(mine, map[string]string{"x": "1"})), account))
	}
	s.assign(all...)
	for reason, pkg := range packages {
		s.reaches(pkg, "r1", wire.PackageStatus_FAILED)
		s.eventually(reason+" is refused and named", func() error {
			st := s.status(pkg)
			if len(st.GetFailures()) != 1 || !tellsRefusal(st.GetFailures()[0].GetMessage()) || st.GetFailures()[0].GetFile() == "" {
				return fmt.Errorf("got %v", st.GetFailures())
			}
			return nil
		})
		s.hasData(strings.TrimPrefix(pkg, "team/"), map[string]string{"x": "1"})
	}
	// What was never there keeps no package: neither from leaving it out, nor from going.
	s.assign(acting(s.release("team/mine-0", "r2", s.configMap("mine-0", map[string]string{"x": "2"})), account))
	s.reaches("team/mine-0", "r2", wire.PackageStatus_APPLIED)
	for _, pkg := range packages {
		s.unassign(pkg)
	}
	s.holdsNothing()
	s.lacks("mine-1")
	for what, err := range map[string]error{
		"a ClusterRole":        second(s.client.RbacV1().ClusterRoles().Get(t.Context(), name, metav1.GetOptions{})),
		"a ClusterRoleBinding": second(s.client.RbacV1().ClusterRoleBindings().Get(t.Context(), name, metav1.GetOptions{})),
		"a RoleBinding":        second(s.client.RbacV1().RoleBindings(s.namespace).Get(t.Context(), name, metav1.GetOptions{})),
		"a Role":               second(s.client.RbacV1().Roles(s.namespace).Get(t.Context(), name, metav1.GetOptions{})),
		"a Secret":             second(s.client.CoreV1().Secrets("kube-system").Get(t.Context(), name, metav1.GetOptions{})),
		"a ConfigMap":          second(s.client.CoreV1().ConfigMaps("default").Get(t.Context(), name, metav1.GetOptions{})),
		"a Namespace":          second(s.client.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})),
		"a quota":              second(s.client.CoreV1().ResourceQuotas(s.namespace).Get(t.Context(), name, metav1.GetOptions{})),
	} {
		if !apierrors.IsNotFound(err) {
			t.Errorf("%s escaped: %v", what, err)
		}
	}
}

// tellsRefusal says whether a failure tells that it was refused for whom the package acts as, and what to do.
func tellsRefusal(message string) bool {
	return strings.Contains(message, "forbidden") && strings.Contains(message, "acts as ServiceAccount") && strings.Contains(message, "bind a role") ||
		strings.Contains(message, "it belongs to Umbel's own agent")
}

func second[T any](_ T, err error) error { return err }

// TestEverythingOfATeamsPackageIsDoneAsTheTeam: apply, repair, prune, undo and what is read for them, with the hub there or gone,
// before and after a restart: each request but those for kinds and watches says whom it is for.
func TestEverythingOfATeamsPackageIsDoneAsTheTeam(t *testing.T) {
	s := newStation(t)
	account := s.team("deployer")
	user := fmt.Sprintf("system:serviceaccount:%s:deployer", s.namespace)
	var alone []string
	s.asked(func(r *http.Request) {
		named := strings.Contains(r.URL.Path, "/configmaps/") || r.Method != http.MethodGet
		if named && r.Header.Get("Impersonate-User") != user {
			alone = append(alone, r.Method+" "+r.URL.Path)
		}
	})
	s.start()
	data := map[string]string{"x": "1"}
	s.assign(acting(s.release("team/web", "r1", s.configMap("a", data), s.configMap("b", data)), account))
	s.reaches("team/web", "r1", wire.PackageStatus_APPLIED)
	if got := s.status("team/web"); got.GetDigest() == "" {
		t.Errorf("it does not say what it holds: %v", got)
	}
	s.remove("a")
	s.hasData("a", data)

	s.offline.Store(true)
	s.stop()
	s.start()
	s.reaches("team/web", "r1", wire.PackageStatus_APPLIED)
	s.update("a", func(cm *corev1.ConfigMap) { cm.Data["x"] = "theirs" })
	s.hasData("a", data)
	s.remove("b")
	s.hasData("b", data)

	s.offline.Store(false)
	s.assign(acting(s.release("team/web", "r2", s.configMap("a", data)), account))
	s.reaches("team/web", "r2", wire.PackageStatus_APPLIED)
	s.lacks("b")
	s.undoes(s.engine.deletions.List()[0].ID)
	s.hasData("b", data)
	s.unassign("team/web")
	s.holdsNothing()
	s.undoes(s.engine.deletions.List()[0].ID) // the package is not there any more, and whom it acted as is remembered
	s.hasData("a", data)
	s.stop()
	if len(alone) > 0 {
		t.Errorf("done as the agent itself: %s", strings.Join(alone, ", "))
	}
}

// asked has f hear each request of the engine, one at a time.
func (s *station) asked(f func(*http.Request)) {
	var mu sync.Mutex
	meddle := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		mu.Lock()
		f(r)
		mu.Unlock()
		return next.RoundTrip(r)
	}
	s.meddle.Store(&meddle)
}

// TestAnAgentOfAnEarlierVersionHasNothingToApply: it does not know whom a team's package acts as, so neither what the hub sends
// nor what is on the disk has anything where it looks.
func TestAnAgentOfAnEarlierVersionHasNothingToApply(t *testing.T) {
	s := newStation(t)
	s.start()
	account := s.team("deployer")
	a := acting(s.release("team/web", "r1", s.configMap("a", nil)), account)
	if a.GetDigest() != "" || a.GetRepository() != "" {
		t.Fatalf("an earlier version would pull %s", a.GetDigest())
	}
	s.assign(a)
	s.reaches("team/web", "r1", wire.PackageStatus_APPLIED)
	s.assign(acting(s.release("team/web", "r2", s.configMap("a", map[string]string{"x": "2"})), account))
	s.reaches("team/web", "r2", wire.PackageStatus_APPLIED)
	raw, err := os.ReadFile(filepath.Join(s.dir, "packages", "team.web", "order.json"))
	if err != nil {
		t.Fatal(err)
	}
	var earlier struct {
		Current, Next *struct{ Digest string }
		Removing      bool
	}
	if err := json.Unmarshal(raw, &earlier); err != nil {
		t.Fatal(err)
	}
	if earlier.Current != nil || earlier.Next != nil || earlier.Removing {
		t.Errorf("an earlier version would act on %s", raw)
	}
	// Content that is for somebody, when nobody is named: what a hub says by mistake is nothing that the agent applies itself.
	nameless := proto.CloneOf(acting(s.release("team/web", "r3", s.configMap("a", map[string]string{"x": "3"})), account))
	nameless.Policy.ActsAs = nil
	bad := s.release("team/web", "bad", s.configMap("a", map[string]string{"x": "bad"}))
	nameless.Repository, nameless.Digest, nameless.Size = bad.GetRepository(), bad.GetDigest(), bad.GetSize()
	s.assign(nameless)
	s.reaches("team/web", "r3", wire.PackageStatus_FAILED)
	s.hasData("a", map[string]string{"x": "2"})
}

// TestATeamsRightsChangeUnderIt: what it loses is a failure that names the next step, deletes nothing and is not tried hot;
// what it gets again heals by itself.
func TestATeamsRightsChangeUnderIt(t *testing.T) {
	s := newStation(t)
	s.start()
	account := s.team("deployer")
	s.assign(acting(s.release("team/web", "r1", s.configMap("a", nil), s.configMap("b", nil)), account))
	s.reaches("team/web", "r1", wire.PackageStatus_APPLIED)
	s.revoke(account)
	s.remove("a")
	s.eventually("that it is not put back is told", func() error {
		for _, f := range s.status("team/web").GetFailures() {
			if tellsRefusal(f.GetMessage()) {
				return nil
			}
		}
		return fmt.Errorf("got %v", s.status("team/web").GetFailures())
	})
	s.assign(acting(s.release("team/web", "r2", s.configMap("a", nil)), account))
	s.reaches("team/web", "r2", wire.PackageStatus_FAILED)
	if _, err := s.getConfigMap("b"); err != nil {
		t.Errorf("a package that may not do anything deleted: %v", err)
	}
	before := s.writes.Load()
	s.eventually("it tries again", func() error {
		if s.writes.Load() == before {
			return fmt.Errorf("it has not")
		}
		return nil
	})
	s.grant(account)
	s.hasData("a", nil)
	s.reaches("team/web", "r2", wire.PackageStatus_APPLIED)
	s.lacks("b")
}

// TestAnAccountIsInItsGroups: whom the agent impersonates has the groups of a ServiceAccount, without anybody naming them.
func TestAnAccountIsInItsGroups(t *testing.T) {
	s := newStation(t)
	own, err := member.New(s.config)
	if err != nil {
		t.Fatal(err)
	}
	as, err := own.As(member.Account{Namespace: "shop", Name: "deployer"})
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(as.Config())
	if err != nil {
		t.Fatal(err)
	}
	who, err := client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := who.Status.UserInfo
	want := []string{"system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"}
	if got.Username != "system:serviceaccount:shop:deployer" || !slices.Equal(got.Groups, want) {
		t.Errorf("it is %s in %v, want the groups %v", got.Username, got.Groups, want)
	}
}
