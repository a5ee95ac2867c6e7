package decide

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// needs are what an agent has to know of to carry the Package out, in words for people.
func (s *Seen) needs() map[string]string {
	needs := map[string]string{}
	if s.Plans.required && (s.Staged == nil || !s.Staged.Back) {
		needs[wire.FeaturePlans] = "plans (spec.plan)"
	}
	if s.Policy.everywhere.GetActsAs() != nil {
		needs[wire.FeatureAccounts] = "acting as a team's ServiceAccount"
	}
	return needs
}

// outdated returns what the agents lack of clusters that are to hold another content than they do: they wait for an agent of a later
// version, for the one that they have would find nothing to apply, and fail. Those that never said anything lack nothing: nobody is
// there to be told.
func (s *Seen) outdated(members []Member) map[v1alpha1.ClusterName]string {
	needs := s.needs()
	if len(needs) == 0 || s.Placement == nil || s.Deleting {
		return nil
	}
	lacks := map[v1alpha1.ClusterName]string{}
	for _, member := range members {
		release := s.releaseFor(member.Name)
		if release == nil || member.Frozen() || member.Agent == "" || !selects(s.Placement, member.Name) {
			continue
		}
		want := VariantFor(&release.Spec, member.Cluster)
		if want == nil || member.Holds != nil && member.Holds.Digest == want.Digest {
			continue
		}
		var lacking []string
		for feature, words := range needs {
			if !slices.Contains(member.Features, feature) {
				lacking = append(lacking, words)
			}
		}
		if len(lacking) > 0 {
			slices.Sort(lacking)
			lacks[member.Name] = strings.Join(lacking, " and ")
		}
	}
	return lacks
}

// Agents makes the condition of clusters that wait for agents, with what they are told and what they will be; ok is false where none does.
func Agents(sights []Seen, members []Member) (c metav1.Condition, ok bool) {
	outdated := map[v1alpha1.ClusterName]string{}
	for i := range sights {
		maps.Copy(outdated, sights[i].outdated(members))
	}
	if len(outdated) == 0 {
		return metav1.Condition{}, false
	}
	clusters := slices.Sorted(maps.Keys(outdated))
	return metav1.Condition{
		Type: v1alpha1.ConditionAgents, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonAgentTooOld,
		Message: fmt.Sprintf("%s, since %s too old: %s does not know %s; `umbel upgrade agents` brings them to the hub's version: %s",
			v1alpha1.Counted(len(clusters), "cluster")+v1alpha1.Agreeing(len(clusters), " keeps what it holds", " keep what they hold"),
			v1alpha1.Agreeing(len(clusters), "its agent is", "their agents are"), clusters[0], outdated[clusters[0]], Names(clusters)),
	}, true
}
