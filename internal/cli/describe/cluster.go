package describe

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

// clusterDossier is what is known of a cluster.
type clusterDossier struct {
	Cluster *v1alpha1.MemberCluster `json:"cluster"`
	Hub     hubState                `json:"hub"`
	// Nodes is what the cluster says of its nodes now; nil when it was not asked, since it is not connected.
	Nodes  *nodeState `json:"nodes,omitempty"`
	Events []event    `json:"events,omitempty"`
}

func (d *clusterDossier) write(p *page, moment view.Moment) {
	cluster := d.Cluster
	p.field("Name", cluster.Name)
	p.field("Labels", view.Labels(cluster.Labels))
	p.field("Taints", view.Taints(cluster.Spec.Taints))
	p.cell("Ready", moment.ClusterReady(cluster))
	if cluster.DeletionTimestamp != nil {
		p.field("Deleted", output.Ago(cluster.DeletionTimestamp.Time, moment.Now)+", waits for its agent to let go")
	}
	p.cell("Connected", moment.Connected(cluster))
	p.cell("Last seen", moment.LastSeen(cluster))
	p.field("Kubernetes", cluster.Status.KubernetesVersion)
	if d.Nodes != nil {
		p.cell("Nodes", d.Nodes.cell())
	}
	p.field("Agent", cluster.Status.AgentVersion)
	if identity := cluster.Status.Identity; identity != nil {
		p.field("Key", "sha256:"+identity.KeyFingerprint)
		if expires := identity.CertificateNotAfter; expires != nil {
			ends := fmt.Sprintf("%s (%s)", expires.UTC().Format("2006-01-02 15:04:05 MST"), output.Until(expires.Time, moment.Now))
			if meta.IsStatusConditionTrue(cluster.Status.Conditions, v1alpha1.ConditionConnected) && !expires.After(moment.Now) {
				ends = "later than " + ends + ": the agent has renewed it" // which is written when something else is
			}
			p.field("Certificate ends", ends)
		}
	}
	if until, of := cluster.Status.CertificateEnd(); !until.IsZero() {
		p.field("Certificates", fmt.Sprintf("the cluster's first ends %s (%s): %s", until.UTC().Format("2006-01-02 15:04:05 MST"), output.Until(until, moment.Now), of))
	}
	if with := cluster.Annotations[v1alpha1.RegisteredWithAnnotation]; with != "" {
		p.field("Registered", "by itself, with the token "+with)
	}
	if len(cluster.Spec.RevokedKeys) > 0 {
		p.field("Revoked keys", strings.Join(cluster.Spec.RevokedKeys, ", "))
	}
	p.field("On deletion", onDeletion(cluster.Spec.DeletionPolicy))
	p.field("Age", moment.Age(cluster.CreationTimestamp).Text)
	p.conditions(moment, cluster.Status.Conditions, func(c metav1.Condition) output.Cell { return moment.ClusterCondition(cluster, c) })
	d.writeNodes(p, moment)
	d.writePackages(p, moment)
	d.writeFailures(p)
	d.writeRepairs(p, moment)
	d.writeDeletions(p, moment)
	p.events(moment, d.Events)
	p.next(d.next(moment))
}

// writeNodes shows which nodes keep pods away, and why.
func (d *clusterDossier) writeNodes(p *page, moment view.Moment) {
	if d.Nodes == nil {
		return
	}
	var rows [][]output.Cell
	for _, trouble := range d.Nodes.Troubles {
		since := output.Text("")
		if !trouble.Since.IsZero() {
			since = moment.Age(trouble.Since)
		}
		rows = append(rows, []output.Cell{output.Text(trouble.Node), {Text: trouble.Trouble, Tone: output.Bad}, since, output.Text(trouble.Message)})
	}
	p.table("Nodes that take no pods", []string{"NODE", "TROUBLE", "SINCE", "MESSAGE"}, rows)
}

// writeDeletions shows what packages lost there lately.
func (d *clusterDossier) writeDeletions(p *page, moment view.Moment) {
	var rows [][]output.Cell
	for _, lost := range d.Cluster.Status.Deletions {
		rows = append(rows, output.Cells(lost.ID, string(lost.Package), fmt.Sprint(lost.Objects), string(lost.Cause), lost.Release,
			output.Ago(lost.Time.Time, moment.Now), string(lost.State), lost.Message))
	}
	p.table("Deleted lately", []string{"DELETION", "PACKAGE", "OBJECTS", "CAUSE", "RELEASE", "DELETED", "STATE", "MESSAGE"}, rows)
}

func onDeletion(policy v1alpha1.DeletionPolicy) string {
	if policy == v1alpha1.DeletionPrune {
		return "what Umbel applied there is deleted (Prune)"
	}
	return "what Umbel applied there stays (Orphan)"
}

func (d *clusterDossier) writePackages(p *page, moment view.Moment) {
	headers := []string{"PACKAGE", "STATE", "RELEASE", "REVISION", "APPLIED", "HEALTHY", "REPAIRS", "SINCE"}
	if p.wide {
		headers = append(headers, "DIGEST")
	}
	var rows [][]output.Cell
	for i := range d.Cluster.Status.Packages {
		held := &d.Cluster.Status.Packages[i]
		state, message := moment.HeldState(d.Cluster, held)
		row := append([]output.Cell{output.Text(string(held.Package)), state.Cell()}, heldCells(held, moment)...)
		if p.wide {
			row = append(row, output.Text(shortDigest(held.Digest)))
		}
		rows = append(rows, append(row, output.Text(message)))
	}
	p.table("Packages", append(headers, "MESSAGE"), rows)
}

func (d *clusterDossier) writeFailures(p *page) {
	var rows [][]output.Cell
	for _, held := range d.Cluster.Status.Packages {
		for _, failure := range held.Failures {
			rows = append(rows, output.Cells(string(held.Package), failure.File, failure.Object, failure.Message))
		}
	}
	p.table("Failures", []string{"PACKAGE", "FILE", "OBJECT", "MESSAGE"}, rows)
}

func (d *clusterDossier) writeRepairs(p *page, moment view.Moment) {
	var rows [][]output.Cell
	for _, held := range d.Cluster.Status.Packages {
		if held.LastRepair != nil {
			rows = append(rows, output.Cells(string(held.Package), moment.Repaired(held.LastRepair)))
		}
	}
	p.table("Last repairs", []string{"PACKAGE", "REPAIR"}, rows)
}
