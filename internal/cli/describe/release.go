package describe

import (
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

// releaseDossier is what is known of a release.
type releaseDossier struct {
	Release *v1alpha1.Release `json:"release"`
	// Current says whether it is what the clusters should hold.
	Current bool `json:"current"`
	// Clusters are those that said last that they hold it, or are on their way to it.
	Clusters []v1alpha1.ClusterName `json:"clusters"`
	Hub      hubState               `json:"hub"`
	Events   []event                `json:"events,omitempty"`
}

func (d *releaseDossier) write(p *page, moment view.Moment) {
	spec := d.Release.Spec
	p.field("Name", d.Release.Name)
	p.field("Namespace", d.Release.Namespace)
	p.field("Package", spec.PackageRef.Name)
	p.field("Current", currency(d.Current)+asOf(moment))
	p.field("Revision", spec.Revision)
	writeSource(p, spec.Source)
	p.field("Repository", spec.Repository)
	p.field("Variables", strings.Join(spec.Variables, ", "))
	p.field("Age", moment.Age(d.Release.CreationTimestamp).Text)
	var rows [][]output.Cell
	for _, variant := range spec.Variants {
		digest := variant.Digest
		if !p.wide {
			digest = shortDigest(digest)
		}
		size := resource.NewQuantity(variant.Size, resource.BinarySI).String()
		rows = append(rows, output.Cells(strings.Join(variant.Values, ", "), strconv.Itoa(int(variant.Objects)), size, digest))
	}
	p.table("Variants", []string{"VALUES", "OBJECTS", "SIZE", "DIGEST"}, rows)
	if len(d.Clusters) > 0 {
		p.section("Held by" + asOf(moment))
		for _, cluster := range d.Clusters {
			p.line(string(cluster))
		}
	}
	p.events(moment, d.Events)
}

func currency(current bool) string {
	if current {
		return "yes"
	}
	return "no"
}
