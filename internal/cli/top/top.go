package top

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/measured"
	"umbel.dev/umbel/internal/cli/output"
)

// Options are the arguments of `umbel top`.
type Options struct {
	*client.Factory
	// What is clusters, nodes or pods.
	What string
	// Clusters says by their labels which clusters are shown.
	Clusters string
	// Everywhere means pods of all namespaces.
	Everywhere bool
	// SortBy is cpu, memory or nothing.
	SortBy string
	// NoHeaders leaves the header of the table out.
	NoHeaders bool
	// Format is how it is written.
	Format output.Format

	selector labels.Selector
}

const long = "as their agents measured it in the last five minutes.\n\n" +
	"A cluster measures when its spec.metrics.profile says so. That takes the verb get on memberclusters.umbel.dev/metrics of the hub: on all, or\n" +
	"on those that are shown, by their names."

// NewCmd returns the command `umbel top`.
func NewCmd(f *client.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show how busy clusters, nodes and pods are",
		Long:  "Show how busy clusters, nodes and pods are, " + long,
		Example: "  # all clusters; the nodes of those in production, the busiest first\n" +
			"  umbel top clusters\n  umbel top nodes --clusters env=prod --sort-by cpu",
	}
	cmd.AddCommand(
		newCmd(f, "clusters", "Show how busy clusters are", "  # all of them, those with the most memory in use first\n  umbel top clusters --sort-by memory\n\n"+
			"  # for a program\n  umbel top clusters --clusters env=prod -o json"),
		newCmd(f, "nodes", "Show how busy the nodes of all clusters are", "  # the busiest nodes of the fleet\n  umbel top nodes --sort-by cpu"),
		newCmd(f, "pods", "Show how busy the pods of all clusters are", "  # of one namespace on every cluster\n  umbel top pods -n shop\n\n"+
			"  # of all namespaces in production, those with the most memory first\n  umbel top pods -A --clusters env=prod --sort-by memory"),
	)
	return cmd
}

func newCmd(f *client.Factory, what, short, example string) *cobra.Command {
	o := &Options{Factory: f, What: what}
	cmd := &cobra.Command{
		Use: what, Aliases: []string{strings.TrimSuffix(what, "s")}, Short: short, Long: short + ", " + long, Example: example,
		Args: exit.Takes(), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.selector, err = labels.Parse(o.Clusters); err != nil {
				return exit.Usagef("the selector %q cannot be read: %w", o.Clusters, err)
			}
			if o.SortBy != "" && o.SortBy != "cpu" && o.SortBy != "memory" {
				return exit.Usagef("--sort-by %q: it is cpu or memory", o.SortBy)
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	if what == "pods" {
		f.AddNamespaceFlag(cmd)
		cmd.Flags().BoolVarP(&o.Everywhere, "all-namespaces", "A", false, "pods of every namespace")
	}
	cmd.Flags().StringVar(&o.Clusters, "clusters", "", "only clusters that have the `LABELS`, such as env=prod,region!=us")
	cmd.Flags().StringVar(&o.SortBy, "sort-by", "", "cpu or memory: the `USAGE` that is sorted by, the most first (default: by name)")
	cmd.Flags().BoolVar(&o.NoHeaders, "no-headers", false, "leave the header of the table out")
	output.AddFlag(cmd, &o.Format, output.JSON, output.YAML)
	// They fail for flags that do not exist only.
	_ = cmd.RegisterFlagCompletionFunc("clusters", f.CompleteLabels(kinds.Clusters))
	_ = cmd.RegisterFlagCompletionFunc("sort-by", cobra.FixedCompletions([]string{"cpu", "memory"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *Options) run(ctx context.Context, hub *client.Hub) error {
	clusters, err := measured.Clusters(ctx, o.Factory, hub, o.Clusters, o.selector)
	if err != nil || len(clusters) == 0 {
		return err
	}
	asker, err := measured.New(ctx, o.Factory, hub)
	if err != nil {
		return err
	}
	return o.show(ctx, asker, clusters)
}

// show asks for what these clusters measured, and writes it.
func (o *Options) show(ctx context.Context, asker *measured.Asker, clusters []v1alpha1.MemberCluster) error {
	names := measured.Names(clusters)
	of, meaning, asked := things[o.What], o.meaning(names), []string(nil)
	for _, q := range of.questions {
		asked = append(asked, fmt.Sprintf(q.promql, meaning))
	}
	answers, err := asker.All(ctx, asked, names)
	if err != nil {
		return err
	}
	all := gather(of, answers, clusters)
	arrange(all, o.SortBy)
	return o.write(all, clusters)
}

// meaning is what selectors of series say of clusters and namespaces.
func (o *Options) meaning(names []v1alpha1.ClusterName) string {
	if o.Clusters == "" {
		names = nil // all that may be seen
	}
	if o.What != "pods" || o.Everywhere {
		return matcher(names, "")
	}
	return matcher(names, o.Namespace)
}

func (o *Options) write(all []usage, clusters []v1alpha1.MemberCluster) error {
	if o.Format != output.Human {
		return output.Encode(o.Out, o.Format, all)
	}
	if len(all) > 0 {
		table := output.Table{Palette: o.Palette(o.Out), HideHeaders: o.NoHeaders}
		rows := make([][]output.Cell, len(all))
		for i, u := range all {
			table.Headers, rows[i] = o.row(u)
		}
		if err := table.Write(o.Out, rows); err != nil {
			return err
		}
	}
	var off []string
	for i := range clusters {
		if profile := clusters[i].Spec.Measures(); profile == v1alpha1.MetricsOff || o.What == "pods" && profile == v1alpha1.MetricsMinimal {
			off = append(off, clusters[i].Name)
		}
	}
	if len(off) > 0 {
		o.Note("not measured, as spec.metrics.profile of the MemberCluster says: %s", strings.Join(off, ", "))
	}
	if len(all) == 0 && len(off) < len(clusters) {
		o.Note("Nothing was measured in the last five minutes.")
	}
	return nil
}

// row is a line of the table, and what stands above it.
func (o *Options) row(u usage) (headers []string, row []output.Cell) {
	type column struct{ header, text string }
	columns := []column{{"CLUSTER", string(u.Cluster)}}
	switch {
	case o.What == "nodes":
		columns = append(columns, column{"NODE", u.Name}, column{"READY", readiness(u.Ready)})
	case o.What == "pods" && o.Everywhere:
		columns = append(columns, column{"NAMESPACE", u.Namespace}, column{"POD", u.Name})
	case o.What == "pods":
		columns = append(columns, column{"POD", u.Name})
	}
	columns = append(columns, column{"CPU(cores)", cores(u.CPU)})
	if o.What != "pods" {
		columns = append(columns, column{"CPU(%)", share(u.CPU, u.CPUOf)})
	}
	columns = append(columns, column{"MEMORY(bytes)", mebibytes(u.Memory)})
	if o.What != "pods" {
		columns = append(columns, column{"MEMORY(%)", share(u.Memory, u.MemoryOf)})
	}
	if o.What == "clusters" {
		columns = append(columns, column{"NODES", count(u.Nodes)}, column{"PODS", count(u.Pods)}, column{"METRICS", string(u.Profile)})
	}
	for _, c := range columns {
		headers, row = append(headers, c.header), append(row, output.Text(c.text))
	}
	return headers, row
}
