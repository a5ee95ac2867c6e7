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

// TestWhoIsNotWaitedFor: an agent that is not to come.
func TestWhoIsNotWaitedFor(t *testing.T) {
	bare := grown()
	unstructured.RemoveNestedField(bare.Object, "spec", "topology", "workers")
	known := v1alpha1.MemberClusterStatus{Identity: &v1alpha1.MemberIdentity{KeyFingerprint: "ab"}}
	ours := metav1.ObjectMeta{Name: "dev", Annotations: map[string]string{v1alpha1.ManagedAnnotation: "default/dev"}}
	for _, c := range []struct {
		reason  string
		cluster *unstructured.Unstructured
		member  v1alpha1.MemberCluster
		want    bool
	}{
		{"it came before", grown(), v1alpha1.MemberCluster{ObjectMeta: ours, Status: known}, true},
		{"it never came", grown(), v1alpha1.MemberCluster{ObjectMeta: ours}, false},
		{"there are no machines", bare, v1alpha1.MemberCluster{ObjectMeta: ours, Status: known}, false},
		{"the member is of another one", grown(), v1alpha1.MemberCluster{Status: known}, false},
	} {
		if got := expected(c.cluster, &c.member); got != c.want {
			t.Errorf("%s: got %t", c.reason, got)
		}
	}
}

func TestAPoolHasArrived(t *testing.T) {
	machine := func(version, available string) unstructured.Unstructured {
		return object("Machine", "default", "m", map[string]any{
			"spec":   map[string]any{"version": version},
			"status": map[string]any{"conditions": []any{map[string]any{"type": "Available", "status": available}}},
		})
	}
	for _, c := range []struct {
		reason   string
		machines []unstructured.Unstructured
		want     bool
	}{
		{"nothing has begun", []unstructured.Unstructured{machine("v1.35.4", "True"), machine("v1.35.4", "True")}, false},
		{"a new one comes", []unstructured.Unstructured{machine("v1.35.4", "True"), machine("v1.35.4", "True"), machine("v1.36.3", "False")}, false},
		{"an old one is left", []unstructured.Unstructured{machine("v1.35.4", "True"), machine("v1.36.3", "True"), machine("v1.36.3", "True")}, false},
		{"the last new one does not work yet", []unstructured.Unstructured{machine("v1.36.3", "True"), machine("v1.36.3", "False")}, false},
		{"one is missing", []unstructured.Unstructured{machine("v1.36.3", "True")}, false},
		{"all are new and at work", []unstructured.Unstructured{machine("v1.36.3", "True"), machine("v1.36.3", "True")}, true},
	} {
		if got, said := arrived(c.machines, 2, "v1.36.3"); got != c.want {
			t.Errorf("%s: got %t, %s", c.reason, got, said)
		}
	}
}

// grown is a cluster of two pools.
func grown() *unstructured.Unstructured {
	c := object("Cluster", "default", "dev", map[string]any{"spec": map[string]any{"topology": map[string]any{
		"version": "v1.36.3", "classRef": map[string]any{"name": "local"},
		"workers": map[string]any{"machineDeployments": []any{
			map[string]any{"name": "workers", "replicas": int64(2)}, map[string]any{"name": "front", "replicas": int64(1)},
		}},
	}}})
	return &c
}
