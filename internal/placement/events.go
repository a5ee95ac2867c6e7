package placement

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// tell makes an event of a decision that differs from the one before.
func (c *Controller) tell(before *v1alpha1.PlacementStatus, after *v1alpha1.Placement) {
	for _, kind := range []string{v1alpha1.ConditionDecided, v1alpha1.ConditionSatisfied} {
		is := meta.FindStatusCondition(after.Status.Conditions, kind)
		was := meta.FindStatusCondition(before.Conditions, kind)
		if is != nil && is.Status == metav1.ConditionFalse && (was == nil || was.Message != is.Message) {
			c.events.Eventf(after, nil, corev1.EventTypeWarning, is.Reason, "Select", "%s", is.Message)
		}
	}
	if meta.IsStatusConditionFalse(after.Status.Conditions, v1alpha1.ConditionDecided) {
		return
	}
	if before.ObservedGeneration == 0 || !slices.Equal(before.Clusters, after.Status.Clusters) {
		c.events.Eventf(after, nil, corev1.EventTypeNormal, "Selected", "Select",
			"Selected %s%s", count(len(after.Status.Clusters)), moved(before.Clusters, after.Status.Clusters))
	}
	if len(after.Status.Leaving) > 0 && !equality.Semantic.DeepEqual(before.Leaving, after.Status.Leaving) {
		for _, group := range after.Status.Leaving {
			c.events.Eventf(after, nil, corev1.EventTypeNormal, "Leaving", "Select", "%s will not be selected any more at %s: %s",
				few(group.Clusters), group.Until.UTC().Format(time.RFC3339), group.Because)
		}
	}
}

// moved says who came and who left, of two sorted lists.
func moved(before, after []v1alpha1.ClusterName) string {
	var text string
	for _, change := range []struct {
		verb     string
		from, in []v1alpha1.ClusterName
	}{{"came", after, before}, {"left", before, after}} {
		var names []v1alpha1.ClusterName
		for _, name := range change.from {
			if _, there := slices.BinarySearch(change.in, name); !there {
				names = append(names, name)
			}
		}
		if len(names) > 0 {
			text += fmt.Sprintf("; %s: %s", change.verb, few(names))
		}
	}
	return text
}

func count(clusters int) string {
	if clusters == 1 {
		return "1 cluster"
	}
	return fmt.Sprintf("%d clusters", clusters)
}

// few names the first few and counts the rest.
func few(names []v1alpha1.ClusterName) string {
	const most = 5
	var shown []string
	for _, name := range names[:min(most, len(names))] {
		shown = append(shown, string(name))
	}
	text := strings.Join(shown, ", ")
	if len(names) > most {
		text += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return text
}
