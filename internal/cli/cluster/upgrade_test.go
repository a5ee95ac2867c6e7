package cluster

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestAnUpgradeThatHasNotArrivedIsNotDone when it is ordered again: what is wanted is no news, and what is served counts.
func TestAnUpgradeThatHasNotArrivedIsNotDone(t *testing.T) {
	d := newDesk(t)
	ref := func(group, kindName string) map[string]any {
		return map[string]any{"templateRef": map[string]any{"apiVersion": group + "/v1alpha1", "kind": kindName, "name": "local"}}
	}
	class := object("ClusterClass", "default", "local", map[string]any{"spec": map[string]any{
		"infrastructure": ref("infrastructure.umbel.dev", "HostedClusterTemplate"), "controlPlane": ref("controlplane.umbel.dev", "HostedControlPlaneTemplate"),
		"kubernetesVersions": []any{"v1.35.4", "v1.36.3"},
	}})
	d.create(&class)
	cluster := d.cluster("late", nil)
	member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "late", Annotations: map[string]string{v1alpha1.ManagedAnnotation: "default/late"}}}
	if err := d.hub.Create(t.Context(), member); err != nil {
		t.Fatal(err)
	}
	serves := func(version string) {
		t.Helper()
		versions := []any{map[string]any{"version": version, "replicas": int64(1)}}
		if err := unstructured.SetNestedSlice(cluster.Object, versions, "status", "controlPlane", "versions"); err != nil {
			t.Fatal(err)
		}
		if err := d.hub.Status().Update(t.Context(), cluster); err != nil {
			t.Fatal(err)
		}
	}
	serves("v1.35.4")
	_, _, err := d.umbel("upgrade", "late", "--version", "1.36", "--timeout", "1s")
	if err == nil || !strings.Contains(err.Error(), "it serves v1.35.4") {
		t.Errorf("while the old one is served: got %v", err)
	}
	serves("v1.36.3")
	// Nobody has ever joined it: the fleet hears nothing of it, and is not waited for.
	if _, errs, err := d.umbel("upgrade", "late", "--version", "1.36", "--timeout", "1m"); err != nil || !strings.Contains(errs, "nothing is changed") {
		t.Errorf("when it has arrived: got %v\n%s", err, errs)
	}
}
