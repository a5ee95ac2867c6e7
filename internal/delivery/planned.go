package delivery

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// +kubebuilder:rbac:groups=umbel.dev,resources=plans,verbs=get;list;watch;delete

const planByPackage = "spec.packageRef.name"

// keepPlans is how many Plans of a Package stay.
const keepPlans = 20

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
	plans = slices.SortedFunc(slices.Values(plans), olderPlan)
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

func olderPlan(a, b v1alpha1.Plan) int {
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
		if release == nil || member.Leaving || !selects(s.Placement, member.Name) {
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

// observePlans reads the Plans of the Package, where it needs one.
func (c *Controller) observePlans(ctx context.Context, v *visit) error {
	v.seen.Plans = Plans{}
	if v.pkg.Spec.Plan != v1alpha1.PlanRequired {
		return nil
	}
	var list v1alpha1.PlanList
	err := c.client.List(ctx, &list, client.InNamespace(v.pkg.Namespace), client.MatchingFields{planByPackage: v.pkg.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return fmt.Errorf("listing the plans of package %s: %w", v.key, err)
	}
	v.seen.Plans = PlansOf(v.pkg.Spec.Plan, list.Items)
	return nil
}

// admit makes a Release the current one, once there is a Plan of it where one is required. Until then it stands there, and
// what came before goes on.
func (c *Controller) admit(v *visit, release *v1alpha1.Release) bool {
	var before *v1alpha1.ReleaseSpec
	if v.seen.Release != nil {
		before = &v.seen.Release.Spec
	}
	if !v.seen.Plans.Cover(&release.Spec, before) {
		if v.memo.unplanned == nil || v.memo.unplanned.Name != release.Name {
			v.memo.unplanned, v.memo.retired = release, ""
		}
		return false
	}
	v.memo.unplanned = nil
	v.seen.Release, v.memo.release, v.memo.verified, v.gives = release, release, release.Name, true
	v.pkg.Status.Release, v.pkg.Status.Revision = release.Name, release.Spec.Revision
	return true
}

// tellPlans sets the condition of what waits for a Plan. Where none is required there is none.
func (c *Controller) tellPlans(_ context.Context, v *visit) error {
	if v.pkg.Spec.Plan != v1alpha1.PlanRequired {
		meta.RemoveStatusCondition(&v.pkg.Status.Conditions, v1alpha1.ConditionPlanned)
		return nil
	}
	condition := metav1.Condition{Type: v1alpha1.ConditionPlanned, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonPlanned, Message: "nothing waits for a plan"}
	if r := v.memo.unplanned; r != nil {
		condition.Status, condition.Reason = metav1.ConditionFalse, v1alpha1.ReasonPlanRequired
		condition.Message = fmt.Sprintf("%s waits as release %s, since nobody has saved a plan of what it changes: %s",
			revisionOf(r.Spec.Source, r.Spec.Revision), r.Name, v1alpha1.SavePlan(v.key, r.Name))
	} else if clusters, release := v.unplanned(); len(clusters) > 0 {
		condition.Status, condition.Reason = metav1.ConditionFalse, v1alpha1.ReasonPlanRequired
		condition.Message = fmt.Sprintf("%s %s, since no plan says what the release changes there (%s): %s",
			v1alpha1.Counted(len(clusters), "cluster"), v1alpha1.Agreeing(len(clusters), "waits", "wait"), names(clusters), v1alpha1.SavePlan(v.key, release))
	}
	v.set(condition)
	return nil
}

// unplanned returns the clusters that wait for a Plan, or will when their turn comes, and of which Release.
func (v *visit) unplanned() (clusters []v1alpha1.ClusterName, release string) {
	for i := range v.sights {
		more := v.sights[i].unplanned(v.members)
		if release == "" && len(more) > 0 {
			release = v.sights[i].releaseFor(more[0]).Name
		}
		clusters = append(clusters, more...)
	}
	slices.Sort(clusters)
	return slices.Compact(clusters), release
}

// retirePlans deletes the oldest Plans of a Package, when there are many.
func (c *Controller) retirePlans(ctx context.Context, v *visit) error {
	var list v1alpha1.PlanList
	if err := c.client.List(ctx, &list, client.InNamespace(v.pkg.Namespace), client.MatchingFields{planByPackage: v.pkg.Name}); err != nil {
		return fmt.Errorf("listing the plans of package %s: %w", v.key, err)
	}
	slices.SortFunc(list.Items, olderPlan)
	for i := range max(0, len(list.Items)-keepPlans) {
		if err := c.client.Delete(ctx, &list.Items[i]); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting plan %s of package %s: %w", list.Items[i].Name, v.key, err)
		}
	}
	return nil
}
