package decide

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// addDrift puts what a Package says of drift and health into the policy that agents get.
func addDrift(policy *wire.Policy, spec *v1alpha1.PackageSpec) {
	for _, rule := range spec.Health {
		policy.Health = append(policy.Health, &wire.HealthRule{
			Group: rule.Group, Kind: rule.Kind, Healthy: rule.Healthy, Progressing: rule.Progressing, Failed: rule.Failed, Message: rule.Message,
		})
	}
	drift := spec.Drift
	if drift == nil {
		return
	}
	if drift.Mode == v1alpha1.DriftReport {
		policy.DriftMode = wire.Policy_REPORT
	}
	policy.DriftIgnore = Ignored(spec)
	if drift.Prevention != v1alpha1.PreventDeny {
		return
	}
	policy.Prevention = &wire.Prevention{Source: whereToChange(spec)}
	if allow := drift.Allow; allow != nil {
		policy.Prevention.Users, policy.Prevention.Groups = append(policy.Prevention.Users, allow.Users...), allow.Groups
		for _, account := range allow.ServiceAccounts {
			policy.Prevention.Users = append(policy.Prevention.Users, "system:serviceaccount:"+strings.ReplaceAll(account, "/", ":"))
		}
	}
}

// Ignored is what a Package leaves to others, as agents get it.
func Ignored(spec *v1alpha1.PackageSpec) (rules []*wire.DriftIgnore) {
	if spec.Drift == nil {
		return nil
	}
	for _, each := range spec.Drift.Ignore {
		rules = append(rules, &wire.DriftIgnore{
			Group: each.Target.Group, Kind: each.Target.Kind, Namespace: each.Target.Namespace, Name: each.Target.Name,
			JsonPointers: each.JSONPointers, Managers: each.Managers,
		})
	}
	return rules
}

// whereToChange says to somebody who is refused where what the Package holds is changed.
func whereToChange(spec *v1alpha1.PackageSpec) string {
	switch git, oci := spec.Source.Git, spec.Source.OCI; {
	case oci != nil:
		return oci.URL
	case git != nil:
		place, err := url.Parse(git.URL)
		if err == nil {
			place.User = nil // a password may stand there
			return fmt.Sprintf("%s (%s, path %s)", place, cmp.Or(git.Ref, git.Semver, "main"), cmp.Or(git.Path, "."))
		}
	}
	return "the source of that Package, on the hub"
}
