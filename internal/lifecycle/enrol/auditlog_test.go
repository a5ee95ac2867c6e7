package enrol

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestAuditLogIsKept(t *testing.T) {
	for _, l := range []AuditLog{"", Unread, "/var/log/kubernetes/audit/audit.log", "/data/local/dev/audit/*/audit.log"} {
		if err := l.Check(); err != nil {
			t.Errorf("%q: %v", l, err)
		}
		objects, err := Agent{Boot: v1alpha1.Bootstrap{Cluster: "dev"}, Image: "hub/agent:v1", StorageClass: "fast", AuditLog: l}.Manifests()
		if err != nil {
			t.Fatal(err)
		}
		level, deployment := "", &appsv1.Deployment{}
		for _, o := range objects {
			switch o.GetKind() {
			case "Namespace":
				level = o.GetLabels()["pod-security.kubernetes.io/enforce"]
			case "Deployment":
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, deployment); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := AuditLogOf(deployment); got != l {
			t.Errorf("an agent that was given %q reads %q", l, got)
		}
		if want := map[bool]string{true: "baseline", false: "privileged"}[!l.read()]; level != want {
			t.Errorf("%q: the namespace is %s, want %s", l, level, want)
		}
	}
}

func TestAuditLogsThatAreNone(t *testing.T) {
	for l, want := range map[AuditLog]string{
		"audit.log": "not an absolute path", "/var/log/../audit.log": "not an absolute path", "/audit.log": "all of /", "/*/audit.log": "all of /",
		"/var/audit.log": "all of /var", "/var/log/[/audit.log": "syntax error",
	} {
		if err := l.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", l, err, want)
		}
	}
}
