package local

import (
	"log/slog"

	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/lifecycle/local/machine"
)

// newInitCmd returns the hidden command that is the first process of a machine.
func newInitCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:    "machine-init",
		Short:  "The first process of a machine; `umbel local create` starts it",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(*cobra.Command, []string) error { return machine.Init(dir) },
	}
	addDirFlag(cmd, &dir)
	return cmd
}

// newRunCmd returns the hidden command that keeps the processes of a machine running.
func newRunCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:    "machine-run",
		Short:  "Keeps the processes of a machine running; machine-init starts it",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			return machine.Run(cmd.Context(), dir, log)
		},
	}
	addDirFlag(cmd, &dir)
	return cmd
}

func addDirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", "", "folder of the cluster")
	_ = cmd.MarkFlagRequired("dir") // fails for a flag that does not exist only
}
