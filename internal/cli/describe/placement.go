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
	p.field("Selected", fmt.Sprintf("%d clusters%s", placement.Status.Selected, asOf(moment)))
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
	p.events(moment, d.Events)
	p.next(d.next())
}
