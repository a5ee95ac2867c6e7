package rollout

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

func newHistoryCmd(f *client.Factory) *cobra.Command {
	var format output.Format
	cmd := &cobra.Command{
		Use:               "history PACKAGE",
		Short:             "Show the last rollouts of a package, and what became of them",
		Long:              "Show the last ten rollouts of a package, the newest first, and what became of them.",
		Example:           "  umbel rollout history shop\n\n  # all that is known of them\n  umbel rollout history shop -o yaml",
		Args:              exit.Takes("PACKAGE"),
		ValidArgsFunction: f.CompleteName(kinds.Packages),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error {
				name, err := kinds.Packages.NameOf(args[0])
				if err != nil {
					return err
				}
				if _, err := newest(ctx, hub, f.Namespace, name); err != nil {
					return err
				}
				all, _, err := rollouts(ctx, hub, f.Namespace, name)
				if err != nil {
					return err
				}
				return history(f, all, format)
			})
		},
	}
	f.AddNamespaceFlag(cmd)
	output.AddFlag(cmd, &format, output.JSON, output.YAML, output.Wide, output.Name)
	return cmd
}

func history(f *client.Factory, all []v1alpha1.Rollout, format output.Format) error {
	switch format {
	case output.JSON, output.YAML:
		list := &v1alpha1.RolloutList{Items: all}
		list.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("RolloutList"))
		for i := range list.Items {
			list.Items[i].GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Rollout"))
			list.Items[i].ManagedFields = nil
		}
		return output.Encode(f.Out, format, list)
	case output.Name:
		for i := len(all) - 1; i >= 0; i-- {
			fmt.Fprintf(f.Out, "rollout/%s\n", all[i].Name)
		}
		return nil
	}
	headers := []string{"ROLLOUT", "RELEASE", "PURPOSE", "OUTCOME", "MOVED", "FAILED", "BEGAN", "TOOK"}
	if format == output.Wide {
		headers = append(headers, "PREVIOUS", "MESSAGE")
	}
	var rows [][]output.Cell
	for i := len(all) - 1; i >= 0; i-- {
		r := &all[i]
		began, took := "", ""
		if r.Status.Began != nil {
			began = output.Ago(r.Status.Began.Time, f.Now())
			if done := r.Status.Completed; done != nil {
				took = done.Sub(r.Status.Began.Time).String()
			}
		}
		row := output.Cells(r.Name, r.Spec.Release, string(r.Spec.Purpose), view.RolloutOutcome(r), fmt.Sprintf("%d/%d", r.Status.Moved, r.Status.Clusters),
			fmt.Sprint(r.Status.Failed), began, took)
		if format == output.Wide {
			row = append(row, output.Cells(r.Spec.Previous, view.RolloutMessage(r))...)
		}
		rows = append(rows, row)
	}
	table := output.Table{Headers: headers, Palette: f.Palette(f.Out)}
	return table.Write(f.Out, rows)
}
