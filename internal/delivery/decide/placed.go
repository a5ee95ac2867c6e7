package decide

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// Placed makes the condition of a Package's Placement, which is nil when there is none.
func Placed(pkg *v1alpha1.Package, placement *v1alpha1.Placement) metav1.Condition {
	name := pkg.Spec.PlacementRef.Name
	c := metav1.Condition{Type: v1alpha1.ConditionPlaced, Status: metav1.ConditionFalse}
	if placement == nil {
		c.Reason = v1alpha1.ReasonPlacementNotFound
		c.Message = fmt.Sprintf("there is no placement %q in namespace %q (spec.placementRef.name); clusters keep what they hold", name, pkg.Namespace)
		return c
	}
	selected := len(placement.Status.Clusters)
	switch decisionOf(placement) {
	case decided:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonPlaced
		c.Message = fmt.Sprintf("placement %q selects %s", name, v1alpha1.Counted(selected, "cluster"))
		if selected == 0 {
			c.Reason, c.Message = v1alpha1.ReasonNoClusters, fmt.Sprintf("placement %q selects no cluster", name)
		}
	case standing, undecided:
		c.Reason = v1alpha1.ReasonUndecided
		c.Message = fmt.Sprintf("placement %q is not decided", name)
		if why := meta.FindStatusCondition(placement.Status.Conditions, v1alpha1.ConditionDecided); why != nil && why.Status == metav1.ConditionFalse {
			c.Message += ": " + why.Message
		}
	}
	if from, restored := pkg.Annotations[v1alpha1.RestoredAnnotation]; restored {
		c.Message += fmt.Sprintf("; it was restored from a backup of %s: no cluster prunes it because of that until `umbel restore --finish`", from)
	}
	return c
}
