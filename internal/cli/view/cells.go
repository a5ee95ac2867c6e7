package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
)

const unknown = string(metav1.ConditionUnknown)

// Moment is when something is looked at, and what is known of the hub then.
type Moment struct {
	Now   time.Time
	Pulse Pulse
}

// fresh says whether statuses are up to date.
func (m Moment) fresh() bool { return m.Pulse.Alive(m.Now) }

// Age is the age of an object.
func (m Moment) Age(created metav1.Time) output.Cell {
	return output.Text(output.Age(created.Time, m.Now))
}

// Connected says whether the member is connected, and since when it is not known.
func (m Moment) Connected(cluster *v1alpha1.MemberCluster) output.Cell {
	if !m.fresh() {
		return status(unknown)
	}
	if c := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionConnected); c != nil && c.Reason == v1alpha1.ReasonHibernated {
		return output.Cell{Text: c.Reason, Tone: output.Doubtful}
	}
	is := statusOf(cluster.Status.Conditions, v1alpha1.ConditionConnected)
	if seen := cluster.Status.LastSeen; is == unknown && seen != nil {
		return output.Cell{Text: fmt.Sprintf("%s (%s)", unknown, output.Ago(seen.Time, m.Now)), Tone: output.Doubtful}
	}
	return status(is)
}

// IsConnected says whether the member is connected for sure.
func (m Moment) IsConnected(cluster *v1alpha1.MemberCluster) bool {
	return m.fresh() && statusOf(cluster.Status.Conditions, v1alpha1.ConditionConnected) == string(metav1.ConditionTrue)
}

// ClusterReady says whether the member is as it should be. Of one that does not answer nobody knows.
func (m Moment) ClusterReady(cluster *v1alpha1.MemberCluster) output.Cell {
	if !m.fresh() || statusOf(cluster.Status.Conditions, v1alpha1.ConditionConnected) == unknown {
		return status(unknown)
	}
	return status(statusOf(cluster.Status.Conditions, v1alpha1.ConditionReady))
}

// LastSeen says when the member answered last.
func (m Moment) LastSeen(cluster *v1alpha1.MemberCluster) output.Cell {
	connected := statusOf(cluster.Status.Conditions, v1alpha1.ConditionConnected) == string(metav1.ConditionTrue)
	switch {
	case connected && m.fresh():
		return output.Text("now")
	case connected: // it was when the hub was heard of last
		return output.Text(output.Ago(m.Pulse.Heard, m.Now))
	case cluster.Status.LastSeen != nil:
		return output.Text(output.Ago(cluster.Status.LastSeen.Time, m.Now))
	}
	return output.Text("")
}

// Certificates says how long it is until the first certificate ends by which a member is reached.
func (m Moment) Certificates(cluster *v1alpha1.MemberCluster) output.Cell {
	until, _ := cluster.Status.CertificateEnd()
	if until.IsZero() {
		return output.Text("")
	}
	cell := output.Text(output.Until(until, m.Now))
	if until.Sub(m.Now) < v1alpha1.CertificateWarning {
		cell.Tone = output.Doubtful
	}
	return cell
}

// Held counts the packages of a member: how many are applied and healthy, of how many.
func Held(cluster *v1alpha1.MemberCluster) output.Cell {
	ready := 0
	for i := range cluster.Status.Packages {
		if settled(&cluster.Status.Packages[i]) {
			ready++
		}
	}
	return output.Text(fmt.Sprintf("%d/%d", ready, len(cluster.Status.Packages)))
}

// PackageReady says whether every selected cluster holds the package.
func (m Moment) PackageReady(pkg *v1alpha1.Package) output.Cell {
	return m.ready(pkg.Status.Conditions, pkg.Generation, pkg.Status.ObservedGeneration)
}

// PlacementReady says whether the placement is decided.
func (m Moment) PlacementReady(placement *v1alpha1.Placement) output.Cell {
	return m.ready(placement.Status.Conditions, placement.Generation, placement.Status.ObservedGeneration)
}

// ScopeReady says whether people have what the scope gives them, on every selected cluster.
func (m Moment) ScopeReady(scope *v1alpha1.Scope) output.Cell {
	return m.ready(scope.Status.Conditions, scope.Generation, scope.Status.ObservedGeneration)
}

func (m Moment) ready(conditions []metav1.Condition, generation, observed int64) output.Cell {
	if !m.fresh() || observed < generation {
		return status(unknown)
	}
	return status(statusOf(conditions, v1alpha1.ConditionReady))
}

// Message is what an object says of its readiness.
func Message(conditions []metav1.Condition) string {
	if ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady); ready != nil {
		return ready.Message
	}
	return ""
}

// Selector says which clusters are meant, as kubectl writes selectors.
func Selector(selector metav1.LabelSelector) string {
	if len(selector.MatchLabels) == 0 && len(selector.MatchExpressions) == 0 {
		return "all clusters"
	}
	return metav1.FormatLabelSelector(&selector)
}

// Means says which clusters a placement means: its selector, and in short what else it asks for.
func Means(spec *v1alpha1.PlacementSpec) string {
	text := Selector(spec.ClusterSelector)
	if n := len(spec.Fields) + len(spec.Expressions); n > 0 {
		text += fmt.Sprintf("; %d more %s", n, v1alpha1.Agreeing(n, "condition", "conditions"))
	}
	if n := spec.NumberOfClusters; n != nil {
		text += fmt.Sprintf("; at most %d", *n)
		if spec.Spread != nil {
			text += " over " + spec.Spread.Label
		}
	}
	return text
}

// Taints writes taints sorted, as KEY=VALUE:EFFECT,KEY:EFFECT.
func Taints(of []v1alpha1.Taint) string {
	var texts []string
	for _, taint := range of {
		texts = append(texts, taint.String())
	}
	slices.Sort(texts)
	return strings.Join(texts, ",")
}

// Labels writes labels sorted, as KEY=VALUE,KEY=VALUE.
func Labels(of map[string]string) string {
	if len(of) == 0 {
		return ""
	}
	return labels.FormatLabels(of)
}

// Revision shortens a source revision to what people compare.
func Revision(revision string) string {
	const enough = 12
	return revision[:min(len(revision), enough)]
}

// statusOf returns the status of a condition; one that is missing is Unknown.
func statusOf(conditions []metav1.Condition, conditionType string) string {
	if c := meta.FindStatusCondition(conditions, conditionType); c != nil {
		return string(c.Status)
	}
	return unknown
}

// status returns a cell for the status of a condition that is good when it is True.
func status(is string) output.Cell {
	switch metav1.ConditionStatus(is) {
	case metav1.ConditionTrue:
		return output.Cell{Text: is, Tone: output.Good}
	case metav1.ConditionFalse:
		return output.Cell{Text: is, Tone: output.Bad}
	}
	return output.Cell{Text: is, Tone: output.Doubtful}
}

// Condition says what may be believed of a condition of an object of this generation.
func (m Moment) Condition(c metav1.Condition, generation int64) output.Cell {
	if !m.fresh() || c.ObservedGeneration < generation {
		return doubted(c)
	}
	return status(string(c.Status))
}

// ClusterCondition says what may be believed of a condition of a member: of what the agent says, nothing while it is
// silent.
func (m Moment) ClusterCondition(cluster *v1alpha1.MemberCluster, c metav1.Condition) output.Cell {
	silent := statusOf(cluster.Status.Conditions, v1alpha1.ConditionConnected) == unknown
	if silent && (c.Type == v1alpha1.ConditionReady || c.Type == v1alpha1.ConditionSynced) {
		return doubted(c)
	}
	return m.Condition(c, 0)
}

func doubted(c metav1.Condition) output.Cell {
	cell := status(unknown)
	if string(c.Status) != unknown {
		cell.Text += fmt.Sprintf(" (was %s)", c.Status)
	}
	return cell
}

// Level says how far the hub goes on a cluster: it only looks at it, it delivers there, or it makes and ends it, too.
func Level(c *v1alpha1.MemberCluster) string {
	_, managed := c.Annotations[v1alpha1.ManagedAnnotation]
	switch {
	case managed && c.Spec.Observed():
		return "managed, observed"
	case managed:
		return "managed"
	}
	return strings.ToLower(string(c.Spec.Stands()))
}
