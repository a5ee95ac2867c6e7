package apply

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/wire"
)

// TestAnObjectMovesBetweenPackages: a commit that moves an object comes as two orders, in any order and with time in
// between. The object is never deleted on the way.
func TestAnObjectMovesBetweenPackages(t *testing.T) {
	for name, move := range map[string]func(s *station, giver, taker *wire.Assignment){
		"both orders at once":              func(s *station, giver, taker *wire.Assignment) { s.assign(giver, taker) },
		"the taker's order first":          func(s *station, giver, taker *wire.Assignment) { s.assign(taker); s.assign(giver) },
		"the giver's order first":          func(s *station, giver, taker *wire.Assignment) { s.assign(giver); s.assign(taker) },
		"a restart between the two orders": func(s *station, giver, taker *wire.Assignment) { s.assign(giver); s.stop(); s.start(); s.assign(taker) },
		"the taker's release comes late": func(s *station, giver, taker *wire.Assignment) {
			s.assign(giver)
			s.reaches("shop/giver", "two", wire.PackageStatus_APPLYING)
			s.offline.Store(true)
			s.assign(taker)
			s.reaches("shop/taker", "two", wire.PackageStatus_FAILED)
			s.offline.Store(false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStation(t)
			s.start()
			s.assign(
				s.release("shop/giver", "one", s.configMap("moves", map[string]string{"by": "giver"}), s.configMap("stays", nil)),
				s.release("shop/taker", "one", s.configMap("own", nil)),
			)
			s.reaches("shop/giver", "one", wire.PackageStatus_APPLIED)
			s.reaches("shop/taker", "one", wire.PackageStatus_APPLIED)
			before := s.uid("moves")

			move(s,
				s.release("shop/giver", "two", s.configMap("stays", nil)),
				s.release("shop/taker", "two", s.configMap("own", nil), s.configMap("moves", map[string]string{"by": "taker"})))
			s.reaches("shop/giver", "two", wire.PackageStatus_APPLIED)
			s.reaches("shop/taker", "two", wire.PackageStatus_APPLIED)
			s.hasData("moves", map[string]string{"by": "taker"})
			if s.uid("moves") != before {
				t.Error("the object was deleted and made anew; it should have been handed over")
			}
			s.remove("moves") // the new holder repairs it
			s.hasData("moves", map[string]string{"by": "taker"})
			s.unassign("shop/taker") // and it is its own to delete
			s.lacks("moves")
		})
	}
}

// TestPackagesSwapObjects: each waits for what the other has.
func TestPackagesSwapObjects(t *testing.T) {
	s := newStation(t)
	s.start()
	a, b := s.configMap("a", nil), s.configMap("b", nil)
	s.assign(s.release("shop/one", "one", a), s.release("shop/two", "one", b))
	s.reaches("shop/one", "one", wire.PackageStatus_APPLIED)
	s.reaches("shop/two", "one", wire.PackageStatus_APPLIED)
	before := []any{s.uid("a"), s.uid("b")}
	s.assign(s.release("shop/one", "two", b), s.release("shop/two", "two", a))
	s.reaches("shop/one", "two", wire.PackageStatus_APPLIED)
	s.reaches("shop/two", "two", wire.PackageStatus_APPLIED)
	if before[0] != s.uid("a") || before[1] != s.uid("b") {
		t.Error("objects were deleted and made anew; they should have been handed over")
	}
	s.unassign("shop/one", "shop/two")
	s.lacks("a")
	s.lacks("b")
	s.holdsNothing()
}

// TestAnHeirThatIsTakenAwayLeavesNothingBehind: whoever holds an object at the end prunes it.
func TestAnHeirThatIsTakenAwayLeavesNothingBehind(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/first", "one", s.configMap("a", nil)))
	s.reaches("shop/first", "one", wire.PackageStatus_APPLIED)
	s.assign(s.release("shop/second", "one", s.configMap("a", nil)))
	s.reaches("shop/second", "one", wire.PackageStatus_FAILED)
	s.unassign("shop/first", "shop/second")
	s.holdsNothing()
	s.lacks("a")
}

// TestOthersObjectsKeepTheirNamespace: a package that gives up a namespace does not take along what others have in it.
func TestOthersObjectsKeepTheirNamespace(t *testing.T) {
	s := newStation(t)
	s.start()
	shared := fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"%s-shared"}}`, s.namespace)
	inside := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"theirs","namespace":"%s-shared"}}`, s.namespace)
	s.assign(s.release("shop/spaces", "one", shared, s.configMap("a", nil)))
	s.reaches("shop/spaces", "one", wire.PackageStatus_APPLIED)
	s.assign(s.release("shop/tenant", "one", inside))
	s.reaches("shop/tenant", "one", wire.PackageStatus_APPLIED)

	s.assign(s.release("shop/spaces", "two", s.configMap("b", nil)))
	st := s.reaches("shop/spaces", "two", wire.PackageStatus_FAILED)
	if m := st.GetMessage(); !strings.Contains(m, "shop/tenant") || !strings.Contains(m, "theirs") {
		t.Errorf("the status does not say what stands in the way: %s", m)
	}
	if _, err := s.getConfigMap("a"); err != nil {
		t.Errorf("something was pruned: %v", err)
	}

	s.unassign("shop/tenant", "shop/spaces") // all at once: each in its turn
	s.holdsNothing()
	s.eventually("the namespace is going", func() error {
		ns, err := s.client.CoreV1().Namespaces().Get(t.Context(), s.namespace+"-shared", metav1.GetOptions{})
		if err == nil && ns.DeletionTimestamp == nil {
			return fmt.Errorf("it stays")
		}
		return nil
	})
}

// TestWhatCannotDoWithoutUsStays: an object that was there before, of which we took over what it must have.
func TestWhatCannotDoWithoutUsStays(t *testing.T) {
	s := newStation(t)
	labels := map[string]string{"app": "web"}
	theirs := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "theirs"}}},
			},
		},
	}
	deployments := s.client.AppsV1().Deployments(s.namespace)
	if _, err := deployments.Create(t.Context(), theirs, metav1.CreateOptions{FieldManager: "helm"}); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.assign(s.release("shop/web", "one", s.configMap("own", nil), fmt.Sprintf(
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":%q,"annotations":{"umbel.dev/take-over":"true"}},
		"spec":{"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"ours"}]}}}}`,
		s.namespace)))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	s.unassign("shop/web")
	s.holdsNothing()
	s.lacks("own")
	got, err := deployments.Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Labels["umbel.dev/package"] != "" || got.Spec.Template.Spec.Containers[0].Image == "" {
		t.Errorf("it is left with labels %v and image %q", got.Labels, got.Spec.Template.Spec.Containers[0].Image)
	}
	for _, entry := range got.ManagedFields {
		if entry.Manager == "umbel" {
			t.Errorf("our name is still on it: %v", entry)
		}
	}
}

func TestWhatAPackageMayNotHold(t *testing.T) {
	s := newStation(t)
	s.start()
	role := func(namespace string) string {
		return fmt.Sprintf(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"%s-twice","namespace":%q},"rules":[]}`, s.namespace, namespace)
	}
	for what, c := range map[string]struct{ objects, want []string }{
		"the agent's own namespace":                   {[]string{`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"umbel-agent-bootstrap","namespace":"umbel-agent"}}`}, []string{"Umbel's own agent"}},
		"the agent's own role":                        {[]string{`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"umbel-agent"},"rules":[]}`}, []string{"Umbel's own agent"}},
		"one object of the cluster in two namespaces": {[]string{role("a"), role("b")}, []string{"twice", ".yaml"}},
	} {
		s.assign(s.release("shop/web", what, c.objects...))
		st := s.reaches("shop/web", what, wire.PackageStatus_FAILED)
		if len(st.GetFailures()) != 1 {
			t.Fatalf("%s: want one failure: %v", what, st)
		}
		for _, want := range c.want {
			if !strings.Contains(st.GetFailures()[0].GetMessage(), want) {
				t.Errorf("%s: %q does not say %q", what, st.GetFailures()[0].GetMessage(), want)
			}
		}
	}
	if _, err := s.client.RbacV1().ClusterRoles().Get(t.Context(), "umbel-agent", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the agent's role was written: %v", err)
	}
}
