package rollout

import (
	"context"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/word"
)

// wish is a verb that says what is wanted of a rollout.
type wish struct {
	use, short, long string
	decide           decision
}

var pause = wish{
	use: "pause", short: "Move no further cluster", decide: word.Pause,
	long: "Move no further cluster. Those that were moved carry on, and keep the release.",
}

var abort = wish{
	use: "abort", short: "End a rollout where it is", decide: word.Abort,
	long: "End a rollout for good where it is: every cluster keeps what it was told. The next release of the package begins\n" +
		"another one, `umbel rollout resume` the same release from the start, and `umbel rollout back` goes back.",
}

func (w wish) command(f *client.Factory) *cobra.Command {
	return deciding(f, &cobra.Command{
		Use: w.use + " PACKAGE", Short: w.short, Long: w.long, Example: "  umbel rollout " + w.use + " shop",
	}, func() decision {
		return w.decide
	})
}

func newResumeCmd(f *client.Factory) *cobra.Command {
	excuse := false
	cmd := deciding(f, &cobra.Command{
		Use:   "resume PACKAGE",
		Short: "Go on with a rollout that was paused, stopped, aborted or rolled back",
		Long: "Go on with a rollout that was paused, or stopped because clusters failed: those try again.\n\n" +
			"After one that was aborted or rolled back the package's newest release is tried once more, stage by stage.",
		Example: "  # try the clusters again that failed\n  umbel rollout resume shop\n\n" +
			"  # go on without them: they neither count as failed nor hold up others\n  umbel rollout resume shop --excuse",
	}, func() decision {
		return func(r *v1alpha1.Rollout) (string, error) { return word.Resume(r, excuse) }
	})
	cmd.Flags().BoolVar(&excuse, "excuse", false, "go on without the clusters that failed")
	return cmd
}

func newBackCmd(f *client.Factory) *cobra.Command {
	to := ""
	cmd := deciding(f, &cobra.Command{
		Use:   "back PACKAGE",
		Short: "Bring the clusters back to the last good release",
		Long: "End the rollout and bring every cluster that was moved back to the last good release, or to another one that is kept.\n" +
			"That waits for no window, approval or bake time, but for maxUnavailable.",
		Example: "  umbel rollout back shop\n\n  # to a release that `umbel get releases` shows\n  umbel rollout back shop --to shop-1a2b3c4d",
	}, func() decision {
		return func(r *v1alpha1.Rollout) (string, error) { return word.Back(r, to) }
	})
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return isKept(ctx, hub, f.Namespace, args[0], to) }); err != nil {
			return err
		}
		return run(cmd, args)
	}
	cmd.Flags().StringVar(&to, "to", "", "`RELEASE` to go back to (default: the last good one)")
	return cmd
}

// isKept says whether a release of the package is there to go back to. Without a name it is the rollout's to say.
func isKept(ctx context.Context, hub *client.Hub, namespace, pkg, release string) error {
	if release == "" {
		return nil
	}
	var found v1alpha1.Release
	err := hub.Get(ctx, kube.ObjectKey{Namespace: namespace, Name: release}, &found)
	if apierrors.IsNotFound(err) || err == nil && found.Spec.PackageRef.Name != pkg {
		return exit.Usagef("--to: package %s has no release %q: `umbel get releases -n %s` shows those that are kept", pkg, release, namespace)
	}
	return err
}

func newApproveCmd(f *client.Factory) *cobra.Command {
	stage, point := "", ""
	cmd := deciding(f, &cobra.Command{
		Use:   "approve PACKAGE",
		Short: "Approve what a rollout waits for",
		Long:  "Approve that the stage whose turn it is begins, or that the rollout goes on after it. --stage approves ahead of time.",
		Example: "  umbel rollout approve shop\n\n  # the stage prod may begin when its turn comes\n" +
			"  umbel rollout approve shop --stage prod --point Before",
	}, func() decision {
		return func(r *v1alpha1.Rollout) (string, error) { return word.Approve(r, stage, point) }
	})
	cmd.Flags().StringVar(&stage, "stage", "", "`STAGE` to approve (default: the one whose turn it is)")
	cmd.Flags().StringVar(&point, "point", "", "`POINT` of it: Before or After (default: the first that is not approved)")
	return cmd
}

func newPromoteCmd(f *client.Factory) *cobra.Command {
	stage, all := "", false
	cmd := deciding(f, &cobra.Command{
		Use:   "promote PACKAGE",
		Short: "Go past what a stage waits for",
		Long: "Let a stage wait for nothing but its clusters: no approval, window, gate, canary or bake time. No more of them than\n" +
			"maxUnavailable are down for that.",
		Example: "  # the stage whose turn it is\n  umbel rollout promote shop\n\n  # all that are not done\n  umbel rollout promote shop --all",
	}, func() decision {
		return func(r *v1alpha1.Rollout) (string, error) { return word.Promote(r, stage, all) }
	})
	cmd.Flags().StringVar(&stage, "stage", "", "`STAGE` to promote (default: the one whose turn it is)")
	cmd.Flags().BoolVar(&all, "all", false, "every stage that is not done")
	return cmd
}
