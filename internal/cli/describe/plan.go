package describe

import (
	"fmt"
	"strconv"
	"strings"

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
		rows = append(rows, output.Cells(digest, strconv.Itoa(len(content.Deletes)), names(clusters, p.wide)))
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

// names are the first few clusters, and how many there are beside them; wide has all of them.
func names(of []v1alpha1.ClusterName, wide bool) string {
	shown := len(of)
	if few := 5; !wide {
		shown = min(shown, few)
	}
	var texts []string
	for _, name := range of[:shown] {
		texts = append(texts, string(name))
	}
	if rest := len(of) - shown; rest > 0 {
		texts = append(texts, fmt.Sprintf("… and %d more", rest))
	}
	return strings.Join(texts, ", ")
}
