package clitest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCompletion(t *testing.T) {
	f := newFleet(t)
	cases := []struct {
		args string
		want []string
	}{
		{args: "get", want: []string{"clusters", "packages", "placements", "releases"}},
		{args: "get clusters dev", want: []string{"edge", "prod-eu", "prod-us"}},
		{args: "describe package -n team-a", want: []string{"broken"}},
		{args: "kubectl", want: []string{"dev", "edge", "prod-eu", "prod-us"}},
		{args: "refresh package", want: []string{"shop"}},
	}
	for _, c := range cases {
		t.Run(c.args, func(t *testing.T) {
			got := f.run(t.Context(), append(append([]string{"__complete"}, strings.Fields(c.args)...), "")...)
			var words []string
			for _, line := range strings.Split(got.Out, "\n") {
				if line != "" && !strings.HasPrefix(line, ":") {
					words = append(words, line)
				}
			}
			if diff := cmp.Diff(c.want, words); diff != "" {
				t.Errorf("completions (-want +got):\n%s\n%s", diff, got.Err)
			}
		})
	}
}
