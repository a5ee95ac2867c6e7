package clitest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExplain(t *testing.T) {
	f := newFleet(t)
	for _, c := range []struct {
		reason string
		args   string
		begins string
		want   said
	}{
		{reason: "a package on a cluster", args: "explain package shop --cluster dev", begins: "shop fails on dev: 1 of 4 objects could not be applied\n\nSTAGE "},
		{reason: "as others name them", args: "explain pkg/shop --cluster cluster/edge", begins: "shop is not on edge: spec.clusterSelector: env in (dev,prod): the cluster has no such label\n\nSTAGE "},
		{reason: "for programs", args: "explain package shop --cluster prod-eu -o json", begins: "{\n    \"package\": \"default/shop\","},
		{reason: "a package without a placement", args: "explain package broken -n team-a --cluster dev", begins: "broken is not on dev: spec.placementRef: there is no placement \"nowhere\" in namespace \"team-a\""},
		{reason: "a placement", args: "explain placement shops", begins: "shops selects 3 clusters\n\nCLUSTER   STATE "},
		{reason: "a placement and a cluster", args: "explain placement shops --cluster edge", begins: "shops does not select edge: spec.clusterSelector: "},
		{reason: "a placement for programs", args: "explain pl shops -o yaml", begins: "clusters:\n- cluster: dev\n  state: Selected\n"},
		{
			reason: "no cluster", args: "explain package shop",
			want: said{Err: "error: say on which cluster: --cluster CLUSTER; `umbel describe package shop` shows how far each of them is\n", Code: 2},
		},
		{
			reason: "another kind", args: "explain release x --cluster dev",
			want: said{Err: "error: packages and placements are explained; `umbel describe release` tells about a release\n", Code: 2},
		},
		{reason: "no name", args: "explain placement", want: said{Err: "error: name one placement: `umbel get placements` lists them\n", Code: 2}},
		{
			reason: "no such package", args: "explain package nope --cluster dev",
			want: said{Err: "error: there is no package \"nope\" in namespace \"default\": `umbel get packages -A` lists all\n", Code: 1},
		},
		{
			reason: "no such placement", args: "explain placement nope --cluster dev",
			want: said{Err: "error: there is no placement \"nope\" in namespace \"default\": `umbel get placements -A` lists all\n", Code: 1},
		},
		{
			reason: "no such cluster", args: "explain package shop --cluster nope",
			want: said{Err: "error: there is no cluster \"nope\": `umbel get clusters` lists them\n", Code: 1},
		},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got := f.run(t.Context(), strings.Fields(c.args)...)
			if c.begins != "" {
				if got.Code != 0 || !strings.HasPrefix(got.Out, c.begins) {
					t.Errorf("umbel %s: got %+v, want it to begin with %q", c.args, got, c.begins)
				}
				return
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("umbel %s (-want +got):\n%s", c.args, diff)
			}
		})
	}
}
