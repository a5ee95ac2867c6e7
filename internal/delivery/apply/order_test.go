package apply

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/wire"
)

// ready makes a Deployment healthy, as its controller would.
func (s *station) ready(name string) {
	s.t.Helper()
	deployments := s.client.AppsV1().Deployments(s.namespace)
	d, err := deployments.Get(s.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	n := *d.Spec.Replicas
	d.Status = appsv1.DeploymentStatus{
		ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n,
		Conditions: []appsv1.DeploymentCondition{
			{Type: appsv1.DeploymentAvailable, Status: "True"}, {Type: appsv1.DeploymentProgressing, Status: "True", Reason: "NewReplicaSetAvailable"},
		},
	}
	if _, err := deployments.UpdateStatus(s.t.Context(), d, metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *station) dependent(name, on string) string {
	return annotated(s.configMap(name, nil), "umbel.dev/depends-on", on)
}

// TestOneAfterTheOther: an object is applied once what it depends on is healthy, and not before; what depends on nothing does
// not wait; and all of it goes in reverse order.
func TestOneAfterTheOther(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/web", "r1", fmt.Sprintf(scalable, s.namespace, 1, "a"),
		s.dependent("second", "Deployment.apps "+s.namespace+"/web"), s.dependent("third", "ConfigMap second"), s.configMap("free", nil)))
	s.hasData("free", nil)
	s.eventually("it says what it waits for", func() error {
		if st := s.status("shop/web"); !strings.Contains(st.GetMessage(), "second waits for Deployment.apps "+s.namespace+"/web, which is not healthy") || st.GetApplied() != 2 {
			return fmt.Errorf("status: %v", st)
		}
		return nil
	})
	s.lacks("second")
	s.lacks("third")
	s.ready("web")
	s.hasData("third", nil)
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	created := func(name string) time.Time {
		cm, err := s.getConfigMap(name)
		if err != nil {
			t.Fatal(err)
		}
		return cm.CreationTimestamp.Time
	}
	if created("third").Before(created("second")) {
		t.Error("the third came before the second")
	}
	s.stop() // the order is known from the disk alone
	third, err := s.getConfigMap("third")
	if err != nil {
		t.Fatal(err)
	}
	third.Finalizers = []string{"example.com/slow"}
	if _, err := s.client.CoreV1().ConfigMaps(s.namespace).Update(t.Context(), third, metav1.UpdateOptions{FieldManager: "slow"}); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.unassign("shop/web")
	s.eventually("the third is on its way out", func() error {
		third, err = s.getConfigMap("third")
		if err == nil && third.DeletionTimestamp == nil {
			err = errors.New("it stays")
		}
		return err
	})
	s.hasData("second", nil)
	third.Finalizers = nil
	if _, err := s.client.CoreV1().ConfigMaps(s.namespace).Update(t.Context(), third, metav1.UpdateOptions{FieldManager: "slow"}); err != nil {
		t.Fatal(err)
	}
	s.holdsNothing()
	s.lacks("second")
}

// TestOrdersThatNobodyCanKeep are told of the object that asks for them, and hold nobody else up.
func TestOrdersThatNobodyCanKeep(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/web", "r1", s.configMap("free", nil),
		s.dependent("a", "ConfigMap b"), s.dependent("b", "ConfigMap a"), s.dependent("lost", "Secret nowhere"),
		annotated(s.configMap("odd", nil), "umbel.dev/drift", "perhaps")))
	st := s.reaches("shop/web", "r1", wire.PackageStatus_FAILED)
	s.hasData("free", nil)
	text := fmt.Sprint(st.GetFailures())
	for _, want := range []string{"it depends on itself: ConfigMap " + s.namespace + "/a → ", "it depends on Secret nowhere, which is not in this package", "perhaps"} {
		if !strings.Contains(text, want) {
			t.Errorf("got %s, want %q", text, want)
		}
	}
	if len(st.GetFailures()) != 4 || !strings.Contains(st.GetFailures()[0].GetFile(), "r1/") {
		t.Errorf("got %d failures, want 4: %s", len(st.GetFailures()), text)
	}
}

// TestAWaitEnds when it has taken too long: what waited is named with what it waited for, and comes when that is healthy.
func TestAWaitEnds(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/web", "r1", fmt.Sprintf(scalable, s.namespace, 1, "a"),
		annotated(s.dependent("second", "Deployment.apps web"), "umbel.dev/depends-on-timeout", "300ms")))
	st := s.reaches("shop/web", "r1", wire.PackageStatus_FAILED)
	if len(st.GetFailures()) != 1 || !strings.Contains(st.GetFailures()[0].GetMessage(), "it was not applied: it depends on Deployment.apps "+s.namespace+"/web, which is not healthy") {
		t.Errorf("got %v", st.GetFailures())
	}
	s.lacks("second")
	s.ready("web")
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	s.hasData("second", nil)
}
