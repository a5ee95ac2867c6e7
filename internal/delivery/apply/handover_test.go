package apply

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
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
			s.grace = 3 * time.Second // a busy machine may take its time between two orders
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
	s.createDeployment("web")
	s.start()
	s.assign(s.release("shop/web", "one", s.configMap("own", nil), s.deployment("web")))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	s.unassign("shop/web")
	s.holdsNothing()
	s.lacks("own")
	got, err := s.client.AppsV1().Deployments(s.namespace).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Labels["umbel.dev/package"] != "" || got.Spec.Template.Spec.Containers[0].Image == "" {
		t.Errorf("it is left with labels %v and image %q", got.Labels, got.Spec.Template.Spec.Containers[0].Image)
	}
	for _, entry := range got.ManagedFields {
		if entry.Manager == v1alpha1.FieldManager {
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

// TestANamespaceStaysForWhatIsToBeInIt: whoever is to hold it, this package or an heir that has not taken it yet.
func TestANamespaceStaysForWhatIsToBeInIt(t *testing.T) {
	s := newStation(t)
	s.start()
	space := fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"%s-two"}}`, s.namespace)
	inside := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"inside","namespace":"%s-two"}}`, s.namespace)
	s.assign(s.release("shop/giver", "one", space, inside, s.configMap("own", nil)), s.release("shop/taker", "one", s.configMap("theirs", nil)))
	s.reaches("shop/giver", "one", wire.PackageStatus_APPLIED)
	s.reaches("shop/taker", "one", wire.PackageStatus_APPLIED)
	stays := func(what string) {
		t.Helper()
		ns, err := s.client.CoreV1().Namespaces().Get(t.Context(), s.namespace+"-two", metav1.GetOptions{})
		if err != nil || ns.DeletionTimestamp != nil {
			t.Fatalf("%s: the namespace was deleted: %v", what, err)
		}
	}
	s.assign(s.release("shop/giver", "two", inside, s.configMap("own", nil)))
	st := s.reaches("shop/giver", "two", wire.PackageStatus_FAILED)
	if !strings.Contains(st.GetMessage(), "package shop/giver is to hold") {
		t.Errorf("the status does not say what stands in the way: %s", st.GetMessage())
	}
	stays("the package itself keeps an object there")

	s.assign(s.release("shop/giver", "three", s.configMap("own", nil)), s.release("shop/taker", "two", s.configMap("theirs", nil), inside))
	s.reaches("shop/taker", "two", wire.PackageStatus_APPLIED)
	s.reaches("shop/giver", "three", wire.PackageStatus_FAILED)
	stays("an heir has an object there")
}

// TestRemovalsThatWaitForEachOther: each package has an object in the other's namespace.
func TestRemovalsThatWaitForEachOther(t *testing.T) {
	s := newStation(t)
	s.start()
	space := func(name string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"%s-%s"}}`, s.namespace, name)
	}
	inside := func(name string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"inside","namespace":"%s-%s"}}`, s.namespace, name)
	}
	s.assign(s.release("shop/a", "one", space("a")), s.release("shop/b", "one", space("b")))
	s.reaches("shop/a", "one", wire.PackageStatus_APPLIED)
	s.reaches("shop/b", "one", wire.PackageStatus_APPLIED)
	s.assign(s.release("shop/a", "two", space("a"), inside("b")), s.release("shop/b", "two", space("b"), inside("a")))
	s.reaches("shop/a", "two", wire.PackageStatus_APPLIED)
	s.reaches("shop/b", "two", wire.PackageStatus_APPLIED)
	s.unassign("shop/a", "shop/b")
	s.holdsNothing()
}

// TestAMoveThatIsTakenBack: the heir could not take the object over before the commit was reverted.
func TestAMoveThatIsTakenBack(t *testing.T) {
	s := newStation(t)
	s.start()
	one := s.release("shop/giver", "one", s.configMap("moves", map[string]string{"k": "v"}), s.configMap("stays", nil))
	taker := s.release("shop/taker", "one", s.configMap("own", nil))
	s.assign(one, taker)
	s.reaches("shop/giver", "one", wire.PackageStatus_APPLIED)
	s.reaches("shop/taker", "one", wire.PackageStatus_APPLIED)
	before := s.uid("moves")

	g, tk := s.engine.roster.get("shop/giver"), s.engine.roster.get("shop/taker")
	for key := range g.inventory {
		if key.Name == "moves" {
			s.engine.index.give(key, g, tk) // as far as it got before the revert
		}
	}
	s.assign(s.release("shop/giver", "two", s.configMap("moves", map[string]string{"k": "2"}), s.configMap("stays", nil)))
	s.reaches("shop/giver", "two", wire.PackageStatus_APPLIED)
	s.hasData("moves", map[string]string{"k": "2"})
	if s.uid("moves") != before {
		t.Error("the object was deleted and made anew; it should have stayed")
	}
	s.remove("moves")
	s.hasData("moves", map[string]string{"k": "2"})
	s.unassign("shop/giver")
	s.lacks("moves")
}

// TestTwoThatWaitDoNotSpin: packages with something to prune wait for a third whose release cannot be had.
func TestTwoThatWaitDoNotSpin(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(
		s.release("shop/a", "one", s.configMap("a", nil)), s.release("shop/b", "one", s.configMap("b", nil)),
		s.release("shop/third", "one", s.configMap("third", nil)))
	for _, name := range []string{"shop/a", "shop/b", "shop/third"} {
		s.reaches(name, "one", wire.PackageStatus_APPLIED)
	}
	s.offline.Store(true)
	s.assign(s.release("shop/third", "two", s.configMap("third", map[string]string{"k": "2"})))
	s.reaches("shop/third", "two", wire.PackageStatus_FAILED)
	s.unassign("shop/a", "shop/b")
	for _, name := range []string{"shop/a", "shop/b"} {
		s.eventually(name+" says whom it waits for", func() error {
			if st := s.status(name); !strings.Contains(st.GetMessage(), "shop/third") {
				return fmt.Errorf("it is %v", st)
			}
			return nil
		})
	}
	said := 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); said++ { // each pass says something
		select {
		case <-s.engine.Changed():
			_ = s.engine.Take()
		case <-time.After(time.Until(end)):
		}
	}
	if said > 20 {
		t.Errorf("%d passes in a second of waiting", said)
	}
	s.offline.Store(false)
	s.lacks("a")
	s.lacks("b")
}
