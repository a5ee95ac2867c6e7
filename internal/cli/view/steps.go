package view

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// noNode is what a scheduler says of a pod that no node takes.
const noNode = "nodes are available:"

// PackageSteps are the steps that the conditions of a package and its states on clusters suggest.
func (m Moment) PackageSteps(pkg *v1alpha1.Package, states []ClusterState) []string {
	var steps []string
	for _, c := range pkg.Status.Conditions {
		if c.Type == v1alpha1.ConditionReady {
			continue // it repeats one of the others
		}
		if step := packageStep(pkg, c.Reason); step != "" && !slices.Contains(steps, step) {
			steps = append(steps, step)
		}
	}
	if !m.Pulse.Alive(m.Now) {
		return append(steps, "`umbel up` starts the hub, when it runs on this machine")
	}
	silent := slices.IndexFunc(states, func(s ClusterState) bool { return s.State == Unknown })
	if silent >= 0 {
		steps = append(steps, fmt.Sprintf("`umbel describe cluster %s` says why it is not heard of; it catches up when it is back", states[silent].Cluster))
	}
	full := slices.IndexFunc(states, func(s ClusterState) bool { return strings.Contains(s.Message, noNode) })
	if full >= 0 {
		steps = append(steps, fmt.Sprintf("`umbel describe cluster %s` says which of its nodes take no pods, and why", states[full].Cluster))
	}
	failing := slices.IndexFunc(states, func(s ClusterState) bool { return s.State == Failing })
	if failing >= 0 {
		steps = append(steps, fmt.Sprintf("correct what Failures names and commit, or look on the cluster: `umbel kubectl %s -- get events -A`; nothing is pruned while something fails", states[failing].Cluster))
	}
	return steps
}

// packageStep is what to do about a reason of a package's condition.
func packageStep(pkg *v1alpha1.Package, reason string) string {
	where := InNamespace(pkg.Namespace)
	switch reason {
	case v1alpha1.ReasonPlanRequired:
		message := meta.FindStatusCondition(pkg.Status.Conditions, v1alpha1.ConditionPlanned).Message
		return v1alpha1.SavePlanIn(message, v1alpha1.KeyOf(pkg.Namespace, pkg.Name)) + "; until then clusters keep what they hold"
	case v1alpha1.ReasonAgentTooOld:
		return "`umbel upgrade agents` brings the agents to the hub's version; until then their clusters keep what they hold"
	case v1alpha1.ReasonWaiting, v1alpha1.ReasonDependencyTimeout:
		return "`umbel describe package NAME` of a package that DependenciesReady names says why it is not healthy; spec.dependsOn says for which this one waits"
	case v1alpha1.ReasonRollingOut, v1alpha1.ReasonRolloutHalted, v1alpha1.ReasonRolledBack:
		return fmt.Sprintf("`umbel rollout status %s%s` says how far it is, and what it waits for", pkg.Name, where)
	case v1alpha1.ReasonValuesInvalid:
		return fmt.Sprintf("make the ConfigMap or Secret in namespace %s that the message names, or correct spec.helm.valuesFrom", pkg.Namespace)
	case v1alpha1.ReasonRenderFailed, v1alpha1.ReasonEmptyRender:
		if pkg.Spec.Source.Inline != nil {
			return "correct the object in spec.source.inline that the message names; until then clusters keep what they hold"
		}
		return "correct the file that the message names and commit; until then clusters keep what they hold"
	case v1alpha1.ReasonStoreFailed:
		return "has the hub's disk room left? it tries again by itself"
	case v1alpha1.ReasonVariableMissing:
		return "`umbel label cluster NAME KEY=VALUE` gives a cluster the label that the message names; a default in the manifest does without: ${cluster.labels.KEY:-DEFAULT}"
	case v1alpha1.ReasonNothingSelected:
		return fmt.Sprintf("have the Placement leave out the clusters that the message names (`umbel describe placement %s%s`), or give them an object", pkg.Spec.PlacementRef.Name, where)
	case v1alpha1.ReasonPlacementNotFound:
		return fmt.Sprintf("`umbel get placements%s` lists those that exist; spec.placementRef.name is %q", where, pkg.Spec.PlacementRef.Name)
	case v1alpha1.ReasonUndecided:
		return fmt.Sprintf("`umbel describe placement %s%s` says why", pkg.Spec.PlacementRef.Name, where)
	case v1alpha1.ReasonDeletesHeld:
		return fmt.Sprintf("`umbel approve deletes %s%s` shows what would go, and lets it; to keep it, put it back into the source, or let the placement select those clusters again", pkg.Name, where)
	case v1alpha1.ReasonNoClusters:
		return "`umbel get clusters -o wide` shows the labels that clusters have; `umbel label cluster NAME KEY=VALUE` adds one"
	}
	return sourceStep(pkg, reason)
}

// sourceStep is what to do about a reason that is one of the package's source.
func sourceStep(pkg *v1alpha1.Package, reason string) string {
	from := SourceOf(pkg.Spec.Source)
	where := InNamespace(pkg.Namespace)
	switch reason {
	case v1alpha1.ReasonFetchFailed:
		if from.Field != "git" {
			return fmt.Sprintf("see whether %s can be reached from the hub's machine; `umbel refresh package %s%s` asks again at once", from.URL, pkg.Name, where)
		}
		return fmt.Sprintf("`git ls-remote %s` on the hub's machine shows whether the source can be read; `umbel refresh package %s%s` asks again at once", from.URL, pkg.Name, where)
	case v1alpha1.ReasonUnauthorized:
		if from.Secret == "" {
			return fmt.Sprintf("make a Secret with the credentials in namespace %s and name it in spec.source.%s.secretRef; docs/operate/sources.md shows how", pkg.Namespace, from.Field)
		}
		return fmt.Sprintf("correct the credentials in secret %s of namespace %s, then `umbel refresh package %s%s`", from.Secret, pkg.Namespace, pkg.Name, where)
	case v1alpha1.ReasonSecretInvalid:
		return fmt.Sprintf("correct what the message names, then `umbel refresh package %s%s`; docs/operate/sources.md says what a Secret holds", pkg.Name, where)
	case v1alpha1.ReasonSourceNotAllowed:
		return "where the hub is started, add `--allow-local-sources FOLDER` to `umbel hub`, or serve the repository over https"
	case v1alpha1.ReasonFolderTaken:
		return "rename the folder .remote-bases of the source"
	case v1alpha1.ReasonRefNotFound:
		if from.Field != "git" {
			return fmt.Sprintf("spec.source.%s asks for %q: correct it, or publish that version at %s", from.Field, from.Version, from.URL)
		}
		return fmt.Sprintf("`git ls-remote %s` lists the branches and tags that exist; spec.source.git asks for %q", from.URL, from.Version)
	case v1alpha1.ReasonPathNotFound:
		return fmt.Sprintf("spec.source.%s.path is %q: correct it, or put the folder into %s", from.Field, from.Path, from.Version)
	case v1alpha1.ReasonKeysInvalid:
		return fmt.Sprintf("correct the keys that the message names, then `umbel refresh package %s%s`; docs/operate/signatures.md says what they look like", pkg.Name, where)
	case v1alpha1.ReasonNotVerified, v1alpha1.ReasonWentBack:
		return "have somebody sign whom spec.source." + from.Field + ".verify allows, or add their key there; until then clusters keep what they hold (docs/operate/signatures.md)"
	}
	return ""
}

// ClusterSteps are the steps that the conditions of a cluster suggest. badNode is one of its nodes that takes no pods; empty when none is known.
func (m Moment) ClusterSteps(cluster *v1alpha1.MemberCluster, badNode string) []string {
	if !m.Pulse.Alive(m.Now) {
		return []string{"`umbel up` starts the hub, when it runs on this machine"}
	}
	var steps []string
	if connected := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionConnected); connected != nil {
		if step := connectedStep(cluster.Name, connected); step != "" {
			steps = append(steps, step)
		}
	}
	if badNode != "" {
		steps = append(steps, fmt.Sprintf("`umbel kubectl %s -- describe node %s` shows what it lacks; pods that it does not take wait, or go to others", cluster.Name, badNode))
	}
	for i := range cluster.Status.Packages {
		held := &cluster.Status.Packages[i]
		if state, _ := m.HeldState(cluster, held); state == Failing {
			namespace, name := held.Package.Split()
			steps = append(steps, fmt.Sprintf("`umbel describe package %s%s` shows what fails, on every cluster", name, InNamespace(namespace)))
		}
	}
	return steps
}

func connectedStep(name string, connected *metav1.Condition) string {
	join := fmt.Sprintf("`umbel join %s --kubeconfig FILE`, with the kubeconfig of that cluster,", name)
	again := fmt.Sprintf("`umbel leave %s --force` and then %s", name, join)
	switch connected.Reason {
	case v1alpha1.ReasonPendingApproval:
		return fmt.Sprintf("is Key that of the cluster's agent, as the log there says? Then `umbel approve %s` lets it in; `umbel deny %s` refuses it", name, name)
	case v1alpha1.ReasonDenied:
		return fmt.Sprintf("`umbel approve %s` lets it in all the same; `umbel leave %s` forgets it", name, name)
	case v1alpha1.ReasonSuspended:
		return fmt.Sprintf("`umbel resume %s` lets it in again; what it holds stays and is repaired there", name)
	case v1alpha1.ReasonKeyRevoked:
		return join + " lets it in again, with a new key"
	case v1alpha1.ReasonAwaitingAgent:
		return join + " installs the agent there; until then it holds nothing"
	case v1alpha1.ReasonCertificateRefused:
		return again + " gives its agent a new key and certificate; what was delivered stays there"
	case v1alpha1.ReasonProtocolMismatch:
		return again + " installs the agent of this hub's version; what was delivered stays there"
	case v1alpha1.ReasonProbeTimeout, v1alpha1.ReasonSessionClosed:
		return fmt.Sprintf("on that cluster, `kubectl -n %s get pods` shows whether the agent runs; it goes on repairing without the hub", v1alpha1.AgentNamespace)
	case v1alpha1.ReasonAPIUnreachable:
		return "the agent runs there and cannot reach that cluster's API server: look at it on that cluster; repair goes on when it is back"
	case v1alpha1.ReasonHubRestarted:
		return "the hub has just started: the agent dials it again within half a minute"
	}
	return ""
}

// PlacementSteps are the steps that the conditions of a placement suggest.
func PlacementSteps(placement *v1alpha1.Placement) []string {
	decided := meta.FindStatusCondition(placement.Status.Conditions, v1alpha1.ConditionDecided)
	switch {
	case decided != nil && decided.Reason == v1alpha1.ReasonInvalidSelector:
		return []string{"correct the field that Decided names; until then it selects what it selected before"}
	case decided != nil && len(placement.Status.Undecided) > 0:
		return []string{fmt.Sprintf("`umbel explain placement %s --cluster %s%s` says what cannot be told of a cluster", placement.Name, placement.Status.Undecided[0], InNamespace(placement.Namespace))}
	case meta.IsStatusConditionFalse(placement.Status.Conditions, v1alpha1.ConditionSatisfied):
		return []string{fmt.Sprintf("`umbel explain placement %s%s` says what each of the other clusters does not meet", placement.Name, InNamespace(placement.Namespace))}
	case decided != nil && decided.Status == metav1.ConditionTrue && placement.Status.Selected == 0:
		return []string{"`umbel get clusters -o wide` shows the labels that clusters have; `umbel label cluster NAME KEY=VALUE` adds one"}
	}
	return nil
}

// InNamespace is the flag that a command needs for an object there.
func InNamespace(namespace string) string {
	if namespace == metav1.NamespaceDefault {
		return ""
	}
	return " -n " + namespace
}
