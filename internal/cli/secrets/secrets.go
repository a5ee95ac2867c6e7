package secrets

import (
	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
)

// NewCmd returns the command `umbel secrets`.
func NewCmd(f *client.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secrets",
		Short: "Encrypt secrets for clusters",
		Long: "Every cluster has a key of its own, which never leaves it. Encrypt secrets for its public half with SOPS, commit them, and\n" +
			"deliver them as anything else: the hub passes them on as they are, and the cluster's agent decrypts them.\n\n" +
			"docs/operate/secrets.md has it step by step.",
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRecipientsCmd(f), newRotateCmd(f))
	return cmd
}
