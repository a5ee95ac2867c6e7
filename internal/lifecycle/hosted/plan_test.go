package hosted

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"umbel.dev/umbel/internal/lifecycle/local"
)

func TestCheckStep(t *testing.T) {
	for _, c := range []struct{ reason, ran, wanted, want string }{
		{"nothing ran", "", "v1.36.3", ""},
		{"the same", "v1.36.3", "v1.36.3", ""},
		{"a newer patch", "v1.36.1", "v1.36.3", ""},
		{"an older patch", "v1.36.3", "v1.36.1", ""},
		{"one minor", "v1.35.4", "v1.36.3", ""},
		{"over a minor", "v1.34.9", "v1.36.3", "more than one minor: set the Cluster's version to one of 1.35 first"},
		{"back", "v1.36.3", "v1.35.4", "cannot go back to v1.35.4"},
		{"another major", "v1.36.3", "v2.0.0", "cannot go back"},
		{"none of Kubernetes", "v1.36.3", "newest", `"newest" is none of Kubernetes`},
	} {
		err := checkStep(c.ran, c.wanted)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.reason, err, c.want)
		}
		if err != nil && !refused(err) {
			t.Errorf("%s: nobody would be told that it is for them to change: %v", c.reason, err)
		}
	}
}

func TestTheClassHasAllVersions(t *testing.T) {
	objects, err := classObjects([]string{"v1.35.4", "v1.36.3"}, local.Capacity{CPUs: 2, Memory: 4 << 30})
	if err != nil {
		t.Fatal(err)
	}
	class := objects[len(objects)-1]
	if has := field[[]any](class, "spec", "kubernetesVersions"); len(has) != 2 || has[0] != "v1.35.4" || has[1] != "v1.36.3" {
		t.Errorf("it has %v", has)
	}
	if variables := field[[]any](class, "spec", "variables"); len(variables) != 1 || variables[0].(map[string]any)["name"] != "loadBalancer" {
		t.Errorf("its variables are %v", variables)
	}
	worker, _ := field[[]any](class, "spec", "workers", "machineDeployments")[0].(map[string]any)
	annotations, _, _ := unstructured.NestedStringMap(worker, "metadata", "annotations")
	for name, want := range map[string]string{"cpu": "2", "memory": "4294967296", "maxPods": "110"} {
		if got := annotations["capacity.cluster-autoscaler.kubernetes.io/"+name]; got != want {
			t.Errorf("of a machine that is not there yet it says %s %q, want %q", name, got, want)
		}
	}
	if budget, _, _ := unstructured.NestedString(worker, "healthCheck", "remediation", "triggerIf", "unhealthyInRange"); budget != "[1-2]" {
		t.Errorf("machines are replaced of %q that are ill", budget)
	}
}

// TestTheClassKeepsWhatClustersHave, when an update of the hub has brought another patch in its place.
func TestTheClassKeepsWhatClustersHave(t *testing.T) {
	cluster := func(class, version string) unstructured.Unstructured {
		return unstructured.Unstructured{Object: map[string]any{
			"spec": map[string]any{"topology": map[string]any{"version": version, "classRef": map[string]any{"name": class}}},
		}}
	}
	got := offered([]string{"v1.35.4", "v1.36.10"}, []unstructured.Unstructured{
		cluster("local", "v1.36.9"), cluster("local", "v1.35.4"), cluster("local", "v1.36.9"), cluster("another", "v1.34.1"), cluster("local", ""),
	})
	if diff := cmp.Diff([]string{"v1.35.4", "v1.36.9", "v1.36.10"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
