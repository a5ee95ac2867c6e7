package apply

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/bundle"
)

func TestConsent(t *testing.T) {
	key := func(i int) bundle.Key {
		return bundle.Key{Kind: "ConfigMap", Namespace: "a", Name: fmt.Sprintf("o-%02d", i)}
	}
	leaving := func(n int) (all []leaver) {
		for i := range n {
			all = append(all, leaver{key: key(i)})
		}
		return all
	}
	space := leaver{key: bundle.Key{Kind: "Namespace", Name: "a"}}
	kept := func(n int, despite string) (all []leaver) {
		for i := range n {
			all = append(all, leaver{key: key(50 + i), kept: true, despite: despite})
		}
		return all
	}
	budget := func(n uint32) *wire.Policy {
		return &wire.Policy{DeleteBudget: &wire.Budget{Limit: &wire.Budget_Count{Count: n}}}
	}
	approved := func(objects, protected uint32, id string) *wire.Policy {
		p := approving("two", objects, protected)
		p.DeleteApprovals[0].Id = id
		return p
	}
	for _, c := range []struct {
		reason  string
		policy  *wire.Policy
		holds   int
		leaving []leaver
		may     int
		why     string
		held    *wire.DeletesHeld // without names
	}{
		{"within the default", nil, 100, leaving(10), 10, causeBudget, nil},
		{"one more: nothing goes", nil, 100, leaving(11), 0, "", &wire.DeletesHeld{Objects: 11, Holds: 100, Allowed: 10}},
		{"all of a package that is empty now", nil, 100, leaving(100), 0, "", &wire.DeletesHeld{Objects: 100, Holds: 100, Allowed: 10}},
		{"the only object, replaced by another", nil, 2, leaving(1), 1, causeBudget, nil},
		{"a budget of none", budget(0), 100, leaving(1), 0, "", &wire.DeletesHeld{Objects: 1, Holds: 100}},
		{"a budget of its own", budget(40), 100, leaving(40), 40, causeBudget, nil},
		{"no budget allows a namespace", budget(40), 100, []leaver{space}, 0, "", &wire.DeletesHeld{Objects: 1, Holds: 100, Allowed: 40, Protected: 1}},
		{"nor anything beside it", budget(40), 100, append(leaving(1), space), 0, "", &wire.DeletesHeld{Objects: 2, Holds: 100, Allowed: 40, Protected: 1}},
		{"approved", approved(45, 0, "1"), 100, leaving(45), 45, causeApproved, nil},
		{"fewer than approved: some are gone already", approved(45, 0, "1"), 100, leaving(20), 20, causeApproved, nil},
		{"more than approved", approved(45, 0, "1"), 100, leaving(46), 0, "", &wire.DeletesHeld{Objects: 46, Holds: 100, Allowed: 10}},
		{"approved, but not the namespace", approved(45, 0, "1"), 100, append(leaving(1), space), 0, "", &wire.DeletesHeld{Objects: 2, Holds: 100, Allowed: 10, Protected: 1}},
		{"approved with the namespace", approved(45, 1, "1"), 100, append(leaving(1), space), 2, causeApproved, nil},
		{"another release was approved", approving("one", 1000, 1000), 100, leaving(45), 0, "", &wire.DeletesHeld{Objects: 45, Holds: 100, Allowed: 10}},
		{"brought back after it went within the budget", nil, 100, kept(3, ""), 0, causeBudget, &wire.DeletesHeld{Objects: 3, Holds: 100, Allowed: 10, Kept: 3}},
		{"what else leaves goes all the same", nil, 100, append(leaving(2), kept(3, "")...), 2, causeBudget, &wire.DeletesHeld{Objects: 3, Holds: 100, Allowed: 10, Kept: 3}},
		{"brought back after it was approved", approved(45, 0, "1"), 100, kept(45, "1"), 0, causeApproved, &wire.DeletesHeld{Objects: 45, Holds: 100, Allowed: 10, Kept: 45}},
		{"and approved again since", approved(45, 0, "2"), 100, kept(45, "1"), 45, causeApproved, nil},
		{"approved since, after it went within the budget", approved(3, 0, "1"), 100, kept(3, ""), 3, causeApproved, nil},
		{"nor does the next release, of what was approved for this one", nil, 100, kept(3, "1"), 0, causeBudget, &wire.DeletesHeld{Objects: 3, Holds: 100, Allowed: 10, Kept: 3}},
		{"the next release does not take it either", approving("one", 45, 0), 100, kept(3, ""), 0, causeBudget, &wire.DeletesHeld{Objects: 3, Holds: 100, Allowed: 10, Kept: 3}},
	} {
		may, why, held := consent(c.policy, proposal{release: "two", holds: c.holds, leaving: c.leaving})
		if len(may) != c.may || c.may > 0 && why != c.why {
			t.Errorf("%s: %d may go because of %q, want %d because of %q", c.reason, len(may), why, c.may, c.why)
		}
		if diff := cmp.Diff(c.held, held, protocmp.Transform(), protocmp.IgnoreFields(&wire.DeletesHeld{}, "names")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
		if held != nil && len(held.GetNames()) != min(maxNamed, int(held.GetObjects())) {
			t.Errorf("%s: it names %d", c.reason, len(held.GetNames()))
		}
		if held.GetProtected() > 0 && held.GetNames()[0] != space.key.String() {
			t.Errorf("%s: the first that it names is %s", c.reason, held.GetNames()[0])
		}
	}
}

// objects are so many ConfigMaps.
func (s *station) objects(from, to int, value string) []string {
	var objects []string
	for i := from; i < to; i++ {
		objects = append(objects, s.configMap(fmt.Sprintf("o-%02d", i), map[string]string{"k": value}))
	}
	return objects
}

// count says how many ConfigMaps of packages there are.
func (s *station) count() int {
	s.t.Helper()
	list, err := s.client.CoreV1().ConfigMaps(s.namespace).List(s.t.Context(), metav1.ListOptions{LabelSelector: "umbel.dev/package"})
	if err != nil {
		s.t.Fatal(err)
	}
	return len(list.Items)
}

// holdsBack waits until a package says which deletes wait.
func (s *station) holdsBack(pkg, release string, want *wire.DeletesHeld) {
	s.t.Helper()
	s.eventually(pkg+" says what it holds back", func() error {
		st := s.status(pkg)
		ignore := protocmp.IgnoreFields(&wire.DeletesHeld{}, "names")
		if diff := cmp.Diff(want, st.GetDeletesHeld(), protocmp.Transform(), ignore); diff != "" || st.GetPhase() != wire.PackageStatus_APPLIED || st.GetRelease() != release {
			return fmt.Errorf("it is %v (-want +got):\n%s", st, diff)
		}
		return nil
	})
}

// TestOverBudget: everything else of the release is applied, and nothing is pruned, also after a restart, until the policy
// alone changes.
func TestOverBudget(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(careful(s.release("shop/web", "one", s.objects(0, 20, "1")...)))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	two := careful(s.release("shop/web", "two", append(s.objects(0, 10, "2"), s.configMap("new", nil))...))
	s.assign(two)
	want := &wire.DeletesHeld{Objects: 10, Holds: 21, Allowed: 3}
	s.holdsBack("shop/web", "two", want)
	s.hasData("o-00", map[string]string{"k": "2"})
	s.hasData("new", nil)
	if got := s.count(); got != 21 {
		t.Errorf("%d objects, want all 21", got)
	}
	if st := s.status("shop/web"); st.GetObjects() != 11 || st.GetApplied() != 11 || st.GetHealthy() != 11 {
		t.Errorf("what waits to be deleted is counted: %v", st)
	}
	s.remove("o-00") // what is wanted is still repaired
	s.hasData("o-00", map[string]string{"k": "2"})

	s.stop()
	s.writes.Store(0)
	s.start()
	s.holdsBack("shop/web", "two", want)
	if got := s.writes.Load(); got != 0 || s.count() != 21 {
		t.Errorf("after a restart: %d writes, %d objects", got, s.count())
	}

	s.assign(under(two, approving("one", 1<<30, 0), "of another release"))
	s.assign(under(two, approving("two", 9, 0), "of fewer"))
	s.holdsBack("shop/web", "two", want)
	half := &wire.Policy{DeleteBudget: &wire.Budget{Limit: &wire.Budget_Percent{Percent: 50}}}
	s.assign(under(two, half, "half"))
	s.holdsBack("shop/web", "two", nil)
	if got := s.count(); got != 11 {
		t.Errorf("%d objects, want 11", got)
	}
	if st := s.status("shop/web"); st.GetPolicyId() != "half" {
		t.Errorf("the policy that is kept is %q", st.GetPolicyId())
	}
}

// TestWhatWaitsStandsForNothing: objects that wait to be deleted are healthy, and one of the release that is not stays unhealthy beside
// them: a rollout would go on past it otherwise.
func TestWhatWaitsStandsForNothing(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(careful(s.release("shop/web", "one", s.objects(0, 20, "1")...)))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	s.assign(careful(s.release("shop/web", "two", append(s.objects(0, 10, "1"), s.deployment("never"))...)))
	s.holdsBack("shop/web", "two", &wire.DeletesHeld{Objects: 10, Holds: 21, Allowed: 3})
	if st := s.status("shop/web"); st.GetObjects() != 11 || st.GetApplied() != 11 || st.GetHealthy() != 10 {
		t.Errorf("a Deployment without pods is taken for healthy: %v", st)
	}
}

// TestAReleaseOfNextToNothing: a release of nothing is none, and one of a single object takes nothing by itself.
func TestAReleaseOfNextToNothing(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(careful(s.release("shop/web", "one", s.objects(0, 4, "1")...)))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	s.assign(careful(s.release("shop/web", "little", s.configMap("other", nil))))
	s.holdsBack("shop/web", "little", &wire.DeletesHeld{Objects: 4, Holds: 5, Allowed: 2})
	if got := s.count(); got != 5 {
		t.Errorf("%d objects are left of 5", got)
	}
}

// TestANamespaceWaitsForAWord, whatever the budget.
func TestANamespaceWaitsForAWord(t *testing.T) {
	s := newStation(t)
	s.start()
	all := &wire.Policy{DeleteBudget: &wire.Budget{Limit: &wire.Budget_Percent{Percent: 100}}}
	space := fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"%s-more"}}`, s.namespace)
	claim := fmt.Sprintf(`{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"data","namespace":%q},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}`, s.namespace)
	group := s.namespace + ".example.com"
	definition := fmt.Sprintf(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"wares.%[1]s"},"spec":{"group":%[1]q,"scope":"Namespaced",`+
		`"names":{"kind":"Ware","plural":"wares"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]}}`, group)
	s.assign(under(s.release("shop/web", "one", append(s.objects(0, 3, "1"), space, claim, definition)...), all, "all"))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	two := under(s.release("shop/web", "two", s.objects(0, 2, "1")...), all, "all")
	s.assign(two)
	s.holdsBack("shop/web", "two", &wire.DeletesHeld{Objects: 4, Holds: 6, Allowed: 6, Protected: 3})
	names := strings.Join(s.status("shop/web").GetDeletesHeld().GetNames(), "\n")
	for _, want := range []string{"Namespace " + s.namespace + "-more", "CustomResourceDefinition.apiextensions.k8s.io wares." + group, "PersistentVolumeClaim " + s.namespace + "/data"} {
		if !strings.Contains(names, want) {
			t.Errorf("it names %s, and not %s", names, want)
		}
	}
	s.assign(under(two, approving("two", 4, 3), "approved"))
	s.holdsBack("shop/web", "two", nil)
	s.lacks("o-02")
	s.eventually("the namespace goes", func() error {
		ns, err := s.client.CoreV1().Namespaces().Get(t.Context(), s.namespace+"-more", metav1.GetOptions{})
		if err == nil && ns.DeletionTimestamp == nil {
			return errors.New("it stays")
		}
		return nil
	})
}

// TestWhatIsTakenOverIsNoDelete: what another package wants is handed over, whatever the budget.
func TestWhatIsTakenOverIsNoDelete(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(careful(s.release("shop/giver", "one", s.objects(0, 10, "1")...)), careful(s.release("shop/taker", "one", s.configMap("own", nil))))
	s.reaches("shop/giver", "one", wire.PackageStatus_APPLIED)
	s.reaches("shop/taker", "one", wire.PackageStatus_APPLIED)
	s.assign(careful(s.release("shop/giver", "two", s.objects(0, 1, "1")...)))
	s.holdsBack("shop/giver", "two", &wire.DeletesHeld{Objects: 9, Holds: 10, Allowed: 3})
	before := s.uid("o-05")
	s.assign(careful(s.release("shop/taker", "two", append(s.objects(1, 10, "1"), s.configMap("own", nil))...)))
	s.reaches("shop/taker", "two", wire.PackageStatus_APPLIED)
	s.holdsBack("shop/giver", "two", nil)
	if s.uid("o-05") != before {
		t.Error("the object was deleted and made anew")
	}
}
