package decide

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

func TestDriftPolicy(t *testing.T) {
	git := v1alpha1.PackageSpec{Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://me:secret@git.example.com/fleet.git", Ref: "main", Path: "shop"}}}
	with := func(change func(*v1alpha1.PackageSpec)) v1alpha1.PackageSpec {
		spec := git
		change(&spec)
		return spec
	}
	for _, tc := range []struct {
		reason string
		spec   v1alpha1.PackageSpec
		want   *wire.Policy
	}{
		{reason: "the defaults are no policy", spec: git, want: &wire.Policy{}},
		{reason: "nor are the defaults in so many words", spec: with(func(s *v1alpha1.PackageSpec) {
			s.Drift = &v1alpha1.DriftSpec{Mode: v1alpha1.DriftRepair, Prevention: v1alpha1.PreventNone, Allow: &v1alpha1.DriftAllowed{Users: []string{"carol"}}}
		}), want: &wire.Policy{}},
		{reason: "all of it, and no password", spec: with(func(s *v1alpha1.PackageSpec) {
			s.Drift = &v1alpha1.DriftSpec{
				Mode: v1alpha1.DriftReport, Prevention: v1alpha1.PreventDeny,
				Ignore: []v1alpha1.DriftIgnore{{Target: v1alpha1.DriftTarget{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}, JSONPointers: []string{"/spec/replicas"}, Managers: []string{"vpa"}}},
				Allow:  &v1alpha1.DriftAllowed{Users: []string{"carol"}, Groups: []string{"operators"}, ServiceAccounts: []string{"cert-manager/cert-manager"}},
			}
			s.Health = []v1alpha1.HealthRule{{Group: "example.com", Kind: "Widget", Healthy: "a", Progressing: "b", Failed: "c", Message: "d"}}
		}), want: &wire.Policy{
			DriftMode:   wire.Policy_REPORT,
			DriftIgnore: []*wire.DriftIgnore{{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web", JsonPointers: []string{"/spec/replicas"}, Managers: []string{"vpa"}}},
			Prevention: &wire.Prevention{
				Users: []string{"carol", "system:serviceaccount:cert-manager:cert-manager"}, Groups: []string{"operators"},
				Source: "https://git.example.com/fleet.git (main, path shop)",
			},
			Health: []*wire.HealthRule{{Group: "example.com", Kind: "Widget", Healthy: "a", Progressing: "b", Failed: "c", Message: "d"}},
		}},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			got := &wire.Policy{}
			addDrift(got, &tc.spec)
			if diff := cmp.Diff(tc.want, got, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
