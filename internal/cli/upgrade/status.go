package upgrade

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
)

func newStatusCmd(f *client.Factory) *cobra.Command {
	var format output.Format
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how far the upgrade of the agents is",
		Long:  "Show how far the upgrade of the agents is: which clusters failed, and why, and which change, wait, or are left out.",
		Example: `  # how far it is
  umbel upgrade status

  # the AgentUpgrade, for a program
  umbel upgrade status -o json`,
		Args:              exit.Takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error {
				upgrade, err := current(ctx, hub)
				if err != nil {
					return err
				}
				return printAs(f, upgrade, format)
			})
		},
	}
	output.AddFlag(cmd, &format, output.JSON, output.YAML)
	return cmd
}

// printAs prints an upgrade for people, or whole for a program.
func printAs(f *client.Factory, upgrade *v1alpha1.AgentUpgrade, format output.Format) error {
	if format == output.Human {
		return printStatus(f, upgrade)
	}
	upgrade.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("AgentUpgrade"))
	upgrade.ManagedFields = nil
	return output.Encode(f.Out, format, upgrade)
}

// printStatus prints an upgrade, and the clusters that are not done.
func printStatus(f *client.Factory, upgrade *v1alpha1.AgentUpgrade) error {
	s := upgrade.Status
	state := "Pending: the hub has not looked at it yet"
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionUpgraded, v1alpha1.ConditionAdvancing} {
		if c := meta.FindStatusCondition(s.Conditions, kind); c != nil {
			state = c.Reason + ": " + c.Message
			break
		}
	}
	fmt.Fprintf(f.Out, "Build:     %s\n", upgrade.Spec.Build)
	fmt.Fprintf(f.Out, "State:     %s\n", state)
	fmt.Fprintf(f.Out, "Clusters:  %d of %d done, %d changing, %d waiting, %d offline, %d failed, %d left out; wave %d\n",
		s.Done, s.Selected, s.Changing, s.Waiting, s.Offline, s.Failed, s.LeftOut, s.Wave)
	if len(s.Clusters) == 0 {
		return nil
	}
	fmt.Fprintln(f.Out)
	table := output.Table{Headers: []string{"CLUSTER", "STEP", "MESSAGE"}, Palette: f.Palette(f.Out)}
	var rows [][]output.Cell
	for _, c := range s.Clusters {
		step := output.Text(string(c.Step))
		if c.Step == v1alpha1.StepFailed {
			step.Tone = output.Bad
		}
		rows = append(rows, []output.Cell{output.Text(string(c.Name)), step, output.Text(c.Message)})
	}
	return table.Write(f.Out, rows)
}
