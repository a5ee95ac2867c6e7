package delivery

import (
	"context"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
)

// observeWaits finds out which clusters wait with what they are told and, where a rollout is not over, which would wait with what
// it is to tell them: it does not move those.
func (c *Controller) observeWaits(ctx context.Context, v *visit) error {
	if err := c.observeDependencies(ctx, v); err != nil {
		return err
	}
	if err := c.observePlans(ctx, v); err != nil {
		return err
	}
	v.seen.Waits, v.sights = v.seen.EveryWait(v.dependencies, v.members), []decide.Seen{v.seen}
	if v.rollout == nil || v.rollout.Over() {
		return nil
	}
	release, err := c.staged(ctx, v, v.rollout.Spec.Release)
	if err != nil || release == nil {
		return err
	}
	v.sights = append(v.sights, v.seen.Toward(release, v.rollout.Spec.Purpose))
	return nil
}

// Waits says which clusters would wait with a Release that a Rollout is to tell them, and for what: another Package, a Plan, or an
// agent that knows what it takes. It reads the caches, and of whose the Package is what its status says.
func (d *Desired) Waits(ctx context.Context, pkg *v1alpha1.Package, rollout *v1alpha1.Rollout, release *v1alpha1.Release) (map[v1alpha1.ClusterName]string, error) {
	return d.waits(ctx, pkg, rollout, release)
}

func (c *Controller) waits(ctx context.Context, pkg *v1alpha1.Package, rollout *v1alpha1.Rollout, release *v1alpha1.Release) (map[v1alpha1.ClusterName]string, error) {
	team := decide.TeamIn(&pkg.Status)
	if len(pkg.Spec.DependsOn) == 0 && pkg.Spec.Plan != v1alpha1.PlanRequired && team.ActsAs == nil {
		return nil, nil
	}
	v := &visit{key: v1alpha1.KeyOf(pkg.Namespace, pkg.Name), pkg: pkg, memo: &memo{}, team: team}
	if err := c.observePlacement(ctx, v); err != nil {
		return nil, err
	}
	var err error
	if v.members, err = membersOf(ctx, c.client, v); err != nil {
		return nil, err
	}
	if err := c.observeDependencies(ctx, v); err != nil {
		return nil, err
	}
	if err := c.observePlans(ctx, v); err != nil {
		return nil, err
	}
	v.seen.Release, v.seen.Policy, v.seen.Rule = release, decide.PolicyOf(&pkg.Spec, team), ruleOf(pkg.Spec.Source).digest
	seen := v.seen.Toward(release, rollout.Spec.Purpose)
	return seen.EveryWait(v.dependencies, v.members), nil
}
