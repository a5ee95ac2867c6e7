package clitest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/clitest"
)

// For whom to encrypt is told of the clusters that say so, and for sops all of those that were asked for or nothing.
func TestSecretsRecipients(t *testing.T) {
	f := newFleet(t)
	for name, recipients := range map[string]string{"prod-eu": "age1eu\nage1euold", "prod-us": "age1us"} {
		var cluster v1alpha1.MemberCluster
		if err := f.api.Get(t.Context(), kube.ObjectKey{Name: name}, &cluster); err != nil {
			t.Fatal(err)
		}
		cluster.Status.Properties = append(cluster.Status.Properties, v1alpha1.MemberProperty{Name: v1alpha1.RecipientsProperty, Value: recipients, Since: clitest.Ago(time.Hour)})
		if err := f.api.Status().Update(t.Context(), &cluster); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		reason, args string
		want         said
	}{
		{"a table", "secrets recipients --clusters env=prod", said{Out: "CLUSTER   RECIPIENT\nprod-eu   age1eu\nprod-us   age1us\n"}},
		{"with others", "secrets recipients prod-eu -o wide", said{Out: "CLUSTER   RECIPIENT   OTHERS\nprod-eu   age1eu      age1euold\n"}},
		{"as an argument", "secrets recipients prod-eu prod-us -o name", said{Out: "age1eu,age1us\n"}},
		{"as .sops.yaml", "secrets recipients --clusters env=prod -o sops", said{Out: `# for the clusters prod-eu, prod-us
creation_rules:
  - path_regex: \.ya?ml$
    encrypted_regex: ^(data|stringData)$
    age: >-
      age1eu,
      age1us
  - age: >-
      age1eu,
      age1us
`}},
		{"and for oneself", "secrets recipients prod-us -o name --with age1me", said{Out: "age1me,age1us\n"}},
		{"oneself in a table", "secrets recipients prod-us --with age1me", said{Code: 2, Err: "error: --with goes with -o sops or -o name\n"}},
		{"for a program", "secrets recipients prod-us -o json", said{Out: "[\n    {\n        \"cluster\": \"prod-us\",\n        \"recipient\": \"age1us\"\n    }\n]\n"}},
		{"one has told none", "secrets recipients dev prod-eu -o name", said{Code: 1,
			Err: "error: cluster \"dev\" has told no recipient yet: its agent does so once it has come (`umbel describe cluster dev`); leave the cluster out, or wait for it\n"}},
		{"which the table says", "secrets recipients dev", said{Out: "CLUSTER   RECIPIENT\ndev       none yet\n"}},
		{"no such cluster", "secrets recipients nope", said{Code: 1, Err: "error: there is no cluster \"nope\": `umbel get clusters` lists them\n"}},
		{"both ways", "secrets recipients dev --clusters env=dev", said{Code: 2, Err: "error: name clusters or give --clusters, not both\n"}},
		{"rotate whom?", "secrets rotate", said{Code: 2, Err: "error: name a cluster: `umbel get clusters` lists them\n"}},
		{"rotate nobody", "secrets rotate nope", said{Code: 1, Err: "error: there is no cluster \"nope\": `umbel get clusters` lists them\n"}},
	} {
		if diff := cmp.Diff(c.want, f.run(t.Context(), strings.Fields(c.args)...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
}
