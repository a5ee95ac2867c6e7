package placement

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// most is how many of several clusters a sentence names.
const most = 5

// tell makes events of an outcome that differs from what the Placement's status says.
func (c *Controller) tell(placement *v1alpha1.Placement, o outcome) {
	before, after := &placement.Status, &o.status
	for _, kind := range []string{v1alpha1.ConditionDecided, v1alpha1.ConditionSatisfied} {
		is := meta.FindStatusCondition(after.Conditions, kind)
		was := meta.FindStatusCondition(before.Conditions, kind)
		if is != nil && is.Status == metav1.ConditionFalse && (was == nil || was.Message != is.Message) {
			c.events.Eventf(placement, nil, corev1.EventTypeWarning, is.Reason, "Select", "%s", is.Message)
		}
	}
	if meta.IsStatusConditionFalse(after.Conditions, v1alpha1.ConditionDecided) {
		return
	}
	if before.ObservedGeneration == 0 || len(o.Came)+len(o.Left) > 0 {
		c.events.Eventf(placement, nil, corev1.EventTypeNormal, "Selected", "Select",
			"Selected %s%s", count(int(after.Selected)), moved("came", o.Came)+moved("left", o.Left))
	}
	if len(after.Leaving) > 0 && !slices.EqualFunc(before.Leaving, after.Leaving, sameLeaving) {
		for _, group := range after.Leaving {
			c.events.Eventf(placement, nil, corev1.EventTypeNormal, "Leaving", "Select", "%s will not be selected any more at %s: %s",
				v1alpha1.Few(group.Clusters, most), group.Until.UTC().Format(time.RFC3339), group.Because)
		}
	}
}

func moved(verb string, names []v1alpha1.ClusterName) string {
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("; %s: %s", verb, v1alpha1.Few(names, most))
}

func count(clusters int) string { return v1alpha1.Counted(clusters, "cluster") }
