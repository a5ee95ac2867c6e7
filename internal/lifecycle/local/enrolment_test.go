package local

import (
	"net/netip"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/internal/lifecycle/local/machine"
)

// TestEnrolment: what kubeadm reads of a cluster is whole, each kind is known, and one object alone may be read by nobody in particular.
func TestEnrolment(t *testing.T) {
	spec := machine.Spec{
		Cluster: "far", Version: "v1.36.3", PodCIDR: netip.MustParsePrefix("10.65.0.0/16"), ServiceCIDR: netip.MustParsePrefix("10.129.0.0/16"),
	}
	objects, err := enrolmentObjects(spec, "https://10.200.1.10:6443", []byte("a certificate"))
	if err != nil {
		t.Fatal(err)
	}
	inside := map[string]string{}
	anonymous := 0
	for _, o := range objects {
		if _, known := resources[o.GetKind()]; !known {
			t.Errorf("%s %s is of a kind that cannot be applied", o.GetKind(), o.GetName())
		}
		raw, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), "${") {
			t.Errorf("%s %s is not whole:\n%s", o.GetKind(), o.GetName(), raw)
		}
		if strings.Contains(string(raw), "system:anonymous") {
			anonymous++
		}
		data, _, _ := unstructured.NestedStringMap(o.Object, "data")
		for key, text := range data {
			inside[key] = text
			var document map[string]any
			if err := yaml.UnmarshalStrict([]byte(text), &document); err != nil {
				t.Errorf("%s of ConfigMap %s: %v", key, o.GetName(), err)
			}
		}
	}
	if anonymous != 1 {
		t.Errorf("%d objects are for whoever asks", anonymous)
	}
	for key, want := range map[string]string{
		"kubeconfig": "https://10.200.1.10:6443", "ClusterConfiguration": "controlPlaneEndpoint: 10.200.1.10:6443", "kubelet": "clusterDNS: [10.129.0.10]",
	} {
		if !strings.Contains(inside[key], want) {
			t.Errorf("%s is\n%s\nwithout %s", key, inside[key], want)
		}
	}
}
