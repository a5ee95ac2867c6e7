package decide

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// unseen is what an agent is told of a release that nobody has made a plan of for its cluster.
const unseen = "none"

// Plans are what people have seen that changes of a Package do. The zero value is a Package that asks for none.
type Plans struct {
	required bool
	id       string // tells these from others: a Plan never changes
	changes  map[string]map[v1alpha1.ClusterName]string
	deletes  map[string][]string // by content
}

// PlansOf takes the Plans of a Package together. Of two that speak of the same content and cluster the newer counts; what either
// has seen deleted may be.
func PlansOf(policy v1alpha1.PlanPolicy, plans []v1alpha1.Plan) Plans {
	if policy != v1alpha1.PlanRequired {
		return Plans{}
	}
	p := Plans{required: true, changes: map[string]map[v1alpha1.ClusterName]string{}, deletes: map[string][]string{}}
	plans = slices.SortedFunc(slices.Values(plans), OlderPlan)
	var ids []string
	for i := range plans {
		ids = append(ids, string(plans[i].UID))
		for _, content := range plans[i].Spec.Contents {
			if p.changes[content.Digest] == nil {
				p.changes[content.Digest] = map[v1alpha1.ClusterName]string{}
			}
			p.deletes[content.Digest] = append(p.deletes[content.Digest], content.Deletes...)
			for _, cluster := range content.Clusters {
				p.changes[content.Digest][cluster.Name] = cluster.Changes
			}
		}
	}
	p.id = strings.Join(ids, " ")
	return p
}

// OlderPlan compares two Plans by when they were made and, within a second, by their names.
func OlderPlan(a, b v1alpha1.Plan) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
}

// Equal says whether both are the same Plans.
func (p Plans) Equal(other Plans) bool { return p.required == other.required && p.id == other.id }

// Cover says whether there is a Plan of every content of a Release that the one before did not have already.
func (p Plans) Cover(release, before *v1alpha1.ReleaseSpec) bool {
	if !p.required {
		return true
	}
	return !slices.ContainsFunc(release.Variants, func(v v1alpha1.Variant) bool {
		had := before != nil && slices.ContainsFunc(before.Variants, func(b v1alpha1.Variant) bool { return b.Digest == v.Digest })
		return !had && p.changes[v.Digest] == nil
	})
}

// planned is what an agent is told that a release may do on its cluster: a hash of what it adds and changes, which is empty for
// anything, and what it deletes.
type planned struct {
	changes string
	deletes []string
}

// planned says what an agent is told that a release may do on its cluster. What goes back to a release that was there before is
// planned already, or there would be no way back.
func (s *Seen) planned(cluster v1alpha1.ClusterName, variant *v1alpha1.Variant) planned {
	if !s.Plans.required || s.Staged != nil && s.Staged.Back {
		return planned{}
	}
	return planned{cmp.Or(s.Plans.changes[variant.Digest][cluster], unseen), s.Plans.deletes[variant.Digest]}
}

// unplanned returns the clusters that wait for a Plan: those for which there is none of what they would get, and that do
// not hold it already.
func (s *Seen) unplanned(members []Member) (clusters []v1alpha1.ClusterName) {
	if !s.Plans.required || s.Placement == nil || s.Deleting {
		return nil
	}
	for _, member := range members {
		release := s.releaseFor(member.Name)
		if release == nil || member.Frozen() || !selects(s.Placement, member.Name) {
			continue
		}
		want := VariantFor(&release.Spec, member.Cluster)
		if want == nil || member.Holds != nil && member.Holds.Digest == want.Digest {
			continue
		}
		if s.planned(member.Name, want).changes == unseen {
			clusters = append(clusters, member.Name)
		}
	}
	slices.Sort(clusters)
	return clusters
}

// Planned makes the condition of clusters that wait for a Plan, or will when their turn comes: sights are what they are told, and what
// they will be.
func Planned(key v1alpha1.PackageKey, sights []Seen, members []Member) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionPlanned, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonPlanned, Message: "nothing waits for a plan"}
	clusters, release := unplanned(sights, members)
	if len(clusters) == 0 {
		return c
	}
	c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonPlanRequired
	c.Message = fmt.Sprintf("%s %s, since no plan says what the release changes there (%s): %s",
		v1alpha1.Counted(len(clusters), "cluster"), v1alpha1.Agreeing(len(clusters), "waits", "wait"), Names(clusters), v1alpha1.SavePlan(key, release))
	return c
}

// unplanned returns the clusters that wait for a Plan, or will when their turn comes, and of which Release.
func unplanned(sights []Seen, members []Member) (clusters []v1alpha1.ClusterName, release string) {
	for i := range sights {
		more := sights[i].unplanned(members)
		if release == "" && len(more) > 0 {
			release = sights[i].releaseFor(more[0]).Name
		}
		clusters = append(clusters, more...)
	}
	slices.Sort(clusters)
	return slices.Compact(clusters), release
}
