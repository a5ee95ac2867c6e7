package upgrade

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
)

// decision is a verb that says whether the upgrade goes on.
type decision struct {
	use, short, long, done string
	change                 func(*v1alpha1.AgentUpgrade) error
}

// errAlreadySo says that there is nothing to change.
var errAlreadySo = errors.New("already so")

var pause = decision{
	use: "pause", short: "Tell no further cluster to upgrade its agent", done: "paused",
	long:   "Tell no further cluster to upgrade its agent. Those that were told carry on.",
	change: intend(v1alpha1.UpgradePause),
}

var abort = decision{
	use: "abort", short: "End the upgrade where it is", done: "aborted",
	long: "End the upgrade where it is: no further cluster is told, and what was told to clusters that have not done it is taken\n" +
		"back. Those that run the new agent keep it; `umbel upgrade agents --version` brings them back.",
	change: intend(v1alpha1.UpgradeAbort),
}

var resume = decision{
	use: "resume", short: "Go on with an upgrade that was paused, aborted, or stopped by a failure", done: "resumed",
	long: "Go on with an upgrade that was paused, aborted, or stopped by a failure. Clusters that failed try again.",
	change: func(u *v1alpha1.AgentUpgrade) error {
		err := intend(v1alpha1.UpgradeRun)(u)
		if u.Status.Failed > 0 {
			u.Spec.Attempt++
			return nil
		}
		return err
	},
}

func intend(intent v1alpha1.UpgradeIntent) func(*v1alpha1.AgentUpgrade) error {
	return func(u *v1alpha1.AgentUpgrade) error {
		if u.Spec.Intent == intent {
			return errAlreadySo
		}
		u.Spec.Intent = intent
		return nil
	}
}

func (d decision) command(f *client.Factory) *cobra.Command {
	return &cobra.Command{
		Use: d.use, Short: d.short, Long: d.long, Example: "  umbel upgrade " + d.use,
		Args: exit.Takes(), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return d.run(ctx, f, hub) })
		},
	}
}

func (d decision) run(ctx context.Context, f *client.Factory, hub kube.Client) error {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		upgrade, err := current(ctx, hub)
		if err != nil {
			return err
		}
		before := upgrade.DeepCopy()
		if err := d.change(upgrade); err != nil {
			return err
		}
		return hub.Patch(ctx, upgrade, kube.MergeFromWithOptions(before, kube.MergeFromWithOptimisticLock{}))
	})
	if errors.Is(err, errAlreadySo) {
		fmt.Fprintf(f.Out, "agentupgrade/%s: nothing to change\n", v1alpha1.AgentUpgradeName)
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(f.Out, "agentupgrade/%s %s\n", v1alpha1.AgentUpgradeName, d.done)
	return nil
}
