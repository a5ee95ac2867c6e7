package decide

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// Contested makes the condition of what others want of a Package; ok is false where there is nothing to say, since nobody does
// or did.
func Contested(members []Member, before []metav1.Condition) (c metav1.Condition, ok bool) {
	c = metav1.Condition{Type: v1alpha1.ConditionContested, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonWantedByOthers}
	wanted := map[string][]v1alpha1.ClusterName{}
	for _, member := range members {
		if member.Holds == nil {
			continue
		}
		for _, contest := range member.Holds.Contested {
			what := fmt.Sprintf("package %s wants %s", contest.Package, contest.Object)
			wanted[what] = append(wanted[what], member.Name)
		}
	}
	if len(wanted) == 0 {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonUncontested, "nobody else wants what it holds"
		return c, meta.FindStatusCondition(before, v1alpha1.ConditionContested) != nil
	}
	var each []string
	for what, clusters := range wanted {
		slices.Sort(clusters)
		each = append(each, fmt.Sprintf("%s on %s", what, Names(clusters)))
	}
	slices.Sort(each)
	more := ""
	if n := len(each) - MaxNames; n > 0 {
		each, more = each[:MaxNames], fmt.Sprintf("; and %d more", n)
	}
	c.Message = strings.Join(each, "; ") + more + "; this package has them, and keeps them: take each out of one of the two"
	return c, true
}
