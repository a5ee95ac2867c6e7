package delivery

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
)

// +kubebuilder:rbac:groups=umbel.dev,resources=plans,verbs=get;list;watch;delete

const planByPackage = "spec.packageRef.name"

// keepPlans is how many Plans of a Package stay.
const keepPlans = 20

// observePlans reads the Plans of the Package, where it needs one.
func (c *Controller) observePlans(ctx context.Context, v *visit) error {
	v.seen.Plans = decide.Plans{}
	if v.pkg.Spec.Plan != v1alpha1.PlanRequired {
		return nil
	}
	var list v1alpha1.PlanList
	err := c.client.List(ctx, &list, client.InNamespace(v.pkg.Namespace), client.MatchingFields{planByPackage: v.pkg.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return fmt.Errorf("listing the plans of package %s: %w", v.key, err)
	}
	v.seen.Plans = decide.PlansOf(v.pkg.Spec.Plan, list.Items)
	return nil
}

// admit makes a Release the current one, once there is a Plan of it where one is required. Until then it stands there, and
// what came before goes on.
func (c *Controller) admit(v *visit, release *v1alpha1.Release) bool {
	var before *v1alpha1.ReleaseSpec
	if v.seen.Release != nil {
		before = &v.seen.Release.Spec
	}
	if !v.seen.Plans.Cover(&release.Spec, before) {
		if v.memo.unplanned == nil || v.memo.unplanned.Name != release.Name {
			v.memo.unplanned, v.memo.retired = release, ""
		}
		return false
	}
	v.memo.unplanned = nil
	v.seen.Release, v.memo.release, v.memo.verified, v.gives = release, release, release.Name, true
	v.pkg.Status.Release, v.pkg.Status.Revision = release.Name, release.Spec.Revision
	return true
}

// tellPlans sets the condition of what waits for a Plan. Where none is required there is none.
func (c *Controller) tellPlans(_ context.Context, v *visit) error {
	if v.pkg.Spec.Plan != v1alpha1.PlanRequired {
		meta.RemoveStatusCondition(&v.pkg.Status.Conditions, v1alpha1.ConditionPlanned)
		return nil
	}
	condition := decide.Planned(v.key, v.sights, v.members)
	if r := v.memo.unplanned; r != nil {
		condition.Status, condition.Reason = metav1.ConditionFalse, v1alpha1.ReasonPlanRequired
		condition.Message = fmt.Sprintf("%s waits as release %s, since nobody has saved a plan of what it changes: %s",
			revisionOf(r.Spec.Source, r.Spec.Revision), r.Name, v1alpha1.SavePlan(v.key, r.Name))
	}
	v.set(condition)
	return nil
}

// retirePlans deletes the oldest Plans of a Package, when there are many.
func (c *Controller) retirePlans(ctx context.Context, v *visit) error {
	var list v1alpha1.PlanList
	if err := c.client.List(ctx, &list, client.InNamespace(v.pkg.Namespace), client.MatchingFields{planByPackage: v.pkg.Name}); err != nil {
		return fmt.Errorf("listing the plans of package %s: %w", v.key, err)
	}
	slices.SortFunc(list.Items, decide.OlderPlan)
	for i := range max(0, len(list.Items)-keepPlans) {
		if err := c.client.Delete(ctx, &list.Items[i]); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting plan %s of package %s: %w", list.Items[i].Name, v.key, err)
		}
	}
	return nil
}
