package delivery

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
)

// tellAgents sets the condition of what waits for agents. Where nothing does there is none.
func (c *Controller) tellAgents(_ context.Context, v *visit) error {
	condition, waits := decide.Agents(v.sights, v.members)
	if !waits {
		meta.RemoveStatusCondition(&v.pkg.Status.Conditions, v1alpha1.ConditionAgents)
		return nil
	}
	v.set(condition)
	return nil
}
