package describe

import (
	"cmp"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

// rolloutDossier is what is known of a rollout.
type rolloutDossier struct {
	Rollout *v1alpha1.Rollout `json:"rollout"`
	Hub     hubState          `json:"hub"`
	Events  []event           `json:"events,omitempty"`
}

func (d *rolloutDossier) write(p *page, moment view.Moment) {
	spec, status := d.Rollout.Spec, d.Rollout.Status
	p.field("Name", d.Rollout.Name)
	p.field("Namespace", d.Rollout.Namespace)
	p.field("Package", spec.PackageRef.Name)
	if spec.Kubernetes != nil {
		p.field("Kubernetes of", cmp.Or(metav1.FormatLabelSelector(&spec.Kubernetes.ClusterSelector), "all clusters that the hub makes in this namespace"))
	}
	p.field("Purpose", string(spec.Purpose))
	p.field("Release", spec.Release)
	p.field("Previous", spec.Previous)
	p.cell("Phase", moment.RolloutPhase(d.Rollout))
	if spec.Intent != v1alpha1.IntentRun {
		p.field("Intent", string(spec.Intent))
	}
	p.field("Clusters", view.RolloutCounts(d.Rollout)+asOf(moment))
	for _, at := range []struct {
		name string
		time *metav1.Time
	}{{"Began", status.Began}, {"Completed", status.Completed}, {"Ended", status.Ended}} {
		if at.time != nil {
			p.field(at.name, output.Ago(at.time.Time, moment.Now))
		}
	}
	p.field("Successor", status.Successor)
	p.field("Age", moment.Age(d.Rollout.CreationTimestamp).Text)
	p.conditions(moment, status.Conditions, func(c metav1.Condition) output.Cell { return moment.Condition(c, d.Rollout.Generation) })
	d.writeStages(p)
	var rows [][]output.Cell
	for _, failure := range status.Failures {
		rows = append(rows, output.Cells(string(failure.Cluster), failure.Message))
	}
	p.table("Failed clusters", []string{"CLUSTER", "MESSAGE"}, rows)
	p.table("Clusters that wait", view.RolloutBlockedHeaders, view.RolloutBlocked(d.Rollout, p.wide))
	p.events(moment, d.Events)
	if status.Completed == nil && status.Ended == nil && status.Successor == "" {
		p.next([]string{fmt.Sprintf("`umbel rollout status %s%s` shows how far each stage is; `umbel rollout --help` says how to let it go on, or back",
			view.RolloutHandle(d.Rollout), inNamespace(d.Rollout.Namespace))})
	}
}

func (d *rolloutDossier) writeStages(p *page) {
	var rows [][]output.Cell
	for _, stage := range d.Rollout.Status.Stages {
		rows = append(rows, output.Cells(stage.Name, string(stage.Step), fmt.Sprintf("%d/%d", stage.Done, stage.Clusters), view.Names(stage.Waiting, p.wide)))
	}
	p.table("Stages", []string{"STAGE", "STEP", "MOVED", "WAITING"}, rows)
}
