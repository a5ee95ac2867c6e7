package rollout

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/conditions"
)

// askedFor is a queue that remembers what is put into it.
type askedFor struct {
	queue
	names []string
}

func (a *askedFor) AddAfter(r reconcile.Request, _ time.Duration) {
	a.names = append(a.names, r.String())
}

func TestWhatAClusterSaysAsksForALook(t *testing.T) {
	says := func(packages ...v1alpha1.MemberPackage) *v1alpha1.MemberCluster {
		m := &v1alpha1.MemberCluster{}
		m.Name, m.Status.Packages = "eu", packages
		return m
	}
	before := says(v1alpha1.MemberPackage{Package: "a/gone"}, v1alpha1.MemberPackage{Package: "a/same", Healthy: 1}, v1alpha1.MemberPackage{Package: "a/web"})
	after := says(v1alpha1.MemberPackage{Package: "a/new"}, v1alpha1.MemberPackage{Package: "a/same", Healthy: 1}, v1alpha1.MemberPackage{Package: "a/web", Healthy: 1})
	asked, members := &askedFor{}, (&Controller{}).ofMember()
	members.Create(t.Context(), event.CreateEvent{Object: after, IsInInitialList: true}, asked)
	if len(asked.names) != 0 {
		t.Errorf("a start asks for %v, which is looked at anyway", asked.names)
	}
	members.Update(t.Context(), event.UpdateEvent{ObjectOld: before, ObjectNew: after}, asked)
	slices.Sort(asked.names)
	if diff := cmp.Diff([]string{"a/gone", "a/new", "a/web"}, asked.names); diff != "" {
		t.Error(diff)
	}
}

// TestAStrategyThatCannotBeReadIsToldOnce, and not each time that a cluster says something.
func TestAStrategyThatCannotBeReadIsToldOnce(t *testing.T) {
	recorder := events.NewFakeRecorder(10)
	c := &Controller{events: recorder, now: time.Now}
	r := v1alpha1.Rollout{Spec: v1alpha1.RolloutSpec{Release: "shop-a"}}
	r.Name = "shop-1"
	r.Spec.Strategy.Stages = []v1alpha1.RolloutStage{{Name: "first", ClusterSelector: metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "region", Operator: "Near"}},
	}}}
	v := &visit{pkg: &v1alpha1.Package{}, rollouts: []v1alpha1.Rollout{r}, decided: true}
	_, err := Begin(&r, nil, c.told(v), c.now())
	if err == nil {
		t.Fatal("it can be read")
	}
	said := invalid(&r, err, metav1.Now())
	conditions.DeriveReady(&said.Conditions, r.Generation, v1alpha1.ConditionRolledOut)
	v.rollouts[0].Status = said
	if err := c.start(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if len(recorder.Events) != 0 {
		t.Errorf("it is told again: %s", <-recorder.Events)
	}
}
