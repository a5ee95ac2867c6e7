package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/health"
)

var tones = map[health.Level]output.Tone{health.Critical: output.Bad, health.Failing: output.Bad, health.Waiting: output.Doubtful, health.Warning: output.Doubtful}

func (o *Options) write(said *report) error {
	switch o.Format {
	case output.JSON, output.YAML:
		return output.Encode(o.Out, o.Format, said)
	case output.Name:
		return o.names(said.Findings)
	}
	if !o.NoHeaders {
		if _, err := fmt.Fprintln(o.Out, said.summary()); err != nil {
			return err
		}
	}
	if err := o.table(said.Findings); err != nil {
		return err
	}
	for _, what := range said.Unseen {
		o.Note("not looked at: %s", what)
	}
	return nil
}

// summary says how the fleet is, in a line.
func (r *report) summary() string {
	text := fmt.Sprintf("%d of %s ready, %d of %s ready", r.Counts.ClustersReady, v1alpha1.Counted(r.Counts.Clusters, "cluster"),
		r.Counts.PackagesReady, v1alpha1.Counted(r.Counts.Packages, "package"))
	if len(r.Findings) == 0 {
		if len(r.Unseen) > 0 {
			return text + ": nothing is wrong in what you may see"
		}
		return text + ": nothing is wrong"
	}
	count := map[health.Level]int{}
	for i := range r.Findings {
		count[r.Findings[i].Level]++
	}
	var parts []string
	for _, level := range health.Levels {
		if n := count[level]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ToLower(string(level))))
		}
	}
	return text + ": " + strings.Join(parts, ", ")
}

func (o *Options) table(findings []health.Finding) error {
	if len(findings) == 0 {
		return nil
	}
	wide := o.Format == output.Wide
	table := output.Table{Palette: o.Palette(o.Out), Width: output.Width(o.Out), HideHeaders: o.NoHeaders, Headers: []string{"LEVEL", "OBJECT", "SINCE", "MORE", "WHY"}}
	most := alike
	if wide {
		table.Headers = slices.Insert(table.Headers, 3, "REASON")
		most = len(findings)
	}
	groups := health.Gather(findings, most)
	shown := len(groups)
	if !wide {
		shown = min(shown, screen)
	}
	rows := make([][]output.Cell, 0, shown)
	for i := range groups[:shown] {
		rows = append(rows, row(&groups[i], wide, o.Now()))
	}
	if err := table.Write(o.Out, rows); err != nil {
		return err
	}
	if rest := len(groups) - shown; rest > 0 {
		o.Note("%s not shown: `umbel status -o wide` has all", v1alpha1.Counted(rest, "more line"))
	}
	return nil
}

// row is a finding, or many alike.
func row(g *health.Group, wide bool, now time.Time) []output.Cell {
	object, why := g.Object(), g.Message
	if n := len(g.Names); n > 1 {
		object = fmt.Sprintf("%d %ss", n, g.Kind)
		names := make([]string, n)
		for i, name := range g.Names {
			names[i] = strings.TrimPrefix(name, string(g.Kind)+"/")
		}
		why = fmt.Sprintf("%s: %s; the first: %s", g.Reason, v1alpha1.Few(names, alike), g.Message)
	}
	since := ""
	if g.Since != nil {
		since = output.Age(g.Since.Time, now)
	}
	cells := []output.Cell{{Text: string(g.Level), Tone: tones[g.Level]}, output.Text(object), output.Text(since)}
	if wide {
		cells = append(cells, output.Text(g.Reason))
	}
	return append(cells, output.Text(g.Command), output.Text(why))
}

// resources are what kubectl calls the kinds.
var resources = map[health.Kind]string{
	health.Cluster: kinds.Clusters.Qualified(""), health.Package: kinds.Packages.Qualified(""), health.Placement: kinds.Placements.Qualified(""),
	health.Rollout: kinds.Rollouts.Qualified(""), health.Scope: kinds.Scopes.Qualified(""), health.Provider: "provider.umbel.dev/",
	health.Upgrade: "agentupgrade.umbel.dev/", health.Managed: "cluster.cluster.x-k8s.io/",
}

// names writes what is wrong as kubectl takes it, each object once; what is in a namespace after it.
func (o *Options) names(findings []health.Finding) error {
	written := map[string]bool{}
	for i := range findings {
		f := &findings[i]
		name := f.Object()
		if resource, is := resources[f.Kind]; is {
			name = resource + f.Name
		}
		if f.Namespace != "" && f.Kind != health.Alert {
			name += " -n " + f.Namespace
		}
		if written[name] {
			continue
		}
		written[name] = true
		if _, err := fmt.Fprintln(o.Out, name); err != nil {
			return err
		}
	}
	return nil
}
