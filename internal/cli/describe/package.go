package describe

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

// packageDossier is what is known of a package.
type packageDossier struct {
	Package   *v1alpha1.Package   `json:"package"`
	Placement *v1alpha1.Placement `json:"placement,omitempty"`
	Clusters  []view.ClusterState `json:"clusters"`
	Hub       hubState            `json:"hub"`
	Events    []event             `json:"events,omitempty"`
}

func (d *packageDossier) write(p *page, moment view.Moment) {
	pkg := d.Package
	p.field("Name", pkg.Name)
	p.field("Namespace", pkg.Namespace)
	p.cell("Ready", moment.PackageReady(pkg))
	if pkg.DeletionTimestamp != nil {
		p.field("Deleted", output.Ago(pkg.DeletionTimestamp.Time, moment.Now)+", waits for clusters to prune its objects")
	}
	writeSource(p, pkg.Spec.Source)
	p.field("Placement", pkg.Spec.PlacementRef.Name)
	if as := pkg.Status.ActsAs; as != "" {
		p.field("Acts as", "ServiceAccount "+as+" of the clusters")
	}
	p.field("Release", pkg.Status.Release)
	p.field("Revision", pkg.Status.Revision)
	p.field("Changes", changes(pkg.Status.Changes))
	p.field("Clusters", counts(pkg.Status.Clusters)+asOf(moment))
	p.field("Age", moment.Age(pkg.CreationTimestamp).Text)
	p.conditions(moment, pkg.Status.Conditions, func(c metav1.Condition) output.Cell { return moment.Condition(c, pkg.Generation) })
	d.writeClusters(p, moment)
	d.writeFailures(p)
	d.writeContested(p)
	d.writeHeld(p)
	d.writeRepairs(p, moment)
	p.events(moment, d.Events)
	p.next(d.next(moment))
}

func writeSource(p *page, source v1alpha1.Source) {
	if source.Inline != nil {
		p.field("Source", "manifests in the package itself (spec.source.inline)")
	}
	from := view.SourceOf(source)
	if from.URL == "" {
		return
	}
	p.field(from.Label, from.URL)
	p.field(from.VersionLabel, from.Version)
	label := "Path"
	if source.Helm != nil {
		label = "Chart"
	}
	p.field(label, from.Path)
	if from.Secret != "" {
		p.field("Secret", from.Secret)
	}
	if from.Every > 0 {
		p.field("Asked every", from.Every.String())
	}
}

// changes is what a release does: "1 added, 2 changed, 6 deleted, against shop-0f0e0d0c; over budget".
func changes(c *v1alpha1.PackageChanges) string {
	if c == nil {
		return ""
	}
	text := fmt.Sprintf("%d added, %d changed, %d deleted, against %s", c.Added, c.Changed, c.Deleted, c.Against)
	if c.Protected > 0 {
		text += fmt.Sprintf("; %d of the deleted are protected", c.Protected)
	}
	if c.OverBudget {
		text += "; over budget: clusters hold the deletes back"
	}
	return text
}

// counts is what a package says of its clusters: "2 of 3 ready, 1 unknown".
func counts(c v1alpha1.ClusterCounts) string {
	text := fmt.Sprintf("%d of %d ready", c.Ready, c.Selected)
	for _, other := range []struct {
		count int32
		state string
	}{{c.Progressing, "progressing"}, {c.Failing, "failing"}, {c.Unknown, "unknown"}, {c.Removing, "removing"}} {
		if other.count > 0 {
			text += fmt.Sprintf(", %d %s", other.count, other.state)
		}
	}
	return text
}

// asOf says how old a statement of the hub is, when it is.
func asOf(moment view.Moment) string {
	if moment.Pulse.Alive(moment.Now) || moment.Pulse.Heard.IsZero() {
		return ""
	}
	return " (as of " + output.Ago(moment.Pulse.Heard, moment.Now) + ")"
}

func (d *packageDossier) writeClusters(p *page, moment view.Moment) {
	headers := []string{"CLUSTER", "STATE", "RELEASE", "REVISION", "APPLIED", "HEALTHY", "REPAIRS", "SINCE"}
	if p.wide {
		headers = append(headers, "LAST SEEN", "DIGEST")
	}
	var rows [][]output.Cell
	for _, state := range d.Clusters {
		row := append([]output.Cell{output.Text(string(state.Cluster)), state.State.Cell()}, heldCells(state.Package, moment)...)
		if p.wide {
			row = append(row, wideCells(state, moment)...)
		}
		rows = append(rows, append(row, output.Text(state.Message)))
	}
	p.table("State on clusters", append(headers, "MESSAGE"), rows)
}

// heldCells are release, revision, applied, healthy, repairs and since of a package on a cluster.
func heldCells(held *v1alpha1.MemberPackage, moment view.Moment) []output.Cell {
	if held == nil {
		return output.Cells("", "", "", "", "", "")
	}
	return output.Cells(
		held.Release,
		view.Revision(held.Revision),
		fmt.Sprintf("%d/%d", held.Applied, held.Objects),
		fmt.Sprintf("%d/%d", held.Healthy, held.Objects),
		fmt.Sprint(held.Repairs),
		output.Age(held.Since.Time, moment.Now),
	)
}

func wideCells(state view.ClusterState, moment view.Moment) []output.Cell {
	seen, digest := "", ""
	if state.LastSeen != nil {
		seen = output.Ago(state.LastSeen.Time, moment.Now)
	}
	if state.Package != nil {
		digest = shortDigest(state.Package.Digest)
	}
	return output.Cells(seen, digest)
}

// shortDigest keeps of sha256:… what people compare.
func shortDigest(digest string) string {
	algorithm, sum, ok := strings.Cut(digest, ":")
	if !ok {
		return digest
	}
	return algorithm + ":" + view.Revision(sum)
}

func (d *packageDossier) writeFailures(p *page) {
	var rows [][]output.Cell
	for _, state := range d.Clusters {
		if state.Package == nil {
			continue
		}
		for _, failure := range state.Package.Failures {
			rows = append(rows, output.Cells(string(state.Cluster), failure.File, failure.Object, failure.Message))
		}
	}
	p.table("Failures", []string{"CLUSTER", "FILE", "OBJECT", "MESSAGE"}, rows)
}

// writeContested shows what other packages want.
func (d *packageDossier) writeContested(p *page) {
	var rows [][]output.Cell
	for _, state := range d.Clusters {
		if state.Package == nil {
			continue
		}
		for _, contest := range state.Package.Contested {
			rows = append(rows, output.Cells(string(state.Cluster), contest.Object, string(contest.Package)))
		}
	}
	p.table("Wanted by others, who do not get it", []string{"CLUSTER", "OBJECT", "PACKAGE"}, rows)
}

// writeHeld shows which deletes wait for a word.
func (d *packageDossier) writeHeld(p *page) {
	var rows [][]output.Cell
	for _, state := range d.Clusters {
		if state.Package == nil || state.Package.DeletesHeld == nil {
			continue
		}
		held := state.Package.DeletesHeld
		rows = append(rows, output.Cells(string(state.Cluster), fmt.Sprintf("%d of %d", held.Objects, held.Holds), fmt.Sprint(held.Allowed),
			fmt.Sprint(held.Protected), fmt.Sprint(held.Kept), strings.Join(held.Names, ", ")))
	}
	p.table("Deletes that wait for a word", []string{"CLUSTER", "OBJECTS", "BUDGET", "PROTECTED", "BROUGHT BACK", "NAMES"}, rows)
}

func (d *packageDossier) writeRepairs(p *page, moment view.Moment) {
	var rows [][]output.Cell
	for _, state := range d.Clusters {
		if state.Package != nil && state.Package.LastRepair != nil {
			rows = append(rows, output.Cells(string(state.Cluster), moment.Repaired(state.Package.LastRepair)))
		}
	}
	p.table("Last repairs", []string{"CLUSTER", "REPAIR"}, rows)
}
