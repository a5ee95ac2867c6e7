package hub

import (
	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/delivery/render"
)

// newWorkerCmd returns the hidden command that renders sources for a hub, within limits.
func newWorkerCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "render-worker",
		Short:  "Renders what it is told on its standard input; a hub starts it",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return render.Work(cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}
