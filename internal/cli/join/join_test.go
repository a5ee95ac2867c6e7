package join

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestManifests(t *testing.T) {
	boot := v1alpha1.Bootstrap{Cluster: "dev", Address: "192.0.2.1:7443", CA: "-----BEGIN CERTIFICATE-----\n", Token: "secret"}
	for _, test := range []struct {
		reason, image string
		want          []string
	}{
		{"with an image there is a Deployment", "hub/umbel/agent:v1", []string{"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ClusterRoleBinding", "Secret", "Deployment"}},
		{"without one somebody else runs the agent", "", []string{"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ClusterRoleBinding", "Secret"}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			objects, err := Manifests(boot, test.image)
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, o := range objects {
				kinds = append(kinds, o.GetKind())
				if o.GetKind() != "Secret" {
					continue
				}
				data := o.Object["stringData"].(map[string]any)["bootstrap.json"].(string)
				var got v1alpha1.Bootstrap
				if err := json.Unmarshal([]byte(data), &got); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(boot, got); diff != "" {
					t.Errorf("the agent would not find its hub:\n%s", diff)
				}
			}
			if diff := cmp.Diff(test.want, kinds); diff != "" {
				t.Error(diff)
			}
		})
	}
}
