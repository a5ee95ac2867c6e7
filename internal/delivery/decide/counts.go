package decide

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// Tally is how far a Package is on its clusters.
type Tally struct {
	Counts v1alpha1.ClusterCounts
	// holding are those at which deletes wait for a word.
	failing, unknown, progressing, holding group
}

// group is clusters of one state, and what the first of them by its name says.
type group struct {
	names []v1alpha1.ClusterName // sorted, once all are there
	first v1alpha1.ClusterName
	says  string
}

func (g *group) add(member Member, says func(Member) string) {
	if len(g.names) == 0 || member.Name < g.first {
		g.first, g.says = member.Name, says(member)
	}
	g.names = append(g.names, member.Name)
}

// state of one selected cluster.
type state int

const (
	progressing state = iota
	ready
	failing
	unknown
	waits // it is applied, and what it would delete waits for a word
)

// Count sorts the clusters into states. A cluster that is selected and not among the members is unknown. While
// nothing is known of the selection, what stands in the counts is left.
func Count(seen Seen, members []Member, before v1alpha1.ClusterCounts) Tally {
	if seen.Placement == nil || decisionOf(seen.Placement) == undecided {
		return Tally{Counts: before}
	}
	var t Tally
	present := 0
	for _, member := range members {
		if !selects(seen.Placement, member.Name) {
			if member.Holds != nil {
				t.Counts.Removing++
			}
			continue
		}
		present++
		t.add(member, stateOf(seen, member))
	}
	absent := len(seen.Placement.Status.Clusters) - present
	t.Counts.Selected = int32(len(seen.Placement.Status.Clusters))
	t.Counts.Unknown += int32(absent)
	t.Counts.Summary = fmt.Sprintf("%d/%d", t.Counts.Ready, t.Counts.Selected)
	for _, group := range []*group{&t.failing, &t.unknown, &t.progressing, &t.holding} {
		slices.Sort(group.names)
	}
	return t
}

func (t *Tally) add(member Member, s state) {
	switch s {
	case ready:
		t.Counts.Ready++
	case failing:
		t.Counts.Failing++
		t.failing.add(member, failureOf)
	case unknown:
		t.Counts.Unknown++
		t.unknown.add(member, func(Member) string { return "" })
	case waits:
		t.Counts.Progressing++
		t.holding.add(member, func(m Member) string { return m.Holds.DeletesHeld.Describe(m.Holds.Release) })
	default:
		t.Counts.Progressing++
		t.progressing.add(member, slownessOf)
	}
}

// stateOf says how far a selected cluster is. The last word of one that is not connected may be out of date.
func stateOf(seen Seen, member Member) state {
	if !member.Connected {
		return unknown
	}
	release := seen.releaseFor(member.Name)
	if release == nil {
		return progressing
	}
	want := VariantFor(&release.Spec, member.Cluster)
	if want == nil {
		if _, missing := Values(release.Spec.Variables, member.Cluster); missing != "" {
			return failing
		}
		return progressing // it will be rendered
	}
	holds := member.Holds
	if holds != nil && holds.Refused == release.Name {
		return failing
	}
	if holds == nil || holds.Digest != want.Digest && holds.Release != release.Name {
		return progressing
	}
	switch holds.Phase {
	case v1alpha1.PackageFailed:
		return failing
	case v1alpha1.PackageApplied:
		if len(holds.Failures) > 0 { // broken, or in a fight: it may look healthy at this moment
			return failing
		}
		if holds.DeletesHeld != nil {
			return waits
		}
		if holds.Digest == want.Digest && holds.Healthy >= holds.Objects {
			return ready
		}
	}
	return progressing
}

// failureOf says in a few words what is wrong with a failing cluster.
func failureOf(member Member) string {
	if member.Holds == nil {
		return "it lacks a label that the manifests refer to"
	}
	if len(member.Holds.Failures) > 0 {
		f := member.Holds.Failures[0]
		return strings.TrimSpace(f.File+" "+f.Object) + ": " + f.Message
	}
	return cmp.Or(member.Holds.Message, "it gives no reason")
}

// slownessOf says what a cluster waits for that has applied the package and is not healthy yet, or does not get it.
func slownessOf(member Member) string {
	if member.Observed {
		return "it is observed, and keeps what it holds: `umbel level " + string(member.Name) + " attached` has it get this"
	}
	if h := member.Holds; h != nil && h.Phase == v1alpha1.PackageApplied {
		return h.Message
	}
	return ""
}

// Delivered makes the condition of a tally.
func Delivered(seen Seen, t Tally) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionDelivered, Status: metav1.ConditionFalse}
	selected := t.Counts.Selected
	switch {
	case seen.Bar != (Bar{}):
		c.Reason, c.Message = seen.Bar.Reason, seen.Bar.Message+"; clusters keep what they hold"
		return c
	case seen.Placement == nil:
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonPlacementNotFound
		c.Message = "without a placement nobody can say; clusters keep what they hold"
	case decisionOf(seen.Placement) == undecided:
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonUndecided
		c.Message = "the placement is not decided; clusters keep what they hold"
	case seen.Release == nil:
		c.Reason, c.Message = v1alpha1.ReasonNoRelease, "nothing has been rendered yet"
	case seen.Staged == nil && !seen.Verified(seen.Release):
		c.Reason = v1alpha1.ReasonNotVerified
		c.Message = fmt.Sprintf("release %s is not verified, as spec.source asks since; clusters keep what they hold", seen.Release.Name)
	case selected == 0 && t.Counts.Removing == 0:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonNoClusters, "the placement selects no cluster"
	case len(seen.Withheld.clusters) > 0:
		c.Reason = v1alpha1.ReasonDeletesHeld
		c.Message = fmt.Sprintf("%s on %s; %s; %s", shortRevision(seen.Release), t.Counts.Summary, seen.Withheld.describe(), v1alpha1.ApproveDeletes(keyOf(seen.Release)))
	case seen.Staged != nil && seen.Staged.Reason != "":
		c.Reason, c.Message = seen.Staged.Reason, seen.Staged.Message
		if len(t.failing.names) > 0 {
			c.Message += fmt.Sprintf("; failing: %s (%s: %s)", Names(t.failing.names), t.failing.first, t.failing.says)
		}
	case len(t.failing.names) > 0:
		c.Reason = v1alpha1.ReasonClustersFailing
		c.Message = fmt.Sprintf("%s on %s; failing: %s (%s: %s)", shortRevision(seen.Release), t.Counts.Summary,
			Names(t.failing.names), t.failing.first, t.failing.says)
	case len(t.holding.names) > 0:
		c.Reason = v1alpha1.ReasonDeletesHeld
		c.Message = fmt.Sprintf("%s on %s; %s: %s; %s", shortRevision(seen.Release), t.Counts.Summary, Names(t.holding.names), t.holding.says, v1alpha1.ApproveDeletes(keyOf(seen.Release)))
	case len(t.progressing.names) > 0 || t.Counts.Removing > 0:
		c.Reason = v1alpha1.ReasonDelivering
		c.Message = fmt.Sprintf("%s on %s", shortRevision(seen.Release), t.Counts.Summary)
		if len(t.progressing.names) > 0 {
			c.Message += "; at work: " + Names(t.progressing.names)
			if t.progressing.says != "" {
				c.Message += fmt.Sprintf(" (%s: %s)", t.progressing.first, t.progressing.says)
			}
		}
		if t.Counts.Removing > 0 {
			c.Message += fmt.Sprintf("; %d not selected any more and still removing", t.Counts.Removing)
		}
	case t.Counts.Unknown > 0:
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonClustersUnknown
		c.Message = fmt.Sprintf("%s on %s", shortRevision(seen.Release), t.Counts.Summary)
	default:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonDelivered
		c.Message = fmt.Sprintf("%s on %s clusters", shortRevision(seen.Release), t.Counts.Summary)
	}
	if len(t.unknown.names) > 0 {
		c.Message += "; not connected: " + Names(t.unknown.names)
	}
	return c
}

// Deleting makes the condition of a Package that is being deleted while clusters may hold it; waits is false when none
// does. A cluster that leaves the fleet is not told to remove anything: it is waited for until it has left. So is one that is observed, until it
// is not.
func Deleting(members []Member) (condition metav1.Condition, waits bool) {
	var removing, away, leaving, observed []v1alpha1.ClusterName
	for _, member := range members {
		switch {
		case member.Holds == nil:
		case member.Leaving:
			leaving = append(leaving, member.Name)
		case member.Observed:
			observed = append(observed, member.Name)
		case !member.Connected:
			away = append(away, member.Name)
		default:
			removing = append(removing, member.Name)
		}
	}
	var waiting []string
	for _, group := range []struct {
		clusters []v1alpha1.ClusterName
		what     string
	}{
		{removing, "clusters are removing what they hold: %s"},
		{away, "waiting for clusters that may hold it and are not connected: %s (`umbel leave NAME --force` forgets one that does not come back)"},
		{leaving, "waiting for clusters that are leaving the fleet: %s"},
		{observed, "waiting for clusters that hold it and are observed, so that nothing is deleted there: %s (`umbel level NAME attached` lets them, `umbel leave NAME` forgets it there)"},
	} {
		if len(group.clusters) > 0 {
			slices.Sort(group.clusters)
			waiting = append(waiting, fmt.Sprintf(group.what, Names(group.clusters)))
		}
	}
	return metav1.Condition{
		Type: v1alpha1.ConditionDelivered, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDeleting,
		Message: strings.Join(waiting, "; "),
	}, len(waiting) > 0
}

// keyOf names the Package of a Release.
func keyOf(release *v1alpha1.Release) v1alpha1.PackageKey {
	return v1alpha1.KeyOf(release.Namespace, release.Spec.PackageRef.Name)
}

func shortRevision(release *v1alpha1.Release) string {
	return release.Spec.Revision[:min(12, len(release.Spec.Revision))]
}
