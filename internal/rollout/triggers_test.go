package rollout

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"umbel.dev/umbel/api/v1alpha1"
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
