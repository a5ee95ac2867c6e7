package local

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/lifecycle/local"
)

const listExamples = `  # the clusters of this computer
  umbel local list

  # with the link of each, to cut one off: ip link set LINK down
  umbel local list -o wide`

// ListOptions are the arguments of `umbel local list`.
type ListOptions struct {
	*client.Factory
	Format output.Format
}

// NewListCmd returns the command `umbel local list`; runF replaces what it runs, for tests.
func NewListCmd(f *client.Factory, runF func(context.Context, *ListOptions) error) *cobra.Command {
	if runF == nil {
		runF = runList
	}
	o := &ListOptions{Factory: f}
	cmd := &cobra.Command{
		Use:               "list",
		Aliases:           []string{"ls"},
		Short:             "List the clusters of this computer",
		Example:           listExamples,
		Args:              exit.Takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runF(cmd.Context(), o) },
	}
	output.AddFlag(cmd, &o.Format, output.Wide, output.JSON, output.YAML, output.Name)
	return cmd
}

func runList(ctx context.Context, o *ListOptions) error {
	clusters, err := Open(o.Factory)
	if err != nil {
		return err
	}
	list, err := clusters.List(ctx)
	if err != nil {
		return err
	}
	return o.print(list)
}

func (o *ListOptions) print(list []local.Cluster) error {
	if o.Format == output.JSON || o.Format == output.YAML {
		if list == nil {
			list = []local.Cluster{} // a list without clusters, and not null
		}
		return output.Encode(o.Out, o.Format, list)
	}
	if len(list) == 0 {
		o.Note("No local clusters in %s: `umbel local create NAME` makes one", o.Home)
		return nil
	}
	if o.Format == output.Name {
		for _, cluster := range list {
			fmt.Fprintln(o.Out, cluster.Name)
		}
		return nil
	}
	table := output.Table{
		Headers: []string{"NAME", "STATE", "NODES", "SERVER", "KUBECONFIG"},
		Palette: o.Palette(o.Out),
	}
	if o.Format == output.Wide {
		table.Headers = append(table.Headers, "LINK", "NAMESPACE", "PODS", "SERVICES", "PID")
	}
	rows := make([][]output.Cell, 0, len(list))
	for _, cluster := range list {
		rows = append(rows, o.row(cluster))
	}
	return table.Write(o.Out, rows)
}

func (o *ListOptions) row(cluster local.Cluster) []output.Cell {
	state := output.Cell{Text: string(cluster.State), Tone: output.Faint}
	if cluster.State == local.Running {
		state.Tone = output.Good
	}
	row := []output.Cell{
		output.Text(cluster.Name), state, output.Text(strconv.Itoa(cluster.Nodes)),
		output.Text(cluster.Server), output.Text(cluster.Kubeconfig),
	}
	if o.Format != output.Wide {
		return row
	}
	pid := ""
	if cluster.PID != 0 {
		pid = strconv.Itoa(cluster.PID)
	}
	return append(row, output.Cells(cluster.Link, cluster.Namespace, cluster.PodCIDR, cluster.ServiceCIDR, pid)...)
}
