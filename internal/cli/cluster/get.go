package cluster

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
)

// getOptions are the arguments of `umbel cluster get`.
type getOptions struct {
	*client.Factory
	format     output.Format
	everywhere bool
}

func newGetCmd(f *client.Factory) *cobra.Command {
	o := &getOptions{Factory: f}
	cmd := &cobra.Command{
		Use:     "get [NAME...]",
		Aliases: []string{"list", "ls"},
		Short:   "List the clusters that the hub makes",
		Long:    "List the clusters that the hub makes. `umbel get clusters` lists all members of the fleet, those that are attached too.",
		Example: `  # the clusters of every namespace
  umbel cluster get -A

  # and what is the matter with them
  umbel cluster get -A -o wide`,
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && o.everywhere {
				return exit.Usagef("a cluster is named within one namespace: give it with -n instead of -A")
			}
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return o.run(ctx, hub, args) })
		},
	}
	f.AddNamespaceFlag(cmd)
	cmd.Flags().BoolVarP(&o.everywhere, "all-namespaces", "A", false, "clusters of every namespace")
	output.AddFlag(cmd, &o.format, output.Wide, output.JSON, output.YAML, output.Name)
	return cmd
}

func (o *getOptions) run(ctx context.Context, hub *client.Hub, names []string) error {
	all, err := o.fetch(ctx, hub, names)
	if err != nil {
		return err
	}
	switch o.format {
	case output.JSON, output.YAML:
		objects := []any{}
		for _, c := range all {
			c.SetManagedFields(nil)
			objects = append(objects, c.Object)
		}
		if len(names) == 1 { // as kubectl has it
			return output.Encode(o.Out, o.format, objects[0])
		}
		return output.Encode(o.Out, o.format, objects)
	case output.Name:
		for _, c := range all {
			if _, err := fmt.Fprintln(o.Out, c.GetName()); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		o.Note("The hub makes no clusters here: `umbel cluster create NAME` has it make one")
		return nil
	}
	return o.table(all)
}

func (o *getOptions) fetch(ctx context.Context, hub kube.Reader, names []string) ([]unstructured.Unstructured, error) {
	if len(names) == 0 && o.everywhere {
		return list(ctx, hub, kind("Cluster"))
	}
	if len(names) == 0 {
		return list(ctx, hub, kind("Cluster"), kube.InNamespace(o.Namespace))
	}
	var all []unstructured.Unstructured
	for _, name := range names {
		c, err := find(ctx, hub, kube.ObjectKey{Namespace: o.Namespace, Name: name})
		if err != nil {
			return nil, err
		}
		all = append(all, *c)
	}
	return all, nil
}

func (o *getOptions) table(all []unstructured.Unstructured) error {
	table := output.Table{Headers: []string{"NAME", "CLASS", "VERSION", "PHASE", "AVAILABLE", "WORKERS", "AGE"}, Palette: o.Palette(o.Out)}
	if o.everywhere {
		table.Headers = append([]string{"NAMESPACE"}, table.Headers...)
	}
	if o.format == output.Wide {
		table.Headers = append(table.Headers, "MESSAGE")
	}
	var rows [][]output.Cell
	for _, c := range all {
		rows = append(rows, o.row(&c))
	}
	return table.Write(o.Out, rows)
}

func (o *getOptions) row(c *unstructured.Unstructured) []output.Cell {
	available, phase := conditionOf(c, "Available"), text(c, "status", "phase")
	if v1alpha1.Hibernated(c.GetAnnotations()) { // Cluster API is paused, and says of it what was so before
		available, phase = condition{status: "False", message: asleep(c)}, "Hibernated"
	}
	row := []output.Cell{
		output.Text(c.GetName()), output.Text(text(c, "spec", "topology", "classRef", "name")), output.Text(text(c, "spec", "topology", "version")),
		output.Text(phase), tone(available.status),
		output.Text(workers(c)), output.Text(output.Age(c.GetCreationTimestamp().Time, o.Now())),
	}
	if o.everywhere {
		row = append([]output.Cell{output.Text(c.GetNamespace())}, row...)
	}
	if o.format == output.Wide {
		row = append(row, output.Text(available.message))
	}
	return row
}

func tone(status string) output.Cell {
	if status == "True" {
		return output.Cell{Text: status, Tone: output.Good}
	}
	return output.Cell{Text: status, Tone: output.Doubtful}
}

func workers(c *unstructured.Unstructured) string {
	return strconv.FormatInt(number(c, "status", "workers", "availableReplicas"), 10) + "/" + strconv.FormatInt(number(c, "status", "workers", "desiredReplicas"), 10)
}
