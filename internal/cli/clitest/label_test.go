package clitest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestLabel(t *testing.T) {
	f := newFleet(t)
	steps := []struct {
		reason string
		args   string
		want   said
		labels map[string]string
	}{
		{
			reason: "a label that has another value stays, and so do the others", args: "label cluster dev env=prod region=eu",
			want:   said{Err: "error: cluster \"dev\" has the label env=dev already: add --overwrite to make it prod\n", Code: 1},
			labels: map[string]string{"env": "dev"},
		},
		{
			reason: "with --overwrite it changes", args: "label cluster dev env=prod region=eu --overwrite",
			want: said{Out: "cluster/dev labeled\n"}, labels: map[string]string{"env": "prod", "region": "eu"},
		},
		{
			reason: "the same again changes nothing", args: "label mc dev env=prod",
			want: said{Out: "cluster/dev not labeled\n"}, labels: map[string]string{"env": "prod", "region": "eu"},
		},
		{
			reason: "a label is taken away", args: "label cluster/dev region-",
			want: said{Out: "cluster/dev unlabeled\n"}, labels: map[string]string{"env": "prod"},
		},
		{
			reason: "one of two names does not exist", args: "label clusters dev nope tier=1",
			want:   said{Out: "cluster/dev labeled\n", Err: "error: there is no cluster \"nope\": `umbel get clusters` lists them\n", Code: 1},
			labels: map[string]string{"env": "prod", "tier": "1"},
		},
		{
			reason: "a value that no label can have", args: "label cluster dev tier=a/b",
			want: said{
				Err: "error: label \"tier\": value \"a/b\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', " +
					"and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is " +
					"'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')\n",
				Code: 2,
			},
			labels: map[string]string{"env": "prod", "tier": "1"},
		},
		{
			reason: "no label", args: "label cluster dev",
			want:   said{Err: "error: say which labels: KEY=VALUE sets one, KEY- removes one\n", Code: 2},
			labels: map[string]string{"env": "prod", "tier": "1"},
		},
		{
			reason: "a key twice", args: "label cluster dev tier=2 tier-",
			want:   said{Err: "error: label \"tier\" is given twice\n", Code: 2},
			labels: map[string]string{"env": "prod", "tier": "1"},
		},
	}
	for _, step := range steps {
		t.Run(step.reason, func(t *testing.T) {
			if diff := cmp.Diff(step.want, f.run(t.Context(), strings.Fields(step.args)...)); diff != "" {
				t.Errorf("umbel %s (-want +got):\n%s", step.args, diff)
			}
			var dev v1alpha1.MemberCluster
			if err := f.api.Get(t.Context(), kube.ObjectKey{Name: "dev"}, &dev); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(step.labels, dev.Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
		})
	}
}
