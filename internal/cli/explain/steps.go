package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/cli/view"
	delivery "umbel.dev/umbel/internal/delivery/decide"
	"umbel.dev/umbel/internal/placement/decide"
)

// NotHere is the state of a package on a cluster that is not to hold it, and does not; beside those of package view.
const NotHere view.State = "NotHere"

// Account says why something is, or is not, on a cluster.
type Account struct {
	// Package and Placement are NAMESPACE/NAME; the package is left out where a placement is explained.
	Package   v1alpha1.PackageKey `json:"package,omitempty"`
	Placement string              `json:"placement"`
	// Cluster is the one that is asked about.
	Cluster v1alpha1.ClusterName `json:"cluster"`
	// State is how far it is: Ready, Progressing, Failing, Unknown, Removing or NotHere. Of a placement: Selected, NotSelected
	// or Undecided.
	State view.State `json:"state"`
	// Summary says so in a sentence.
	Summary string `json:"summary"`
	// Steps are the way from the source to the cluster.
	Steps []Step `json:"steps"`
	// Next is what to do.
	Next []string `json:"next,omitempty"`
}

// Step is one step of the way.
type Step struct {
	// Stage is Source, Render, Placement, Rollout, Approval, Team, Connection or Agent.
	Stage Stage `json:"stage"`
	decide.Step
	// Since is when it came to be so, where that is known.
	Since *metav1.Time `json:"since,omitempty"`
}

// Stage is a stretch of the way.
type Stage string

// The stages.
const (
	Source     Stage = "Source"
	Render     Stage = "Render"
	Placement  Stage = "Placement"
	Rollout    Stage = "Rollout"
	Approval   Stage = "Approval"
	Team       Stage = "Team"
	Connection Stage = "Connection"
	Agent      Stage = "Agent"
)

// The results of steps, in short.
const (
	pass    = decide.Pass
	fail    = decide.Fail
	unknown = decide.Unknown
	ignored = decide.Ignored
)

// Explain follows the way to one cluster.
func Explain(s *Scene, moment view.Moment) *Account {
	a := &Account{Placement: s.PlacementName, Cluster: v1alpha1.ClusterName(s.Cluster.Name), Steps: []Step{}}
	if s.Package == nil {
		a.Placement = s.Placement.Namespace + "/" + s.Placement.Name
		a.placement(s)
		a.selection(s)
		a.Next = next(a, s)
		return a
	}
	a.Package = v1alpha1.KeyOf(s.Package.Namespace, s.Package.Name)
	a.Placement = s.Package.Namespace + "/" + s.PlacementName
	a.source(s.Package)
	a.render(s)
	a.placement(s)
	a.rollout(s)
	a.waits(s)
	a.approval(s)
	a.team(s.Package)
	a.connection(s, moment)
	a.agent(s, moment)
	a.conclude(s, moment)
	a.Next = next(a, s)
	return a
}

func (a *Account) add(stage Stage, result decide.Result, check, message string, since metav1.Time) {
	step := Step{Stage: stage, Step: decide.Step{Check: check, Result: result, Message: message}}
	if !since.IsZero() {
		step.Since = &since
	}
	a.Steps = append(a.Steps, step)
}

// condition adds a step that a condition of the package tells of.
func (a *Account) condition(stage Stage, pkg *v1alpha1.Package, kind string) {
	c := meta.FindStatusCondition(pkg.Status.Conditions, kind)
	switch {
	case c == nil:
		a.add(stage, unknown, kind, "the hub has not looked at it yet", metav1.Time{})
	case c.ObservedGeneration < pkg.Generation:
		a.add(stage, unknown, kind, "the hub has not looked at the latest spec yet; of the one before: "+c.Message, c.LastTransitionTime)
	default:
		a.add(stage, resultOf(c.Status), kind, c.Message, c.LastTransitionTime)
	}
}

func resultOf(status metav1.ConditionStatus) decide.Result {
	switch status {
	case metav1.ConditionTrue:
		return pass
	case metav1.ConditionFalse:
		return fail
	}
	return unknown
}

func (a *Account) source(pkg *v1alpha1.Package) {
	if !pkg.DeletionTimestamp.IsZero() {
		a.add(Source, fail, "metadata.deletionTimestamp", "the package is being deleted: clusters prune its objects", *pkg.DeletionTimestamp)
	}
	if pkg.Spec.Source.Inline != nil {
		a.add(Source, pass, "spec.source.inline", v1alpha1.Counted(len(pkg.Spec.Source.Inline.Objects), "object")+" in the package itself", metav1.Time{})
		return
	}
	a.condition(Source, pkg, v1alpha1.ConditionFetched)
	from := pkg.Spec.Source
	if from.Git != nil && from.Git.Verify != nil || from.OCI != nil && from.OCI.Verify != nil || from.Helm != nil && from.Helm.Verify != nil {
		a.condition(Source, pkg, v1alpha1.ConditionVerified)
	}
}

// render says what was rendered, and whether there is a variant of it for the cluster.
func (a *Account) render(s *Scene) {
	a.condition(Render, s.Package, v1alpha1.ConditionRendered)
	release := s.Release
	switch {
	case s.Package.Status.Release == "" && meta.IsStatusConditionFalse(s.Package.Status.Conditions, v1alpha1.ConditionPlanned):
		a.add(Render, unknown, "release", "there is none yet that clusters are told: the first waits for a plan", metav1.Time{})
		return
	case s.Package.Status.Release == "":
		a.add(Render, fail, "release", "there is none yet: nothing of it has rendered", metav1.Time{})
		return
	case release == nil:
		a.add(Render, unknown, "release", s.Package.Status.Release+" is not there any more", metav1.Time{})
		return
	}
	a.add(Render, pass, "release", fmt.Sprintf("%s is revision %s", release.Name, view.Revision(release.Spec.Revision)), release.CreationTimestamp)
	a.add(Render, pass, "inputs", inputs(s), metav1.Time{})
	seen := delivery.ClusterOf(s.Cluster)
	values, missing := delivery.Values(release.Spec.Variables, seen)
	switch {
	case len(release.Spec.Variables) == 0:
		a.add(Render, pass, "variables", "the manifests use none: every cluster gets the same", metav1.Time{})
	case missing != "":
		a.add(Render, fail, "variables", fmt.Sprintf("the manifests use ${%s}, and the cluster has no value for it", missing), metav1.Time{})
	default:
		var pairs []string
		for i, variable := range release.Spec.Variables {
			pairs = append(pairs, variable+"="+values[i])
		}
		text := strings.Join(pairs, ", ")
		if variant := delivery.VariantFor(&release.Spec, seen); variant != nil {
			a.add(Render, pass, "variables", fmt.Sprintf("%s: %s, %s", text, v1alpha1.Counted(variant.Objects, "object"), short(variant.Digest)), metav1.Time{})
			return
		}
		a.add(Render, unknown, "variables", text+": the release has no content for these values yet", metav1.Time{})
	}
}

func short(digest string) string {
	algorithm, sum, _ := strings.Cut(digest, ":")
	return algorithm + ":" + view.Revision(sum)
}

// placement says what the placement asks of the cluster, and what it decided.
func (a *Account) placement(s *Scene) {
	if s.Placement == nil {
		a.add(Placement, fail, "spec.placementRef", fmt.Sprintf("there is no placement %q in namespace %q; clusters keep what they hold", s.PlacementName, s.Package.Namespace), metav1.Time{})
		return
	}
	plan, err := s.compile()
	if err != nil {
		a.add(Placement, unknown, "spec", err.Error()+"; the last decision stands", metav1.Time{})
	} else {
		seen := decide.See(s.Cluster)
		for _, step := range plan.Trace(&seen, decide.BeforeOf(&s.Placement.Status)) {
			a.Steps = append(a.Steps, Step{Stage: Placement, Step: step})
		}
	}
	a.decision(s)
}

// decision is the last word: what stands in the placement's status.
func (a *Account) decision(s *Scene) {
	status, name := &s.Placement.Status, v1alpha1.ClusterName(s.Cluster.Name)
	decided := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionDecided)
	if satisfied := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionSatisfied); satisfied != nil && satisfied.Status == metav1.ConditionFalse {
		a.add(Placement, ignored, v1alpha1.ConditionSatisfied, satisfied.Message, satisfied.LastTransitionTime)
	}
	const check = "status.clusters"
	selected, doubted := slices.Contains(status.Clusters, name), slices.Contains(status.Undecided, name)
	switch {
	case decided == nil || decided.ObservedGeneration < s.Placement.Generation || status.ObservedGeneration == 0:
		a.add(Placement, unknown, check, "the hub has not decided the latest spec yet; clusters keep what they hold", metav1.Time{})
	case selected:
		a.add(Placement, pass, check, "the placement selects the cluster", metav1.Time{})
	case doubted:
		a.add(Placement, unknown, check, "it cannot be told whether the placement means the cluster: it keeps what it holds", metav1.Time{})
	case decided.Status != metav1.ConditionTrue:
		a.add(Placement, unknown, check, "the placement cannot be decided, and did not select the cluster before: it keeps what it holds", decided.LastTransitionTime)
	default:
		a.add(Placement, fail, check, "the placement does not select the cluster", metav1.Time{})
	}
}

// rollout says whether the cluster's turn has come, where the package has a strategy.
func (a *Account) rollout(s *Scene) {
	if s.Package.Spec.Rollout == nil || a.first(Placement, fail) != nil {
		return
	}
	if s.Rollout == nil {
		a.add(Rollout, unknown, "spec.rollout", "no rollout has begun yet", metav1.Time{})
		return
	}
	r, told := s.Rollout, s.Rollout.Orders().For(a.Cluster)
	said := string(r.Status.Phase)
	since := metav1.Time{}
	if progressing := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionProgressing); progressing != nil {
		said, since = progressing.Message, progressing.LastTransitionTime
	}
	at := "rollout " + r.Name
	for _, stage := range r.Status.Stages {
		if slices.Contains(stage.Waiting, a.Cluster) || slices.Contains(stage.Moved, a.Cluster) {
			at += ", stage " + stage.Name
		}
	}
	switch {
	case told == s.Package.Status.Release, a.held(s.Cluster) != nil && a.held(s.Cluster).Release == s.Package.Status.Release:
		a.add(Rollout, pass, at, "the cluster's turn has come: it is told "+s.Package.Status.Release, metav1.Time{})
	case told == "":
		a.add(Rollout, unknown, at, "the cluster's turn has not come: it is told nothing, and keeps what it holds; "+said, since)
	default:
		a.add(Rollout, unknown, at, fmt.Sprintf("the cluster is told %s, and the current one is %s; %s", told, s.Package.Status.Release, said), since)
	}
}

// knowsAll says whether a cluster's agent knows all that this version's does: then it waits for no later one.
func knowsAll(cluster *v1alpha1.MemberCluster) bool {
	return !slices.ContainsFunc(wire.Features(), func(feature string) bool { return !slices.Contains(cluster.Status.AgentFeatures, feature) })
}

// waits says what the cluster waits for: a plan, where one is required, other packages, and an agent that is not too old. Of a
// cluster that has its place in a rollout that says; of others the package, of all together.
func (a *Account) waits(s *Scene) {
	pkg := s.Package
	if a.first(Placement, fail) != nil {
		return
	}
	if s.Rollout != nil && !s.Rollout.Over() && s.Rollout.Status.Has(a.Cluster) {
		a.blocked(pkg, s.Rollout.Status.BlockedBy(a.Cluster))
		return
	}
	if pkg.Spec.Plan == v1alpha1.PlanRequired {
		a.condition(Approval, pkg, v1alpha1.ConditionPlanned)
	}
	if len(pkg.Spec.DependsOn) > 0 {
		a.condition(Rollout, pkg, v1alpha1.ConditionDependencies)
	}
	if meta.FindStatusCondition(pkg.Status.Conditions, v1alpha1.ConditionAgents) != nil && !knowsAll(s.Cluster) {
		a.condition(Rollout, pkg, v1alpha1.ConditionAgents)
	}
}

// blocked says what the cluster waits for by its rollout, if anything. A plan of the whole release is waited for before there is a rollout of it.
func (a *Account) blocked(pkg *v1alpha1.Package, why string) {
	message := "the cluster waits, and keeps what it holds: " + why
	switch {
	case pkg.Spec.Plan == v1alpha1.PlanRequired && (why == "" || why == delivery.WaitsForPlan):
		a.condition(Approval, pkg, v1alpha1.ConditionPlanned)
	case why == "":
	case strings.HasPrefix(why, delivery.WaitsForAgent):
		a.add(Rollout, fail, v1alpha1.ConditionAgents, message, metav1.Time{})
	default:
		a.add(Rollout, fail, v1alpha1.ConditionDependencies, message, metav1.Time{})
	}
}

// approval says whether deletes wait for a word: those of the whole package, when too many clusters would lose it at once, or
// those of a release.
func (a *Account) approval(s *Scene) {
	if s.leaves() && len(s.Clusters) > 0 {
		seen := delivery.Seen{Placement: s.Placement, Deleting: !s.Package.DeletionTimestamp.IsZero()}
		withheld := delivery.Withhold(seen, delivery.MembersOf(s.Clusters, a.Package), s.Package.Spec.Deletes)
		if withheld.Has(a.Cluster) {
			a.add(Approval, fail, "spec.deletes.clusterBudget",
				v1alpha1.Counted(len(withheld.Clusters()), "cluster")+" would lose the package at once, so none does until somebody approves", metav1.Time{})
			return
		}
		a.add(Approval, pass, "spec.deletes.clusterBudget", "the cluster may lose the package", metav1.Time{})
	}
	if held := a.held(s.Cluster); held != nil && held.DeletesHeld != nil {
		a.add(Approval, fail, "spec.deletes.budget", held.DeletesHeld.Describe(held.Release)+"; they wait until somebody approves", held.Since)
	}
}

// connection says whether the cluster can be told anything.
func (a *Account) connection(s *Scene, moment view.Moment) {
	if !moment.Pulse.Alive(moment.Now) {
		a.add(Connection, unknown, "hub", "the hub is not heard of: what follows is as old as its last sign of life", metav1.NewTime(moment.Pulse.Heard))
	}
	c := meta.FindStatusCondition(s.Cluster.Status.Conditions, v1alpha1.ConditionConnected)
	if c == nil {
		a.add(Connection, unknown, v1alpha1.ConditionConnected, "the hub has not looked at the cluster yet", metav1.Time{})
		return
	}
	if a.first(Placement, fail) == nil && s.Cluster.Spec.Observed() {
		a.add(Connection, fail, decide.CheckLevel, "the cluster is observed: nothing is written there, so it keeps what it holds and gets nothing", metav1.Time{})
	}
	result := resultOf(c.Status)
	if result == unknown {
		result = fail // nobody tells it anything now; it catches up
	}
	since := c.LastTransitionTime
	if s.Cluster.Status.LastSeen != nil && result != pass {
		since = *s.Cluster.Status.LastSeen
	}
	a.add(Connection, result, v1alpha1.ConditionConnected, c.Message, since)
}

// team says as whom the package acts, and whether its namespace keeps it from being delivered.
func (a *Account) team(pkg *v1alpha1.Package) {
	if as := pkg.Status.ActsAs; as != "" {
		a.add(Team, pass, "acts as", "ServiceAccount "+as+" of the cluster, whose roles there say what the package may", metav1.Time{})
	}
	c := meta.FindStatusCondition(pkg.Status.Conditions, v1alpha1.ConditionDelivered)
	if c != nil && (c.Reason == v1alpha1.ReasonQuotaExceeded || c.Reason == v1alpha1.ReasonTeamInvalid) {
		a.add(Team, fail, "namespace", c.Message, c.LastTransitionTime)
	}
}

// agent says what the cluster said last.
func (a *Account) agent(s *Scene, moment view.Moment) {
	held := a.held(s.Cluster)
	if held == nil {
		result := unknown
		if last := a.first(Placement, fail); last != nil {
			result = ignored // as it should be
		}
		a.add(Agent, result, "phase", "the cluster lists nothing of the package", metav1.Time{})
		return
	}
	result := map[v1alpha1.MemberPackagePhase]decide.Result{
		v1alpha1.PackageApplied: pass, v1alpha1.PackageFailed: fail,
	}[held.Phase]
	message := fmt.Sprintf("%s: %d of %s applied, %d healthy", held.Phase, held.Applied, v1alpha1.Counted(held.Objects, "object"), held.Healthy)
	if held.Message != "" {
		message += "; " + held.Message
	}
	a.add(Agent, cmp.Or(result, unknown), "phase", message, held.Since)
	if held.Release != "" && s.Package.Status.Release != "" {
		is := Step{Stage: Agent, Step: decide.Step{Check: "release", Result: pass, Message: "it holds the current one, " + held.Release}}
		if held.Release != s.Package.Status.Release && !sameContent(s.Release, held.Digest) {
			is.Result, is.Message = unknown, fmt.Sprintf("it holds %s, and the current one is %s", held.Release, s.Package.Status.Release)
		}
		a.Steps = append(a.Steps, is)
	}
	for _, failure := range held.Failures {
		where := failure.Object
		if failure.File != "" {
			where += " (" + failure.File + ")"
		}
		a.add(Agent, fail, where, failure.Message, metav1.Time{})
	}
	for _, contest := range held.Contested {
		a.add(Agent, ignored, contest.Object, fmt.Sprintf("package %s wants it as well, and does not get it", contest.Package), metav1.Time{})
	}
	if repair := held.LastRepair; repair != nil {
		a.add(Agent, ignored, "last repair", fmt.Sprintf("%s: %s", repair.Object, repair.Cause), repair.Time)
	}
}

func (a *Account) held(cluster *v1alpha1.MemberCluster) *v1alpha1.MemberPackage {
	return heldBy(cluster, a.Package)
}

func heldBy(cluster *v1alpha1.MemberCluster, key v1alpha1.PackageKey) *v1alpha1.MemberPackage {
	i := slices.IndexFunc(cluster.Status.Packages, func(p v1alpha1.MemberPackage) bool { return p.Package == key })
	if i < 0 {
		return nil
	}
	return &cluster.Status.Packages[i]
}

func sameContent(release *v1alpha1.Release, digest string) bool {
	return release != nil && slices.ContainsFunc(release.Spec.Variants, func(v v1alpha1.Variant) bool { return v.Digest == digest })
}

// first returns the first step of a stage that ended so, or nil.
func (a *Account) first(stage Stage, result decide.Result) *Step {
	i := slices.IndexFunc(a.Steps, func(s Step) bool { return s.Result == result && (stage == "" || s.Stage == stage) })
	if i < 0 {
		return nil
	}
	return &a.Steps[i]
}
