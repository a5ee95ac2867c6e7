package local

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/lifecycle/local"
)

const scaleExamples = `  # three nodes, whether there are fewer or more now
  umbel local scale dev --nodes=3

  # wait longer for pods whose PodDisruptionBudget holds them
  umbel local scale dev --nodes=1 --timeout=10m`

// NewScaleCmd returns the command `umbel local scale`; runF replaces what it runs, for tests.
func NewScaleCmd(f *client.Factory, runF func(context.Context, *SpecOptions) error) *cobra.Command {
	if runF == nil {
		runF = runScale
	}
	o := &SpecOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "scale NAME --nodes=NUMBER",
		Short: "Give a cluster more nodes, or fewer",
		Long: "Give a cluster more nodes, or fewer, and return when it has them and they are Ready.\n\n" +
			"The nodes that came last go first, after their pods were evicted as their PodDisruptionBudgets allow. When that cannot be done in time, " +
			"all nodes stay. The first node, which has the control plane beside it, never goes.",
		Example:           scaleExamples,
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: completeNames(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Spec.Name = args[0]
			if err := o.Spec.Validate(); err != nil {
				return exit.Usage(err)
			}
			return runF(cmd.Context(), o)
		},
	}
	cmd.Flags().IntVar(&o.Spec.Nodes, "nodes", 1, fmt.Sprintf("`NUMBER` of nodes, at most %d", local.MaxNodes))
	_ = cmd.MarkFlagRequired("nodes") // fails for a flag that does not exist only
	o.Timeout = 3 * time.Minute
	span.Var(cmd.Flags(), &o.Timeout, "timeout", "`DURATION` that it may take")
	return cmd
}

func runScale(ctx context.Context, o *SpecOptions) error { return o.bring(ctx, (*local.Local).Scale) }
