package delivery

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"umbel.dev/umbel/api/v1alpha1"
)

// askedFor is a queue that counts what is put into it.
type askedFor struct {
	queue
	times int
}

func (a *askedFor) AddAfter(reconcile.Request, time.Duration) { a.times++ }

// TestTheClustersOfAStartAskForNothing: with ten thousand clusters and a thousand Packages on each it would be ten million times,
// for Packages that are looked at anyway.
func TestTheClustersOfAStartAskForNothing(t *testing.T) {
	c, asked := &Controller{desired: newDesired(nil)}, &askedFor{}
	m := memberCluster("eu", nil)
	m.Status.Packages = []v1alpha1.MemberPackage{{Package: "a/web"}}
	c.ofMember(c.concerned).Create(t.Context(), event.CreateEvent{Object: m, IsInInitialList: true}, asked)
	if asked.times != 0 {
		t.Errorf("asked %d times", asked.times)
	}
}
