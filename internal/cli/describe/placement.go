package describe

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

// placementDossier is what is known of a placement.
type placementDossier struct {
	Placement *v1alpha1.Placement      `json:"placement"`
	Clusters  []v1alpha1.MemberCluster `json:"clusters"`
	Packages  []string                 `json:"packages,omitempty"`
	Hub       hubState                 `json:"hub"`
	Events    []event                  `json:"events,omitempty"`
}

func (d *placementDossier) write(p *page, moment view.Moment) {
	placement := d.Placement
	p.field("Name", placement.Name)
	p.field("Namespace", placement.Namespace)
	p.cell("Ready", moment.PlacementReady(placement))
	p.field("Selects", view.Selector(placement.Spec.ClusterSelector))
	d.writeSpec(p)
	p.field("Selected", v1alpha1.Counted(placement.Status.Selected, "cluster")+asOf(moment))
	p.field("Packages", strings.Join(d.Packages, ", "))
	p.field("Age", moment.Age(placement.CreationTimestamp).Text)
	p.conditions(moment, placement.Status.Conditions, func(c metav1.Condition) output.Cell {
		return moment.Condition(c, placement.Generation)
	})
	var rows [][]output.Cell
	for i := range d.Clusters {
		cluster := &d.Clusters[i]
		rows = append(rows, []output.Cell{
			output.Text(cluster.Name), moment.ClusterReady(cluster), moment.Connected(cluster), output.Text(view.Labels(cluster.Labels)),
		})
	}
	p.table("Clusters", []string{"NAME", "READY", "CONNECTED", "LABELS"}, rows)
	var leaving [][]output.Cell
	for _, group := range placement.Status.Leaving {
		for _, cluster := range group.Clusters {
			leaving = append(leaving, output.Cells(string(cluster), output.Until(group.Until.Time, moment.Now), group.Because))
		}
	}
	p.table("Not selected any more soon", []string{"NAME", "WHEN", "BECAUSE"}, leaving)
	p.events(moment, d.Events)
	p.next(d.next())
}

// writeSpec writes what is asked for beside labels.
func (d *placementDossier) writeSpec(p *page) {
	spec := &d.Placement.Spec
	for _, f := range spec.Fields {
		p.field("Field", strings.TrimSpace(fmt.Sprintf("%s %s %s", f.Field, f.Operator, strings.Join(f.Values, ","))))
	}
	for _, expression := range spec.Expressions {
		p.field("Expression", strings.Join(strings.Fields(expression), " "))
	}
	for _, t := range spec.Tolerations {
		p.field("Tolerates", toleration(t))
	}
	if spec.NumberOfClusters != nil {
		p.field("At most", v1alpha1.Counted(*spec.NumberOfClusters, "cluster"))
	}
	if spread := spec.Spread; spread != nil {
		var parts []string
		if spread.MaxSkew != nil {
			parts = append(parts, fmt.Sprintf("maxSkew %d", *spread.MaxSkew))
		}
		if spread.MinValues != nil {
			parts = append(parts, "at least "+v1alpha1.Counted(*spread.MinValues, "value"))
		}
		p.field("Spread over", fmt.Sprintf("%s: %s", spread.Label, strings.Join(parts, ", ")))
	}
	if undecided := d.Placement.Status.Undecided; len(undecided) > 0 {
		var names []string
		for _, name := range undecided {
			names = append(names, string(name))
		}
		p.field("Undecided", strings.Join(names, ", "))
	}
}

// toleration writes one as the taints that it tolerates.
func toleration(t v1alpha1.Toleration) string {
	text := "every taint"
	if t.Key != "" {
		text = t.Key
	}
	if t.Operator != v1alpha1.TolerationExists {
		text += "=" + t.Value
	}
	if t.Effect != "" {
		text += ":" + string(t.Effect)
	}
	if t.TolerationSeconds != nil {
		text += fmt.Sprintf(" for %ds", *t.TolerationSeconds)
	}
	return text
}
