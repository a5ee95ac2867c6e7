package clitest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestRefresh(t *testing.T) {
	f := newFleet(t)
	steps := []struct {
		reason    string
		args      string
		want      said
		refreshed []string
	}{
		{reason: "by name", args: "refresh package shop", want: said{Out: "package/shop refreshed\n"}, refreshed: []string{"shop"}},
		{reason: "nothing else could be meant", args: "refresh shop", want: said{Out: "package/shop refreshed\n"}, refreshed: []string{"shop"}},
		{reason: "all of a namespace", args: "refresh package --all -n team-a", want: said{Out: "package/broken refreshed\n"}, refreshed: []string{"broken"}},
		{
			reason: "a hook names its repository: every namespace, quietly, with or without .git", args: "refresh package --git https://git.example.com/fleet/ -q",
			refreshed: []string{"broken", "shop"},
		},
		{
			reason: "a repository that nobody uses is no error", args: "refresh --git https://git.example.com/other.git",
			want: said{Err: "No package comes from https://git.example.com/other.git: `umbel get packages -A -o yaml` shows their sources.\n"},
		},
		{
			reason: "a name that does not exist", args: "refresh package nope",
			want: said{Err: "error: there is no package \"nope\" in namespace \"default\": `umbel get packages -A` lists all\n", Code: 1},
		},
		{
			reason: "nothing named", args: "refresh package",
			want: said{Err: "error: say which packages: NAME..., --all or --git URL, one of them\n", Code: 2},
		},
		{
			reason: "a kind without a source", args: "refresh cluster dev",
			want: said{Err: "error: a cluster has no source: only packages can be refreshed\n", Code: 2},
		},
	}
	for _, step := range steps {
		t.Run(step.reason, func(t *testing.T) {
			f.now = f.now.Add(time.Millisecond) // any new value is a request
			if diff := cmp.Diff(step.want, f.run(t.Context(), strings.Fields(step.args)...)); diff != "" {
				t.Errorf("umbel %s (-want +got):\n%s", step.args, diff)
			}
			var packages v1alpha1.PackageList
			if err := f.api.List(t.Context(), &packages); err != nil {
				t.Fatal(err)
			}
			var refreshed []string
			for _, pkg := range packages.Items {
				if pkg.Annotations[v1alpha1.RefreshAnnotation] == f.now.UTC().Format(time.RFC3339Nano) {
					refreshed = append(refreshed, pkg.Name)
				}
			}
			slices.Sort(refreshed)
			if diff := cmp.Diff(step.refreshed, refreshed); diff != "" {
				t.Errorf("refreshed packages (-want +got):\n%s", diff)
			}
		})
	}
}
