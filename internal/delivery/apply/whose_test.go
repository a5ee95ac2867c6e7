package apply

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// by has the station's requests in do be somebody's with all rights.
func (s *station) by(user string, do func()) {
	s.t.Helper()
	config := rest.CopyConfig(s.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:masters"}}
	own := s.client
	s.client = kubernetes.NewForConfigOrDie(config)
	do()
	s.client = own
}

const service = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":%q},"spec":{"ports":[{"port":80}]}}`

// TestWhoDidIt: with the audit log of the API server the status names who deleted an object, took a field away, changed one, or took
// off the label by which it is watched; and who deleted several at once.
func TestWhoDidIt(t *testing.T) {
	s := newStation(t)
	s.auditLog = kubetest.AuditLog(t)
	s.start()
	s.assign(s.release("shop/web", "r1", s.configMap("deleted", nil), s.configMap("changed", map[string]string{"x": "1", "y": "2"}), s.configMap("taken", map[string]string{"x": "1", "y": "2"}),
		s.configMap("unlabelled", nil), annotated(s.configMap("held", nil), v1alpha1.DriftAnnotation, "report"), fmt.Sprintf(service, s.namespace)))
	s.reaches("shop/web", "r1", wire.PackageStatus_APPLIED)
	services := func() {
		if err := s.client.CoreV1().Services(s.namespace).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	s.by("ada", func() { s.remove("deleted") })
	s.by("bob", func() { s.update("changed", func(cm *corev1.ConfigMap) { cm.Data["x"] = "9" }) })
	s.by("cem", func() { s.update("taken", func(cm *corev1.ConfigMap) { delete(cm.Data, "y") }) })
	s.by("dan", func() { s.update("unlabelled", func(cm *corev1.ConfigMap) { cm.Labels = nil }) })
	s.by("eve", services) // whose answer is the object, and has no uid in the log
	s.by("fay", func() { s.remove("held") })
	for name, want := range map[string]string{"deleted": "ada", "changed": "bob", "taken": "cem", "unlabelled": "dan", "web": "eve", "held": "fay"} {
		d := s.drifts("shop/web", func(d *wire.Drift) bool { return strings.HasSuffix(d.GetObject(), "/"+name) && d.GetUser() != "" })
		if d.GetUser() != want {
			t.Errorf("%s: %v, want %s", name, d, want)
		}
		if name == "taken" && (d.GetBy() != "kubectl-edit" || strings.Join(d.GetFields(), " ") != "data.y") {
			t.Errorf("%s: %v, want data.y by kubectl-edit", name, d)
		}
		if past := s.tells(name); past.User != want || past.By != d.GetBy() {
			t.Errorf("%s: the history says %+v, want %s by %q", name, past, want, d.GetBy())
		}
	}

	s.by("ada", func() { s.remove("deleted") })
	d := s.drifts("shop/web", func(d *wire.Drift) bool { return strings.HasSuffix(d.GetObject(), "/deleted") && d.GetCount() == 2 })
	if d.GetUser() != "ada" {
		t.Errorf("the same again: %v", d)
	}
	s.by("gil", func() {
		err := s.client.CoreV1().ConfigMaps(s.namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: v1alpha1.PackageLabel})
		if err != nil {
			t.Fatal(err)
		}
	})
	s.drifts("shop/web", func(d *wire.Drift) bool { return d.GetUser() == "gil" && strings.HasSuffix(d.GetObject(), "/changed") })
}
