// Package upgrade is `umbel upgrade`: it says which program the agents of the fleet are to run, shows how far they are, and
// pauses, resumes and aborts that.
//
// It writes the one AgentUpgrade of the fleet; the hub does the rest. What --dry-run shows comes from the very function by
// which the hub decides (internal/upgrade.Next).
package upgrade

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
)

// NewCmd returns the command `umbel upgrade`.
func NewCmd(f *client.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Upgrade the agents of the fleet, in waves",
		Long: "Upgrade the agents of the fleet, in waves: canaries first, then so many at once, each wave well for a while before the\n" +
			"next. An agent tries the new program beside itself before it gives way, and comes back when the new one does not get\n" +
			"into session. The first cluster that fails stops the rest.",
		Example: "  # all agents get the program that this hub brings\n  umbel upgrade agents\n\n  # how far that is\n  umbel upgrade status",
	}
	cmd.AddCommand(newAgentsCmd(f), newStatusCmd(f))
	for _, d := range []decision{pause, resume, abort} {
		cmd.AddCommand(d.command(f))
	}
	return cmd
}

// errNone: there is no upgrade.
var errNone = errors.New("no upgrade of agents has been asked for: `umbel upgrade agents` does")

// current returns the upgrade of the fleet; errNone when there is none.
func current(ctx context.Context, hub kube.Reader) (*v1alpha1.AgentUpgrade, error) {
	upgrade := &v1alpha1.AgentUpgrade{}
	err := hub.Get(ctx, kube.ObjectKey{Name: v1alpha1.AgentUpgradeName}, upgrade)
	if apierrors.IsNotFound(err) {
		return nil, errNone
	}
	if err != nil {
		return nil, fmt.Errorf("reading agentupgrade %s: %w", v1alpha1.AgentUpgradeName, err)
	}
	return upgrade, nil
}
