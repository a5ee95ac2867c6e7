package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/view"
	"umbel.dev/umbel/internal/placement/decide"
)

// The states of a cluster in a placement.
const (
	Selected    view.State = "Selected"
	NotSelected view.State = "NotSelected"
	Undecided   view.State = "Undecided"
)

// conclude says how far the package is on the cluster, in a sentence.
func (a *Account) conclude(s *Scene, moment view.Moment) {
	states := moment.States(view.Fleet{
		Package: s.Package, Release: s.Release, Placement: s.Placement, Clusters: []v1alpha1.MemberCluster{*s.Cluster},
	})
	a.State = NotHere
	message := ""
	if i := slices.IndexFunc(states, func(state view.ClusterState) bool { return state.Cluster == a.Cluster }); i >= 0 {
		a.State, message = states[i].State, states[i].Message
	}
	name := s.Package.Name
	switch a.State {
	case view.Ready:
		a.Summary = fmt.Sprintf("%s is on %s: the current release is applied and healthy", name, a.Cluster)
		if step := a.first(Approval, fail); step != nil && step.Check == v1alpha1.ConditionPlanned {
			a.Summary += "; a newer one waits for a plan"
		}
	case view.Failing:
		a.Summary = fmt.Sprintf("%s fails on %s: %s", name, a.Cluster, message)
	case view.Unknown:
		a.Summary = fmt.Sprintf("whether %s is on %s is not known: %s", name, a.Cluster, message)
	case view.Removing:
		if step := a.first(Approval, fail); step != nil {
			a.Summary = fmt.Sprintf("%s is to leave %s and waits: %s", name, a.Cluster, step.Message)
			break
		}
		a.Summary = fmt.Sprintf("%s is being removed from %s: %s", name, a.Cluster, a.reason(Source, Placement))
	case view.Progressing:
		if step := a.first(Connection, fail); step != nil && step.Check == decide.CheckLevel {
			message = step.Message
		} else if step := cmp.Or(a.first(Rollout, fail), a.first(Rollout, unknown)); step != nil {
			message = step.Message
		} else if a.held(s.Cluster) == nil {
			message = a.reason(Team, Approval, Render, Source, Connection)
		}
		a.Summary = fmt.Sprintf("%s is on its way to %s: %s", name, a.Cluster, message)
	default:
		a.Summary = fmt.Sprintf("%s is not on %s: %s", name, a.Cluster, a.reason(Placement, Render, Source))
	}
	if i := slices.IndexFunc(a.Steps, func(s Step) bool { return s.Check == "stay" }); i >= 0 {
		a.Summary += "; " + a.Steps[i].Message
	}
}

// selection says whether the placement selects the cluster, in a sentence.
func (a *Account) selection(s *Scene) {
	last := a.Steps[len(a.Steps)-1]
	name := s.Placement.Name
	switch last.Result {
	case pass:
		a.State, a.Summary = Selected, fmt.Sprintf("%s selects %s", name, a.Cluster)
	case fail:
		a.State, a.Summary = NotSelected, fmt.Sprintf("%s does not select %s: %s", name, a.Cluster, a.reason(Placement))
	default:
		a.State, a.Summary = Undecided, fmt.Sprintf("whether %s means %s is not decided: %s", name, a.Cluster, a.reason(Placement))
	}
}

// reason is the first thing in these stages that did not pass: what failed before what is not known.
func (a *Account) reason(stages ...Stage) string {
	for _, stage := range stages {
		for _, result := range []decide.Result{fail, unknown} {
			if step := a.first(stage, result); step != nil {
				return step.Check + ": " + step.Message
			}
		}
	}
	return "it has not reported yet"
}

// next says what to do about the first step that failed, or else the first of which nothing is known.
func next(a *Account, s *Scene) []string {
	if step := a.first(Approval, fail); step != nil {
		if step.Check == v1alpha1.ConditionPlanned {
			return []string{v1alpha1.SavePlanIn(step.Message, a.Package) + ", of what the hub has rendered already"}
		}
		return []string{v1alpha1.ApproveDeletes(a.Package)}
	}
	if last := a.first(Placement, fail); last != nil && (a.State == NotHere || a.State == NotSelected || a.State == view.Removing) {
		return []string{advise(last, s)} // what else there is to do does not bring it there
	}
	var steps []string
	for _, stage := range []Stage{Source, Render, Placement, Rollout, Connection, Agent} {
		step := a.first(stage, fail)
		if step == nil {
			step = a.first(stage, unknown)
		}
		if step == nil {
			continue
		}
		if advice := advise(step, s); advice != "" && !slices.Contains(steps, advice) {
			steps = append(steps, advice)
		}
	}
	return steps
}

// advise says what to do about a step.
func advise(step *Step, s *Scene) string {
	cluster := s.Cluster.Name
	where := ""
	if s.Placement != nil && s.Placement.Namespace != metav1.NamespaceDefault {
		where = " -n " + s.Placement.Namespace
	}
	switch {
	case step.Stage == Source || step.Stage == Render && step.Check != "variables":
		return fmt.Sprintf("`umbel describe package %s%s` says what is wrong with the source, and what to do about it", s.Package.Name, namespaced(s.Package.Namespace))
	case step.Stage == Render:
		if _, variable, ok := strings.Cut(step.Message, aLabel); ok {
			key, _, _ := strings.Cut(variable, "}")
			return fmt.Sprintf("`umbel label cluster %s %s=VALUE` gives the cluster the label that the manifests use", cluster, key)
		}
		return ""
	case step.Check == v1alpha1.ConditionAgents:
		return "`umbel upgrade agents` brings the agent to the hub's version; until then the cluster keeps what it holds"
	case step.Check == v1alpha1.ConditionDependencies:
		return "`umbel describe package NAME` of a package that the message names says why it is not healthy; spec.dependsOn says for which this one waits"
	case step.Stage == Rollout && s.Rollout != nil && awaitsApproval(s.Rollout):
		return fmt.Sprintf("`umbel rollout approve %s%s` lets it go on", s.Package.Name, namespaced(s.Package.Namespace))
	case step.Stage == Rollout:
		return fmt.Sprintf("`umbel rollout status %s%s` says what the rollout waits for", s.Package.Name, namespaced(s.Package.Namespace))
	case step.Check == "spec.placementRef":
		return fmt.Sprintf("`umbel get placements%s` lists those that exist; correct spec.placementRef of the package", namespaced(s.Package.Namespace))
	case step.Check == "spec.clusterSelector" && step.Result == fail:
		return fmt.Sprintf("`umbel label cluster %s KEY=VALUE` changes a label; or change spec.clusterSelector of placement %s%s", cluster, s.PlacementName, where)
	case strings.HasPrefix(step.Check, "taint "):
		taint := strings.TrimPrefix(step.Check, "taint ")
		key, _, _ := strings.Cut(taint, ":")
		key, _, _ = strings.Cut(key, "=")
		return fmt.Sprintf("`umbel taint %s %s-` takes the taint away; or tolerate it in spec.tolerations of placement %s%s", cluster, key, s.PlacementName, where)
	case step.Check == "spec.numberOfClusters":
		return fmt.Sprintf("`umbel explain placement %s%s` shows who has the seats; numberOfClusters says how many there are", s.PlacementName, where)
	case step.Stage == Placement && step.Result == unknown && strings.HasPrefix(step.Check, "spec.expressions"):
		return fmt.Sprintf("ask first whether it is there, as in `'x' in cluster.properties`: correct %s of placement %s%s", step.Check, s.PlacementName, where)
	case step.Stage == Placement && strings.HasPrefix(step.Check, "spec."):
		return fmt.Sprintf("`umbel describe cluster %s` shows what the cluster is; or change %s of placement %s%s", cluster, step.Check, s.PlacementName, where)
	case step.Stage == Placement && step.Check == "spec":
		return fmt.Sprintf("correct placement %s%s as the message says", s.PlacementName, where)
	case step.Check == decide.CheckLevel:
		return fmt.Sprintf("`umbel level %s attached` has the hub deliver there", cluster)
	case step.Stage == Connection && step.Check == "hub":
		return "`umbel up` starts the hub, when it runs on this machine"
	case step.Stage == Connection:
		return fmt.Sprintf("`umbel describe cluster %s` says why it is not connected; it catches up when it is back", cluster)
	case step.Stage == Agent && step.Result == fail:
		return fmt.Sprintf("correct what the message names and commit, or look on the cluster: `umbel kubectl %s -- get events -A`; nothing is pruned while something fails", cluster)
	}
	return ""
}

// awaitsApproval says whether a rollout goes on when somebody approves that it does.
func awaitsApproval(r *v1alpha1.Rollout) bool {
	c := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionProgressing)
	return c != nil && c.Reason == v1alpha1.ReasonAwaitingApproval
}

// aLabel is how a variable begins that is a label.
const aLabel = "${cluster.labels."

func namespaced(namespace string) string {
	if namespace == metav1.NamespaceDefault {
		return ""
	}
	return " -n " + namespace
}

// Verdicts are what a placement says of every cluster.
type Verdicts struct {
	// Placement is NAMESPACE/NAME.
	Placement string `json:"placement"`
	// Summary says how many it selects.
	Summary string `json:"summary"`
	// Clusters are all that whoever asks may see, sorted.
	Clusters []Verdict `json:"clusters"`
}

// Verdict is what a placement says of one cluster.
type Verdict struct {
	// Cluster is its name.
	Cluster v1alpha1.ClusterName `json:"cluster"`
	// State is Selected, NotSelected or Undecided.
	State view.State `json:"state"`
	// Because is the first thing that it does not meet, or of which it cannot be told.
	Because string `json:"because,omitempty"`
}

// Survey says of every cluster whether the placement selects it, and why not.
func Survey(s *Scene) *Verdicts {
	v := &Verdicts{Placement: s.Placement.Namespace + "/" + s.Placement.Name, Clusters: []Verdict{}}
	for i := range s.Clusters {
		one := Scene{Placement: s.Placement, PlacementName: s.PlacementName, compiled: s.compile}
		one.Cluster = &s.Clusters[i]
		a := &Account{Cluster: v1alpha1.ClusterName(one.Cluster.Name)}
		a.placement(&one)
		a.selection(&one)
		verdict := Verdict{Cluster: a.Cluster, State: a.State}
		if step := a.first(Placement, fail); step != nil && a.State != Selected {
			verdict.Because = step.Check + ": " + step.Message
		} else if step := a.first(Placement, unknown); step != nil {
			verdict.Because = step.Check + ": " + step.Message
		}
		v.Clusters = append(v.Clusters, verdict)
	}
	slices.SortFunc(v.Clusters, func(a, b Verdict) int { return strings.Compare(string(a.Cluster), string(b.Cluster)) })
	v.Summary = fmt.Sprintf("%s selects %s", s.Placement.Name, v1alpha1.Counted(s.Placement.Status.Selected, "cluster"))
	return v
}
