package describe

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

// scopeDossier is what is known of a scope.
type scopeDossier struct {
	Scope    *v1alpha1.Scope     `json:"scope"`
	Clusters []view.ClusterState `json:"clusters"`
	// Unseen is what whoever asks may not see.
	Unseen []string `json:"unseen,omitempty"`
	Hub    hubState `json:"hub"`
	Events []event  `json:"events,omitempty"`
}

func (d *scopeDossier) write(p *page, moment view.Moment) {
	scope := d.Scope
	p.field("Name", scope.Name)
	p.cell("Ready", moment.ScopeReady(scope))
	if scope.DeletionTimestamp != nil {
		p.field("Deleted", output.Ago(scope.DeletionTimestamp.Time, moment.Now)+", waits for clusters to give up its bindings")
	}
	p.field("Users", strings.Join(scope.Spec.Users, ", "))
	p.field("Groups", strings.Join(scope.Spec.Groups, ", "))
	p.field("ServiceAccounts", strings.Join(scope.Spec.ServiceAccounts, ", "))
	p.field("Role", scope.Spec.Role)
	p.field("Namespaces", namespacesOf(scope))
	p.field("Selects", view.Selector(scope.Spec.ClusterSelector))
	p.field("Package", string(scope.Status.Package))
	p.field("Clusters", counts(scope.Status.Clusters)+asOf(moment))
	p.field("Age", moment.Age(scope.CreationTimestamp).Text)
	p.conditions(moment, scope.Status.Conditions, func(c metav1.Condition) output.Cell { return moment.Condition(c, scope.Generation) })
	var rows, failures [][]output.Cell
	for _, state := range d.Clusters {
		bindings := ""
		if held := state.Package; held != nil {
			bindings = fmt.Sprintf("%d/%d", held.Applied, held.Objects)
			for _, failure := range held.Failures {
				failures = append(failures, output.Cells(string(state.Cluster), failure.Object, failure.Message))
			}
		}
		rows = append(rows, []output.Cell{output.Text(string(state.Cluster)), state.State.Cell(), output.Text(bindings), output.Text(state.Message)})
	}
	p.table("Who has it", []string{"CLUSTER", "STATE", "BINDINGS", "MESSAGE"}, rows)
	p.table("Failures", []string{"CLUSTER", "OBJECT", "MESSAGE"}, failures)
	if len(d.Unseen) > 0 {
		p.section("Not shown, because your rights on the hub do not reach so far")
		for _, what := range d.Unseen {
			p.line(what)
		}
	}
	p.events(moment, d.Events)
	p.next(d.next(moment))
}

func namespacesOf(scope *v1alpha1.Scope) string {
	if slices.Contains(scope.Spec.Namespaces, v1alpha1.EveryNamespace) {
		return "all, and what lives in none"
	}
	return strings.Join(scope.Spec.Namespaces, ", ")
}

// next returns the steps that the conditions of a scope and its states suggest.
func (d *scopeDossier) next(moment view.Moment) []string {
	if !moment.Pulse.Alive(moment.Now) {
		return []string{"`umbel up` starts the hub, when it runs on this machine"}
	}
	var steps []string
	placed := meta.FindStatusCondition(d.Scope.Status.Conditions, v1alpha1.ConditionPlaced)
	switch {
	case d.Scope.DeletionTimestamp != nil:
		steps = append(steps, fmt.Sprintf("`umbel scope delete %s --force` lets it go before the clusters that are away; they give up the bindings when they are back", d.Scope.Name))
	case placed == nil:
	case placed.Reason == v1alpha1.ReasonUndecided:
		steps = append(steps, "correct spec.clusterSelector as Placed says; until then what stood before stays")
	case placed.Reason == v1alpha1.ReasonNoClusters:
		steps = append(steps, "`umbel get clusters -o wide` shows the labels that clusters have; `umbel label cluster NAME KEY=VALUE` adds one")
	}
	if i := slices.IndexFunc(d.Clusters, func(s view.ClusterState) bool { return s.State == view.Failing }); i >= 0 {
		steps = append(steps, fmt.Sprintf("is the namespace there? `umbel kubectl %s -- get namespaces`; it is tried again by itself", d.Clusters[i].Cluster))
	}
	return steps
}
