package clitest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/cli/clitest"
)

// completes completes a command line, and returns what is offered once it fits, or after a while: where an API server is busy for two seconds nothing is.
func (f *fleet) completes(t *testing.T, args string, fits func(said) bool) (got said) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		got = f.run(t.Context(), append(append([]string{"__complete"}, strings.Fields(args)...), "")...)
		if fits(got) || time.Now().After(end) {
			return got
		}
	}
}

func TestCompletion(t *testing.T) {
	f := newFleet(t)
	f.rolls(t)
	f.create(t, clitest.Plan())
	cases := []struct {
		args string
		want []string
	}{
		{args: "get", want: []string{"clusters", "packages", "placements", "releases", "rollouts", "plans", "scopes"}},
		{args: "get clusters dev", want: []string{"edge", "prod-eu", "prod-us"}},
		{args: "describe package -n team-a", want: []string{"broken"}},
		{args: "kubectl", want: []string{"dev", "edge", "prod-eu", "prod-us"}},
		{args: "kubectl prod-eu get", want: nil}, // kubectl's own
		{args: "refresh package", want: []string{"shop"}},
		{args: "label cluster", want: []string{"dev", "edge", "prod-eu", "prod-us"}},
		{args: "describe cluster dev", want: nil}, // it takes one
		{args: "get placements", want: []string{"shops"}},
		{args: "get rollouts shop-1", want: []string{"shop-2"}},
		{args: "describe plan", want: []string{"shop-5d41402a"}},
		{args: "get cluster/dev", want: []string{"cluster/edge", "cluster/prod-eu", "cluster/prod-us"}},
		{args: "get clusters -o", want: []string{"wide", "json", "yaml", "name"}},
		{args: "get packages -n", want: []string{"default", "kube-node-lease", "kube-public", "kube-system", "team-a", "umbel-system"}},
		{args: "kubeconfig --clusters", want: []string{"env=dev", "env=prod", "region=eu", "region=us"}},
		{args: "get pods --clusters", want: []string{"env=dev", "env=prod", "region=eu", "region=us"}},
		{args: "leave", want: []string{"dev", "edge", "prod-eu", "prod-us"}},
		{args: "leave dev", want: nil},
		{args: "taint", want: []string{"dev", "edge", "prod-eu", "prod-us"}},
		{args: "taint dev prod-eu", want: []string{"edge", "prod-us"}},
		{args: "explain", want: []string{"packages", "placements"}},
		{args: "explain package", want: []string{"shop"}},
		{args: "explain package shop --cluster", want: []string{"dev", "edge", "prod-eu", "prod-us"}},
		{args: "rollout status", want: []string{"shop"}},
		{args: "rollout back -n team-a", want: []string{"broken"}},
		{args: "approve", want: []string{"deletes\tLet a release delete what its budget does not allow", "dev", "edge", "prod-eu", "prod-us"}},
		{args: "revoke dev", want: nil},
		{args: "token create x --policy", want: []string{"Approval", "Automatic"}},
	}
	for _, c := range cases {
		t.Run(c.args, func(t *testing.T) {
			var words []string
			got := f.completes(t, c.args, func(got said) bool {
				words = nil
				for _, line := range strings.Split(got.Out, "\n") {
					if line != "" && !strings.HasPrefix(line, ":") {
						words = append(words, line)
					}
				}
				return slices.Equal(words, c.want)
			})
			if diff := cmp.Diff(c.want, words); diff != "" {
				t.Errorf("completions (-want +got):\n%s\n%s", diff, got.Err)
			}
		})
	}
}
