package apply

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
)

// TestWhyADeploymentDoesNotBecomeHealthy: the status names the pod and the reason, once it has taken a while; no pod is
// watched; and when it is healthy nothing is said any more.
func TestWhyADeploymentDoesNotBecomeHealthy(t *testing.T) {
	s := newStation(t)
	var watched atomic.Bool
	look := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/pods") && (r.URL.Query().Get("watch") != "" || r.URL.Query().Get("limit") == "") {
			watched.Store(true)
		}
		return next.RoundTrip(r)
	}
	s.meddle.Store(&look)
	s.impatient = true
	s.start()
	s.assign(s.release("shop/web", "r1", fmt.Sprintf(scalable, s.namespace, 1, "a")))
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	if _, err := s.client.CoreV1().ServiceAccounts(s.namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod, err := s.client.CoreV1().Pods(s.namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-abc", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "a"}}, ServiceAccountName: "default", AutomountServiceAccountToken: new(bool)},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", State: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: `Back-off pulling image "a"`},
	}}}
	if _, err := s.client.CoreV1().Pods(s.namespace).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	const why = `pod web-abc: container web: ImagePullBackOff: Back-off pulling image "a"`
	s.eventually("the status says why", func() error {
		st := s.status("shop/web")
		if !strings.Contains(st.GetMessage(), "1 of 1 object is not healthy yet: Deployment.apps "+s.namespace+"/web: "+why) || len(st.GetFailures()) > 0 {
			return fmt.Errorf("status: %v", st)
		}
		return nil
	})
	if watched.Load() {
		t.Error("pods were watched, or listed without a limit")
	}
	s.ready("web")
	s.eventually("it is well", func() error {
		if st := s.status("shop/web"); st.GetHealthy() != 1 || st.GetMessage() != "" {
			return fmt.Errorf("status: %v", st)
		}
		return nil
	})
}

const widgetKind = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":%[1]q},"spec":{"group":%[2]q,"scope":"Namespaced",
	"names":{"kind":"Widget","plural":"widgets","singular":"widget","listKind":"WidgetList"},
	"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}`

// TestHealthByRules: an object of a kind that kstatus knows nothing of is as healthy as the package's rule says, a rule that
// fails makes nothing healthy, and a rule that comes later judges what is there already.
func TestHealthByRules(t *testing.T) {
	s := newStation(t)
	s.impatient = true
	group := s.namespace + ".example.com"
	widget := fmt.Sprintf(`{"apiVersion":"%s/v1","kind":"Widget","metadata":{"name":"w","namespace":%q},"spec":{"size":1}}`, group, s.namespace)
	rule := func(healthy string) *wire.Policy {
		return &wire.Policy{Health: []*wire.HealthRule{{
			Group: group, Kind: "Widget", Healthy: healthy, Failed: "has(self.status) && self.status.phase == 'Broken'", Message: "'its phase is ' + self.status.phase",
		}}}
	}
	release := s.release("shop/web", "r1", fmt.Sprintf(widgetKind, "widgets."+group, group), widget)
	is := func(healthy int32, message, failure string) {
		t.Helper()
		s.eventually("health", func() error {
			st := s.status("shop/web")
			if st.GetPhase() != wire.PackageStatus_APPLIED || st.GetHealthy() != healthy || !strings.Contains(st.GetMessage(), message) || !strings.Contains(fmt.Sprint(st.GetFailures()), failure) {
				return fmt.Errorf("status: %v", st)
			}
			return nil
		})
	}
	phase := func(value string) {
		t.Helper()
		resource := s.dynamic.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: "widgets"}).Namespace(s.namespace)
		o, err := resource.Get(t.Context(), "w", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := unstructured.SetNestedField(o.Object, value, "status", "phase"); err != nil {
			t.Fatal(err)
		}
		if _, err := resource.UpdateStatus(t.Context(), o, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	s.assign(release)
	is(2, "", "") // kstatus takes what it does not know for healthy
	s.assign(treated(release, rule("self.status.phase == 'Running'")))
	is(1, "no such key", "")
	phase("Starting")
	is(1, "its phase is Starting", "")
	phase("Broken")
	is(1, "", "its phase is Broken")
	phase("Running")
	is(2, "", "")
	s.stop()
	s.start()
	is(2, "", "")
	phase("Starting")
	is(1, "its phase is Starting", "")
	s.assign(treated(release, rule("self.status.phase == 'Starting'")))
	is(2, "", "")
}

// TestADoctorIsNotAHotLoop: an object that stays ill is looked at less and less often.
func TestADoctorIsNotAHotLoop(t *testing.T) {
	d := newDoctor(nil, func(*unit) {})
	d.patience = time.Second
	r := &record{}
	if again := d.look(t.Context(), r); again != 0 {
		t.Errorf("what is not ill is looked at again in %s", again)
	}
	var pauses []time.Duration
	r.health.State, r.health.Message = "InProgress", "at work"
	r.content, r.holder = &disk.Content{}, &unit{}
	for range 12 {
		pauses = append(pauses, d.look(t.Context(), r))
	}
	if pauses[0] != 2*time.Second || pauses[11] != doctorLongest {
		t.Errorf("pauses: %v", pauses)
	}
	for i := 1; i < len(pauses); i++ {
		if pauses[i] < pauses[i-1] {
			t.Errorf("they get shorter: %v", pauses)
		}
	}
}
