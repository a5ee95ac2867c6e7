package health

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// lingering is how long a package may take to go before that is told of.
const lingering = 10 * time.Minute

// undelivered says how bad a condition of a Package is that is False, by its reason. What is not here is Failing; what has no level is at work, or a
// consequence of what is told of.
var undelivered = map[string]Level{
	v1alpha1.ReasonDelivering: "", v1alpha1.ReasonRollingOut: "", v1alpha1.ReasonWaiting: "", v1alpha1.ReasonDeleting: "",
	v1alpha1.ReasonNoRelease:     "", // Fetched, Verified or Rendered says why
	v1alpha1.ReasonRolloutHalted: "", // its Rollout says so
	v1alpha1.ReasonDeletesHeld:   Waiting, v1alpha1.ReasonPlanRequired: Waiting,
	v1alpha1.ReasonRolledBack: Warning, v1alpha1.ReasonAgentTooOld: Warning, v1alpha1.ReasonUncontested: "",
}

func (f *Fleet) packages() (found []Finding) {
	for i := range f.Packages {
		pkg := &f.Packages[i]
		if f.Scopes != nil && ofScope(pkg) {
			continue // the Scope tells of it
		}
		if pkg.DeletionTimestamp != nil {
			found = append(found, f.deleted(pkg)...)
			continue
		}
		if pkg.Status.ObservedGeneration < pkg.Generation {
			continue // it speaks of an older spec
		}
		for j := range pkg.Status.Conditions {
			if finding, is := undone(pkg, &pkg.Status.Conditions[j]); is {
				found = append(found, finding)
			}
		}
		found = append(found, f.drift(pkg)...)
	}
	return found
}

func describePackage(pkg *v1alpha1.Package) string {
	return "umbel describe package " + pkg.Name + in(pkg.Namespace)
}

// undone says whether a condition of a package is trouble.
func undone(pkg *v1alpha1.Package, c *metav1.Condition) (Finding, bool) {
	command := describePackage(pkg)
	switch {
	case c.Type == v1alpha1.ConditionReady: // it repeats one of the others
		return Finding{}, false
	case c.Type == v1alpha1.ConditionContested && c.Status == metav1.ConditionTrue:
		return condition(Warning, Package, pkg, c, command), true
	case c.Type == v1alpha1.ConditionPlaced && c.Status == metav1.ConditionTrue && c.Reason == v1alpha1.ReasonNoClusters:
		return condition(Warning, Package, pkg, c, "umbel describe placement "+pkg.Spec.PlacementRef.Name+in(pkg.Namespace)), true
	case c.Status != metav1.ConditionFalse:
		return Finding{}, false // Unknown follows from clusters or a Placement, which are told of
	}
	level, known := undelivered[c.Reason]
	if !known {
		level = Failing
	}
	if level == "" {
		return Finding{}, false
	}
	if c.Reason == v1alpha1.ReasonDeletesHeld {
		command = "umbel approve deletes " + pkg.Name + in(pkg.Namespace)
	}
	return condition(level, Package, pkg, c, command), true
}

// deleted says what a package waits for that is to go.
func (f *Fleet) deleted(pkg *v1alpha1.Package) []Finding {
	if f.Now.Sub(pkg.DeletionTimestamp.Time) < lingering {
		return nil
	}
	for i := range pkg.Status.Conditions {
		if c := &pkg.Status.Conditions[i]; c.Reason == v1alpha1.ReasonDeleting {
			finding := condition(Waiting, Package, pkg, c, describePackage(pkg))
			finding.Since = pkg.DeletionTimestamp.DeepCopy()
			return []Finding{finding}
		}
	}
	return nil
}

// drift says whether objects were changed by others and are left so.
func (f *Fleet) drift(pkg *v1alpha1.Package) []Finding {
	key, objects := v1alpha1.KeyOf(pkg.Namespace, pkg.Name), int32(0)
	var on []v1alpha1.ClusterName
	for i := range f.Clusters {
		for j := range f.Clusters[i].Status.Packages {
			if held := &f.Clusters[i].Status.Packages[j]; held.Package == key && held.Drifting > 0 {
				objects += held.Drifting
				on = append(on, v1alpha1.ClusterName(f.Clusters[i].Name))
			}
		}
	}
	if objects == 0 {
		return nil
	}
	return []Finding{{
		Level: Warning, Kind: Package, Namespace: pkg.Namespace, Name: pkg.Name, Reason: "Drifting",
		Message: fmt.Sprintf("%s changed or deleted by others and left so, on %s", v1alpha1.Counted(objects, "object"), v1alpha1.Few(on, 3)),
		Command: "umbel drift " + pkg.Name + in(pkg.Namespace),
	}}
}

// Fights counts the objects of a package on a cluster that are undone again and again now: others change them as often as they are put back.
func Fights(held *v1alpha1.MemberPackage) (objects int) {
	broken := map[string]bool{}
	for _, failure := range held.Failures {
		broken[failure.Object] = true
	}
	for _, drift := range held.Drifts {
		if drift.Action == v1alpha1.DriftFought && broken[drift.Object] {
			broken[drift.Object] = false // once
			objects++
		}
	}
	return objects
}
