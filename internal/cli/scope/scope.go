// Package scope answers: how does a team get its clusters from the command line? It holds `umbel scope create` and `umbel scope
// delete`; `umbel get scopes` and `umbel describe scope` show what became of it.
//
// A Scope is an object of the hub as any other: create writes one, or prints it for a repository, and delete waits for the
// clusters to give up its bindings. Both leave everything else to the hub.
package scope

import (
	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/cli/client"
)

// NewCmd returns the command `umbel scope`.
func NewCmd(f *client.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scope",
		Short: "Give people a role on clusters, and take it back",
		Long: "Give people a role in namespaces of the clusters that a selector names, and let them through the hub to those clusters.\n\n" +
			"`umbel get scopes` lists them, `umbel describe scope NAME` tells how far each cluster is.",
	}
	cmd.AddCommand(newCreateCmd(f), newDeleteCmd(f))
	return cmd
}
