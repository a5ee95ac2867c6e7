package delivery

import (
	"context"

	"umbel.dev/umbel/api/v1alpha1"
)

// What a cluster waits for that is no other Package: WaitsForAgent is how the text begins that says what its agent does not know.
const (
	WaitsForPlan  = "nobody has saved a plan of what the release changes here"
	WaitsForAgent = "its agent does not know "
)

// everyWait says which clusters wait for anything, and for what. Of several things it is the first.
func (s *Seen) everyWait(dependencies []Dependency, members []Member) map[v1alpha1.ClusterName]string {
	waits := Waits(dependencies, *s, members)
	add := func(cluster v1alpha1.ClusterName, why string) {
		if waits == nil {
			waits = map[v1alpha1.ClusterName]string{}
		}
		if waits[cluster] == "" {
			waits[cluster] = why
		}
	}
	for _, cluster := range s.unplanned(members) {
		add(cluster, WaitsForPlan)
	}
	for cluster, lacks := range s.outdated(members) {
		add(cluster, WaitsForAgent+lacks)
	}
	return waits
}

// toward is what would be seen if a rollout told every cluster a Release.
func (s Seen) toward(release *v1alpha1.Release, purpose v1alpha1.RolloutPurpose) Seen {
	everyone := v1alpha1.Rollout{Spec: v1alpha1.RolloutSpec{Previous: release.Name}}
	s.Staged = &Staged{
		Orders: everyone.Orders(), Releases: map[string]*v1alpha1.Release{release.Name: release}, Back: purpose == v1alpha1.RolloutBack,
	}
	return s
}

// observeWaits finds out which clusters wait with what they are told and, where a rollout is not over, which would wait with what
// it is to tell them: it does not move those.
func (c *Controller) observeWaits(ctx context.Context, v *visit) error {
	if err := c.observeDependencies(ctx, v); err != nil {
		return err
	}
	if err := c.observePlans(ctx, v); err != nil {
		return err
	}
	v.seen.Waits, v.sights = v.seen.everyWait(v.dependencies, v.members), []Seen{v.seen}
	if v.rollout == nil || v.rollout.Over() {
		return nil
	}
	release, err := c.staged(ctx, v, v.rollout.Spec.Release)
	if err != nil || release == nil {
		return err
	}
	v.sights = append(v.sights, v.seen.toward(release, v.rollout.Spec.Purpose))
	return nil
}

// Waits says which clusters would wait with a Release that a Rollout is to tell them, and for what: another Package, a Plan, or an
// agent that knows what it takes. It reads the caches, and of whose the Package is what its status says.
func (d *Desired) Waits(ctx context.Context, pkg *v1alpha1.Package, rollout *v1alpha1.Rollout, release *v1alpha1.Release) (map[v1alpha1.ClusterName]string, error) {
	return d.waits(ctx, pkg, rollout, release)
}

func (c *Controller) waits(ctx context.Context, pkg *v1alpha1.Package, rollout *v1alpha1.Rollout, release *v1alpha1.Release) (map[v1alpha1.ClusterName]string, error) {
	team := teamIn(&pkg.Status)
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
	v.seen.Release, v.seen.Policy, v.seen.Rule = release, PolicyOf(&pkg.Spec, team), ruleOf(pkg.Spec.Source).digest
	seen := v.seen.toward(release, rollout.Spec.Purpose)
	return seen.everyWait(v.dependencies, v.members), nil
}
