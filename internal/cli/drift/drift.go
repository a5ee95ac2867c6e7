package drift

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/cli/view"
)

const examples = `  # what drifted of the packages of this namespace, on all clusters
  umbel drift

  # of one package in production, with how often it happened
  umbel drift shop --clusters env=prod -o wide

  # of every namespace, for a program
  umbel drift -A -o json

  # all that happened in a week, from what the clusters' agents wrote down; what releases deleted as well
  umbel drift shop --since 7d`

// Options are the arguments of `umbel drift`.
type Options struct {
	*client.Factory
	// Package restricts what is shown to one.
	Package string
	// Clusters says by their labels which clusters are shown.
	Clusters string
	// Everywhere means packages of all namespaces.
	Everywhere bool
	// NoHeaders leaves the header of the table out.
	NoHeaders bool
	// Since is a duration before now, or a time of RFC 3339: the agents are asked what happened since. Empty asks nobody.
	Since string
	// Format is how it is written.
	Format output.Format

	selector labels.Selector
	since    time.Time // zero when no agent is asked
}

// NewCmd returns the command `umbel drift`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:   "drift [PACKAGE]",
		Short: "Show what others changed of what clusters are to hold, and what was done about it",
		Long: "Show which objects somebody else changed or deleted on the clusters, who it was, which fields, when, and what was done: put back,\n" +
			"only reported, or put back again and again. It is the latest ten of each package and cluster, as the hub knows them.\n\n" +
			"With --since the agents are asked, through the hub, for all that they wrote down: drift, and what releases deleted (Pruned), each object\n" +
			"with its name, also from before an agent was started. A history has 8 MiB in each cluster, and the oldest goes. It takes the right to\n" +
			"get the MemberCluster. Of a cluster that is not connected it is what the hub knows.\n\n" +
			"Who it was is the person, and the field manager that the cluster's API server noted, such as kubectl-edit. The person is known where the\n" +
			"agent reads the audit log of the cluster's API server (umbel join --audit-log), and of what came through the hub, when you may read its\n" +
			"audit log (verb get on memberclusters.umbel.dev/audit).",
		Example:           examples,
		Args:              exit.Args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: f.CompleteName(kinds.Packages),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	f.AddNamespaceFlag(cmd)
	output.AddFlag(cmd, &o.Format, output.Wide, output.JSON, output.YAML, output.Name)
	cmd.Flags().StringVar(&o.Clusters, "clusters", "", "only clusters that have the `LABELS`, such as env=prod,region!=us")
	cmd.Flags().BoolVarP(&o.Everywhere, "all-namespaces", "A", false, "packages of every namespace")
	cmd.Flags().BoolVar(&o.NoHeaders, "no-headers", false, "leave the header of the table out")
	cmd.Flags().StringVar(&o.Since, "since", "", "ask the clusters, and how far back: `DURATION` or time, such as 1h, 7d or 2026-11-22T12:00:00Z")
	// It fails for a flag that does not exist only.
	_ = cmd.RegisterFlagCompletionFunc("clusters", f.CompleteLabels(kinds.Clusters))
	return cmd
}

func (o *Options) complete(args []string) (err error) {
	if len(args) > 0 {
		if o.Package, err = kinds.Packages.NameOf(args[0]); err != nil {
			return err
		}
	}
	if o.Package != "" && o.Everywhere {
		return exit.Usagef("a package is named within one namespace: give it with -n instead of -A")
	}
	if o.since, err = span.Moment(o.Since, o.Now()); err != nil {
		return exit.Usagef("--since: %w", err)
	}
	if o.selector, err = labels.Parse(o.Clusters); err != nil {
		return exit.Usagef("the selector %q cannot be read: %w", o.Clusters, err)
	}
	return nil
}

// shown is what happened to one object, as programs read it.
type shown struct {
	Cluster v1alpha1.ClusterName `json:"cluster"`
	v1alpha1.HistoryEntry
}

// left is how many objects of a package are left on a cluster as others made them.
type left struct {
	cluster v1alpha1.ClusterName
	pkg     v1alpha1.PackageKey
	objects int32
}

func (o *Options) run(ctx context.Context, hub *client.Hub) error {
	if o.Package != "" { // one that does not exist is not one that did not drift
		if err := hub.Get(ctx, kube.ObjectKey{Namespace: o.Namespace, Name: o.Package}, &v1alpha1.Package{}); err != nil {
			return err
		}
	}
	var clusters v1alpha1.MemberClusterList
	if err := hub.ListClusters(ctx, &clusters, o.selector); err != nil {
		return err
	}
	moment := view.Moment{Now: o.Now(), Pulse: hub.Pulse(ctx)}
	if warning := moment.Pulse.Warning(moment.Now); warning != "" {
		o.Note("%s", warning)
	}
	all, leaving, away := o.gather(moment, clusters.Items)
	unasked := 0
	if !o.since.IsZero() {
		var err error
		if all, unasked, err = o.remembered(ctx, hub, moment, clusters.Items, all); err != nil {
			return err
		}
		away = nil // they were named
	}
	latestFirst(all)
	if len(all) > 0 && o.Format != output.Name {
		if err := o.whose(ctx, hub, all); err != nil && o.Format != output.Human {
			o.Note("by field managers alone, since the hub's audit log was not to be had: %v", err)
		}
	}
	if err := o.write(all, unasked); err != nil {
		return err
	}
	if o.Format != output.Human && o.Format != output.Wide {
		return nil
	}
	for _, l := range leaving {
		o.Note("%s: %s of package %s %s only reported", l.cluster, v1alpha1.Counted(l.objects, "object"), l.pkg, v1alpha1.Agreeing(l.objects, "is left as it is, since its drift is", "are left as they are, since their drift is"))
	}
	if len(away) > 0 {
		o.Note("not connected, so what is shown may be old: %s", strings.Join(away, ", "))
	}
	return nil
}

// gather returns what drifted, as the hub knows it; what is left; and which of the clusters are not connected.
func (o *Options) gather(moment view.Moment, clusters []v1alpha1.MemberCluster) (all []shown, leaving []left, away []string) {
	for i := range clusters {
		cluster := &clusters[i]
		concerned := false
		for _, held := range cluster.Status.Packages {
			if !o.wants(held.Package) {
				continue
			}
			concerned = true
			for _, drift := range held.Drifts {
				if !drift.Time.Time.Before(o.since) {
					all = append(all, shown{v1alpha1.ClusterName(cluster.Name), v1alpha1.HistoryEntry{Package: held.Package, Drift: drift}})
				}
			}
			if held.Drifting > 0 {
				leaving = append(leaving, left{v1alpha1.ClusterName(cluster.Name), held.Package, held.Drifting})
			}
		}
		if concerned && !moment.IsConnected(cluster) {
			away = append(away, cluster.Name)
		}
	}
	return all, leaving, away
}

func latestFirst(all []shown) {
	slices.SortStableFunc(all, func(a, b shown) int {
		return cmp.Or(b.Time.Compare(a.Time.Time), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(b.ID, a.ID), cmp.Compare(a.Package, b.Package), cmp.Compare(a.Object, b.Object))
	})
}

func (o *Options) wants(pkg v1alpha1.PackageKey) bool {
	namespace, name := pkg.Split()
	return o.Everywhere || namespace == o.Namespace && (o.Package == "" || o.Package == name)
}

// write writes what happened, as far as it is known: so many clusters could not be asked.
func (o *Options) write(all []shown, unasked int) error {
	switch o.Format {
	case output.JSON, output.YAML:
		if all == nil {
			all = []shown{}
		}
		return output.Encode(o.Out, o.Format, all)
	case output.Name:
		told := map[v1alpha1.ClusterName]bool{}
		for _, each := range all {
			if told[each.Cluster] {
				continue
			}
			told[each.Cluster] = true
			if _, err := fmt.Fprintln(o.Out, kinds.Clusters.Qualified(string(each.Cluster))); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		switch {
		case o.since.IsZero():
			o.Note("Nothing drifted, as far as the agents know since they started.")
		case unasked > 0:
			o.Note("Nothing is known to have happened since %s; %s could not be asked", o.Since, v1alpha1.Counted(unasked, "cluster"))
		default:
			o.Note("Nothing happened since %s; --since looks further back", o.Since)
		}
		return nil
	}
	return o.table(all)
}

func (o *Options) table(all []shown) error {
	table := output.Table{
		Headers: []string{"CLUSTER", "PACKAGE", "OBJECT", "WHAT", "BY", "ACTION", "AGE"}, Palette: o.Palette(o.Out), HideHeaders: o.NoHeaders,
	}
	if o.Format == output.Wide {
		table.Headers = append(table.Headers, "TIMES", "AT")
		if !o.since.IsZero() {
			table.Headers = append(table.Headers, "DELETION")
		}
	}
	var rows [][]output.Cell
	for _, each := range all {
		_, name := each.Package.Split()
		if o.Everywhere {
			name = string(each.Package)
		}
		row := []output.Cell{
			output.Text(string(each.Cluster)), output.Text(name), output.Text(each.Object), output.Text(what(each.Drift)),
			output.Text(by(each)), action(each.Action), output.Text(output.Age(each.Time.Time, o.Now())),
		}
		if o.Format == output.Wide {
			row = append(row, output.Text(fmt.Sprint(max(1, each.Count))), output.Text(at(each.Time)))
			if !o.since.IsZero() {
				row = append(row, output.Text(each.Deletion))
			}
		}
		rows = append(rows, row)
	}
	return table.Write(o.Out, rows)
}

// what says in a few words what happened to an object.
func what(d v1alpha1.Drift) string {
	switch {
	case d.Deleted:
		return "deleted"
	case len(d.Fields) > 0:
		return strings.Join(d.Fields, ",")
	}
	return "changed"
}

func action(a v1alpha1.DriftAction) output.Cell {
	if a == v1alpha1.DriftRepaired || a == v1alpha1.HistoryPruned {
		return output.Text(string(a))
	}
	return output.Cell{Text: string(a), Tone: output.Doubtful}
}

func at(t metav1.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
