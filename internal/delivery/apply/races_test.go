package apply

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/wire"
)

// TestWhatIsChangedWhileWeLetItGo: a controller that writes its status at that moment does not make an object ours.
func TestWhatIsChangedWhileWeLetItGo(t *testing.T) {
	s := newStation(t)
	s.createDeployment("web")
	s.start()
	s.assign(s.release("shop/web", "one", s.deployment("web")))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	var raced atomic.Int32
	s.meddling(http.MethodPatch, "web", func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Header.Get("Content-Type") == string(types.MergePatchType) && raced.Add(1) < 3 {
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"touched":"%d"}}}`, raced.Load())
			_, err := s.client.AppsV1().Deployments(s.namespace).Patch(r.Context(), "web", types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "controller"})
			if err != nil {
				t.Error(err)
			}
		}
		return next.RoundTrip(r)
	})
	s.unassign("shop/web")
	s.holdsNothing()
	if raced.Load() < 3 {
		t.Errorf("the race was not run: %d", raced.Load())
	}
	if _, err := s.client.AppsV1().Deployments(s.namespace).Get(t.Context(), "web", metav1.GetOptions{}); err != nil {
		t.Errorf("what was there before us is gone: %v", err)
	}
}

// TestALostAnswerDoesNotMakeAnObjectOurs, nor somebody else's.
func TestALostAnswerDoesNotMakeAnObjectOurs(t *testing.T) {
	s := newStation(t)
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}, Data: map[string]string{"more": "theirs"}}
	if _, err := s.client.CoreV1().ConfigMaps(s.namespace).Create(t.Context(), theirs, metav1.CreateOptions{FieldManager: "helm"}); err != nil {
		t.Fatal(err)
	}
	s.start()
	lose := func(method, name string) (stop func()) {
		return s.meddling(method, name, func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			response, err := next.RoundTrip(r)
			if err != nil {
				return nil, err
			}
			_ = response.Body.Close()
			return nil, errors.New("the line was cut before the answer came")
		})
	}
	stop := lose(http.MethodPatch, "theirs")
	s.assign(s.release("shop/web", "one", s.configMap("theirs", map[string]string{"k": "ours"})))
	s.reaches("shop/web", "one", wire.PackageStatus_FAILED)
	stop()
	s.unassign("shop/web") // without having heard how the apply ended
	s.holdsNothing()
	s.hasData("theirs", map[string]string{"more": "theirs"})

	stop = lose(http.MethodPatch, "theirs")
	s.assign(s.release("shop/web", "again", s.configMap("theirs", map[string]string{"k": "ours"})))
	s.reaches("shop/web", "again", wire.PackageStatus_FAILED)
	stop()
	s.assign(s.release("shop/web", "and again", s.configMap("theirs", map[string]string{"k": "still ours"})))
	s.reaches("shop/web", "and again", wire.PackageStatus_APPLIED)
	s.unassign("shop/web")
	s.holdsNothing()
	s.hasData("theirs", map[string]string{"more": "theirs"})

	stop = lose(http.MethodPatch, "ours")
	s.assign(s.release("shop/web", "two", s.configMap("ours", map[string]string{"k": "1"})))
	s.reaches("shop/web", "two", wire.PackageStatus_FAILED)
	time.Sleep(1100 * time.Millisecond) // the API keeps times in whole seconds
	stop()
	s.assign(s.release("shop/web", "three", s.configMap("ours", map[string]string{"k": "2"})))
	s.reaches("shop/web", "three", wire.PackageStatus_APPLIED)
	s.unassign("shop/web")
	s.lacks("ours")
}

// TestDriftBeforeTheAnswer: somebody changes an object between our apply and its answer.
func TestDriftBeforeTheAnswer(t *testing.T) {
	s := newStation(t)
	s.start()
	s.assign(s.release("shop/web", "one", s.configMap("a", map[string]string{"k": "1"}), s.configMap("b", nil)))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)
	var raced atomic.Bool
	over := make(chan struct{})
	s.meddling(http.MethodPatch, "a", func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err == nil && raced.CompareAndSwap(false, true) {
			s.remove("a")
			s.remove("b") // an event that comes after that of a; when b is back, a's was seen
			s.hasData("b", nil)
			close(over)
		}
		return response, err
	})
	s.assign(s.release("shop/web", "two", s.configMap("a", map[string]string{"k": "2"}), s.configMap("b", nil)))
	<-over
	s.hasData("a", map[string]string{"k": "2"})
}

// TestAVersionThatIsNotServedAnyMore: its objects are still there, and are pruned where they are.
func TestAVersionThatIsNotServedAnyMore(t *testing.T) {
	s := newStation(t)
	s.start()
	group := s.namespace + ".test"
	definition := func(old bool) string {
		return fmt.Sprintf(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"gadgets.%[1]s"},
"spec":{"group":"%[1]s","scope":"Namespaced","names":{"kind":"Gadget","plural":"gadgets"},"versions":[
{"name":"v1beta1","served":%[2]t,"storage":false,"schema":{"openAPIV3Schema":{"type":"object"}}},
{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]}}`, group, old)
	}
	s.assign(s.release("shop/kinds", "one", definition(true)))
	s.reaches("shop/kinds", "one", wire.PackageStatus_APPLIED)
	s.assign(s.release("shop/web", "one", s.configMap("a", nil),
		fmt.Sprintf(`{"apiVersion":"%s/v1beta1","kind":"Gadget","metadata":{"name":"g","namespace":%q}}`, group, s.namespace)))
	s.reaches("shop/web", "one", wire.PackageStatus_APPLIED)

	s.assign(s.release("shop/kinds", "two", definition(false)))
	s.reaches("shop/kinds", "two", wire.PackageStatus_APPLIED)
	gadgets := func(version string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: group, Version: version, Resource: "gadgets"}
	}
	s.eventually("the old version is not served", func() error {
		if _, err := s.dynamic.Resource(gadgets("v1beta1")).Namespace(s.namespace).Get(t.Context(), "g", metav1.GetOptions{}); err == nil {
			return errors.New("it is")
		}
		return nil
	})
	s.assign(s.release("shop/web", "two", s.configMap("a", nil)))
	s.reaches("shop/web", "two", wire.PackageStatus_APPLIED)
	if left, err := s.dynamic.Resource(gadgets("v1")).Namespace(s.namespace).List(t.Context(), metav1.ListOptions{}); err != nil || len(left.Items) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
