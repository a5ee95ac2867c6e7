package apply

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// contested is what the status of a package says of others, as PACKAGE: OBJECT.
func (s *station) contested(pkg string) (contests []string) {
	for _, c := range s.status(pkg).GetContested() {
		contests = append(contests, c.GetPackage()+": "+c.GetObject())
	}
	return contests
}

// contest waits until a package says that others want these.
func (s *station) contest(pkg string, want ...string) {
	s.t.Helper()
	s.eventually(pkg+" is told who else wants what it holds", func() error {
		if diff := cmp.Diff(want, s.contested(pkg)); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

// failsWith waits until a package has a failure that says so.
func (s *station) failsWith(pkg, text string) {
	s.t.Helper()
	s.eventually(pkg+" says "+text, func() error {
		if !slices.ContainsFunc(s.status(pkg).GetFailures(), func(f *wire.Failure) bool { return strings.Contains(f.GetMessage(), text) }) {
			return fmt.Errorf("got %v", s.status(pkg))
		}
		return nil
	})
}

// TestThePlatformGoesBeforeATeam: whoever came first, the object is applied over and never made anew; both are told; and the
// team's package gets it back when the platform's gives it up, or goes.
func TestThePlatformGoesBeforeATeam(t *testing.T) {
	for _, c := range []struct {
		name         string
		first, later string
		restart      bool
	}{
		{"the team came first", "team/web", "platform/base", false},
		{"the platform came first", "platform/base", "team/web", false},
		{"the team came first, and the agent starts again", "team/web", "platform/base", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStation(t)
			s.start()
			account := s.team("deployer")
			theirs, platform := map[string]string{"by": "team"}, map[string]string{"by": "platform"}
			orders := map[string]*wire.Assignment{
				"team/web":      acting(s.release("team/web", "r1", s.configMap("shared", theirs), s.configMap("own", theirs)), account),
				"platform/base": s.release("platform/base", "r1", s.configMap("shared", platform), s.configMap("base", platform)),
			}
			s.assign(orders[c.first])
			s.reaches(c.first, "r1", wire.PackageStatus_APPLIED)
			uid := s.uid("shared")
			s.assign(orders[c.later])
			s.reaches("platform/base", "r1", wire.PackageStatus_APPLIED)
			s.reaches("team/web", "r1", wire.PackageStatus_FAILED)
			object := "ConfigMap " + s.namespace + "/shared"
			s.hasData("shared", platform)
			s.contest("platform/base", "team/web: "+object)
			s.failsWith("team/web", "it belongs to package platform/base, which is the platform's and goes before a team's")
			if c.restart {
				s.stop()
				before := s.writes.Load()
				s.start()
				s.reaches("platform/base", "r1", wire.PackageStatus_APPLIED)
				s.contest("platform/base", "team/web: "+object)
				// The team's is refused again, and again, which takes asking whether it might; that changes nothing.
				s.hasData("shared", platform)
				if n := s.writes.Load() - before; n > 1 {
					t.Errorf("the start took %d writes", n)
				}
			}
			s.remove("own") // what is the team's alone is looked after
			s.hasData("own", theirs)
			s.update("shared", func(cm *corev1.ConfigMap) { cm.Data["by"] = "nobody" })
			s.hasData("shared", platform)

			s.assign(s.release("platform/base", "r2", s.configMap("base", platform)))
			s.reaches("platform/base", "r2", wire.PackageStatus_APPLIED)
			s.reaches("team/web", "r1", wire.PackageStatus_APPLIED)
			s.hasData("shared", theirs)
			s.contest("platform/base")

			s.assign(s.release("platform/base", "r3", s.configMap("base", platform), s.configMap("shared", platform)))
			s.hasData("shared", platform)
			s.reaches("platform/base", "r3", wire.PackageStatus_APPLIED)
			s.unassign("platform/base") // all of it goes, but for what the team wants
			s.lacks("base")
			s.hasData("shared", theirs)
			s.reaches("team/web", "r1", wire.PackageStatus_APPLIED)
			if now := s.uid("shared"); c.first == "team/web" && now != uid {
				t.Errorf("it was made anew: %s after %s", now, uid)
			}
			s.unassign("team/web")
			s.lacks("shared")
			s.holdsNothing()
		})
	}
}

// TestATeamThatIsSlowGetsItsObjectBack: what the platform gives up stays until the team has written it, however long that takes.
func TestATeamThatIsSlowGetsItsObjectBack(t *testing.T) {
	s := newStation(t)
	s.start()
	theirs, platform := map[string]string{"by": "team"}, map[string]string{"by": "platform"}
	s.assign(acting(s.release("team/web", "r1", s.configMap("shared", theirs)), s.team("deployer")))
	s.reaches("team/web", "r1", wire.PackageStatus_APPLIED)
	uid := s.uid("shared")
	s.assign(s.release("platform/base", "r1", s.configMap("shared", platform), s.configMap("base", platform)))
	s.reaches("platform/base", "r1", wire.PackageStatus_APPLIED)
	s.reaches("team/web", "r1", wire.PackageStatus_FAILED)

	var refused atomic.Int64
	stop := s.meddling(http.MethodPatch, "shared", func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.URL.Query().Has("dryRun") {
			return next.RoundTrip(r)
		}
		refused.Add(1)
		return nil, errors.New("the line is cut")
	})
	s.assign(s.release("platform/base", "r2", s.configMap("base", map[string]string{"by": "r2"})))
	s.hasData("base", map[string]string{"by": "r2"})
	s.eventually("the team tries again", func() error {
		if n := refused.Load(); n < 2 {
			return fmt.Errorf("it tried %d times", n)
		}
		return nil
	})
	stop()
	s.hasData("shared", theirs)
	s.reaches("team/web", "r1", wire.PackageStatus_APPLIED)
	s.reaches("platform/base", "r2", wire.PackageStatus_APPLIED)
	if now := s.uid("shared"); now != uid {
		t.Errorf("it was made anew: %s after %s", now, uid)
	}
}

// TestATeamKeepsNobodyFromWhatIsNotItsOwn: to name what it has no right to neither keeps others from having it, nor from
// deleting it, nor tells the team whose it is.
func TestATeamKeepsNobodyFromWhatIsNotItsOwn(t *testing.T) {
	s := newStation(t)
	s.start()
	account, other := s.team("deployer"), s.team("stranger")
	s.revoke(other)
	mine := map[string]string{"by": "the team"}
	squat := []string{s.configMap("coveted", nil), s.configMap("kept", nil), object("v1", "Namespace", "", s.namespace+"-x", "")}
	// It waits for what never comes, so that it is never even tried.
	squat = append(squat, strings.Replace(s.configMap("patient", nil), `"metadata":{`, `"metadata":{"annotations":{"umbel.dev/depends-on":"ConfigMap coveted"},`, 1))
	squat = append(squat, object("v1", "ConfigMap", s.namespace+"-x", "inside", ""))
	s.assign(acting(s.release("other/squatter", "r1", squat...), other))
	s.reaches("other/squatter", "r1", wire.PackageStatus_FAILED)

	s.assign(acting(s.release("team/web", "r1", s.configMap("coveted", mine), s.configMap("kept", mine), s.configMap("patient", mine)), account))
	s.reaches("team/web", "r1", wire.PackageStatus_APPLIED)
	s.assign(s.release("platform/base", "r1", object("v1", "Namespace", "", s.namespace+"-x", ""), s.configMap("base", nil)))
	s.reaches("platform/base", "r1", wire.PackageStatus_APPLIED)
	for _, name := range []string{"coveted", "kept", "patient"} {
		s.hasData(name, mine)
	}
	s.stop()
	s.start() // nor does it after a start
	s.reaches("team/web", "r1", wire.PackageStatus_APPLIED)
	s.eventually("the squatter is told that it may not, and no more", func() error {
		st := s.status("other/squatter")
		if st.GetPhase() != wire.PackageStatus_FAILED || len(st.GetFailures()) != 5 {
			return fmt.Errorf("got %v", st)
		}
		for _, f := range st.GetFailures() {
			if strings.Contains(f.GetMessage(), "team/web") || strings.Contains(f.GetMessage(), "platform/base") {
				t.Fatalf("it is told of others: %v", f)
			}
		}
		return nil
	})
	if contests := append(s.contested("team/web"), s.contested("platform/base")...); len(contests) > 0 {
		t.Errorf("what nobody may have is no contest: %v", contests)
	}

	s.assign(acting(s.release("team/web", "r2", s.configMap("coveted", mine)), account))
	s.reaches("team/web", "r2", wire.PackageStatus_APPLIED)
	s.lacks("kept")
	s.lacks("patient")
	s.unassign("platform/base", "team/web")
	s.lacks("coveted")
	s.lacks("base")
	s.eventually("the Namespace goes, whatever a team wants in it", func() error {
		if ns, err := s.client.CoreV1().Namespaces().Get(t.Context(), s.namespace+"-x", metav1.GetOptions{}); err == nil && ns.DeletionTimestamp == nil {
			return errors.New("it stays")
		}
		for _, st := range s.engine.Held() {
			if st.GetPackage() != "other/squatter" {
				return fmt.Errorf("there is still %v", st)
			}
		}
		return nil
	})
}

// TestATeamKeepsNoRightThatIsTakenAway, by naming what gave it to it.
func TestATeamKeepsNoRightThatIsTakenAway(t *testing.T) {
	s := newStation(t)
	s.start()
	account := s.team("deployer")
	s.revoke(account)
	right := object("rbac.authorization.k8s.io/v1", "RoleBinding", s.namespace, "right", fmt.Sprintf(
		`,"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":%q},"subjects":[{"kind":"ServiceAccount","namespace":%q,"name":"deployer"}]`, teamRole, s.namespace))
	s.assign(s.release("platform/scope", "r1", right))
	s.reaches("platform/scope", "r1", wire.PackageStatus_APPLIED)
	s.assign(acting(s.release("team/web", "r1", right, s.configMap("own", nil)), account))
	s.hasData("own", nil)
	s.failsWith("team/web", "it belongs to package platform/scope") // which it may write as long as it has it
	s.unassign("platform/scope")
	s.eventually("the right is taken away", func() error {
		if s.may(account) {
			return errors.New("it has it")
		}
		return nil
	})
	s.failsWith("team/web", "rolebindings.rbac.authorization.k8s.io \"right\" is forbidden")
	if _, err := s.client.RbacV1().RoleBindings(s.namespace).Get(t.Context(), "right", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the binding: %v", err)
	}
}

// TestATeamThatIsNotHereYetHoldsUpNobody: what nobody knows of a team's package is nothing that the platform's waits for.
func TestATeamThatIsNotHereYetHoldsUpNobody(t *testing.T) {
	s := newStation(t)
	s.start()
	account := s.team("deployer")
	never := acting(s.release("team/never", "r1", s.configMap("never", nil)), account)
	s.mu.Lock()
	delete(s.blobs, never.GetContent().GetDigest())
	s.mu.Unlock()
	s.assign(never)
	s.reaches("team/never", "r1", wire.PackageStatus_FAILED)
	s.assign(s.release("platform/base", "r1", s.configMap("base", nil), s.configMap("leaves", nil)))
	s.reaches("platform/base", "r1", wire.PackageStatus_APPLIED)
	s.assign(s.release("platform/base", "r2", s.configMap("base", nil)))
	s.reaches("platform/base", "r2", wire.PackageStatus_APPLIED)
	s.lacks("leaves")
	s.unassign("platform/base")
	s.lacks("base")
}

// TestATeamSeesNothingByItsHealthRules of an object that it has not written: the agent sees it, and tells nobody.
func TestATeamSeesNothingByItsHealthRules(t *testing.T) {
	s := newStation(t)
	s.createDeployment("secretive")
	labelled := []byte(`{"metadata":{"labels":{"umbel.dev/package":"gone.long"}}}`) // as a package leaves it that is forgotten
	if _, err := s.client.AppsV1().Deployments(s.namespace).Patch(t.Context(), "secretive", types.MergePatchType, labelled, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.assign(s.release("platform/base", "r1", s.deployment("other"))) // so that the agent watches the kind
	s.reaches("platform/base", "r1", wire.PackageStatus_APPLIED)
	account := s.team("stranger")
	s.revoke(account)
	policy := &wire.Policy{ActsAs: account, Health: []*wire.HealthRule{{
		Group: "apps", Kind: "Deployment", Healthy: "false", Failed: "true", Message: "'image ' + self.spec.template.spec.containers[0].image",
	}}}
	waits := strings.Replace(s.deployment("secretive"), `"annotations":{`, `"annotations":{"umbel.dev/depends-on":"ConfigMap never",`, 1)
	for i, escape := range []string{s.deployment("secretive"), waits} {
		pkg := fmt.Sprintf("team/spy-%d", i)
		a := acting(s.release(pkg, "r1", escape, s.configMap("never", nil)), account)
		a.Policy = policy
		s.assign(a)
		s.reaches(pkg, "r1", wire.PackageStatus_FAILED)
		for again := range 3 {
			touched := fmt.Appendf(nil, `{"metadata":{"annotations":{"again":"%d-%d"}}}`, i, again)
			if _, err := s.client.AppsV1().Deployments(s.namespace).Patch(t.Context(), "secretive", types.MergePatchType, touched, metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
			a.PolicyId = fmt.Sprintf("again %d", again)
			s.assign(a)
			s.eventually("another attempt", func() error {
				st := s.status(pkg)
				if text := st.String(); strings.Contains(text, "theirs") {
					t.Fatalf("it is told of an object that it may not see: %s", text)
				}
				if st.GetPolicyId() != a.PolicyId || st.GetPhase() != wire.PackageStatus_FAILED || len(st.GetFailures()) != 2 {
					return fmt.Errorf("it is %v", st)
				}
				return nil
			})
		}
		s.unassign(pkg)
		s.eventually("it goes", func() error {
			if st := s.status(pkg); st != nil {
				return fmt.Errorf("%v", st)
			}
			return nil
		})
	}
}

// TestOfEqualsTheFirstKeepsIt, be they two teams that may both have it, and both are told.
func TestOfEqualsTheFirstKeepsIt(t *testing.T) {
	s := newStation(t)
	s.start()
	a, b := s.team("a"), s.team("b")
	s.assign(acting(s.release("a/web", "r1", s.configMap("shared", map[string]string{"by": "a"})), a))
	s.reaches("a/web", "r1", wire.PackageStatus_APPLIED)
	s.assign(acting(s.release("b/web", "r1", s.configMap("shared", map[string]string{"by": "b"})), b))
	s.failsWith("b/web", "it belongs to package a/web already")
	s.contest("a/web", "b/web: ConfigMap "+s.namespace+"/shared")
	s.stop()
	s.start()
	s.failsWith("b/web", "it belongs to package a/web already")
	s.hasData("shared", map[string]string{"by": "a"})
	s.unassign("a/web")
	s.reaches("b/web", "r1", wire.PackageStatus_APPLIED)
	s.hasData("shared", map[string]string{"by": "b"})
}

// TestALabelIsNoClaim: whoever takes off an object whose it is, or says that it is another's, changes nothing of that: the package that has
// it by its inventory keeps it and puts the label back, also when that happens while no agent runs; both are told.
func TestALabelIsNoClaim(t *testing.T) {
	for name, change := range map[string]func(labels map[string]string){
		"it says nothing":              func(labels map[string]string) { delete(labels, v1alpha1.PackageLabel) },
		"it says that it is the other": func(labels map[string]string) { labels[v1alpha1.PackageLabel] = "shop.rival" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStation(t)
			s.start()
			ours := map[string]string{"by": "first"}
			s.assign(s.release("shop/first", "r1", s.configMap("both", ours)))
			s.reaches("shop/first", "r1", wire.PackageStatus_APPLIED)
			uid := s.uid("both")
			takeOff := func() { s.update("both", func(cm *corev1.ConfigMap) { change(cm.Labels) }) }
			stays := func() {
				t.Helper()
				s.failsWith("shop/rival", "it belongs to package shop/first already")
				s.contest("shop/first", "shop/rival: ConfigMap "+s.namespace+"/both")
				s.eventually("the label is back", func() error {
					cm, err := s.getConfigMap("both")
					if err != nil || cm.Labels[v1alpha1.PackageLabel] != "shop.first" || cm.Data["by"] != "first" || cm.UID != uid {
						return fmt.Errorf("it is %v: %v", cm, err)
					}
					return nil
				})
			}
			s.stop()
			takeOff()
			s.start()
			s.assign(s.release("shop/rival", "r1", s.configMap("both", map[string]string{"by": "rival"})))
			stays()
			takeOff()
			stays()
			s.unassign("shop/rival") // which has nothing to delete
			s.eventually("the rival is gone", func() error {
				if st := s.status("shop/rival"); st != nil {
					return fmt.Errorf("it is %v", st)
				}
				return nil
			})
			if s.uid("both") != uid {
				t.Error("the object was made anew")
			}
		})
	}
}
