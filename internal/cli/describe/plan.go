package describe

import (
	"fmt"
	"strconv"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

// planDossier is what is known of a plan.
type planDossier struct {
	Plan   *v1alpha1.Plan `json:"plan"`
	Events []event        `json:"events,omitempty"`
}

func (d *planDossier) write(p *page, moment view.Moment) {
	spec := d.Plan.Spec
	p.field("Name", d.Plan.Name)
	p.field("Namespace", d.Plan.Namespace)
	p.field("Package", spec.PackageRef.Name)
	p.field("Source", spec.Source)
	p.field("Changes", spec.Summary)
	p.field("Clusters", strconv.Itoa(int(spec.Clusters)))
	p.field("Age", moment.Age(d.Plan.CreationTimestamp).Text)
	var rows, deletes [][]output.Cell
	for _, content := range spec.Contents {
		digest := content.Digest
		if !p.wide {
			digest = shortDigest(digest)
		}
		var clusters []v1alpha1.ClusterName
		for _, cluster := range content.Clusters {
			clusters = append(clusters, cluster.Name)
		}
		rows = append(rows, output.Cells(digest, strconv.Itoa(len(content.Deletes)), view.Names(clusters, p.wide)))
		for _, object := range content.Deletes {
			deletes = append(deletes, output.Cells(digest, object))
		}
	}
	p.table("Contents", []string{"DIGEST", "DELETES", "CLUSTERS"}, rows)
	p.table("Deletes", []string{"DIGEST", "OBJECT"}, deletes)
	p.events(moment, d.Events)
	p.next([]string{fmt.Sprintf("`umbel plan %s%s` shows every line that would change now; it may be another change than this one",
		spec.PackageRef.Name, inNamespace(d.Plan.Namespace))})
}
