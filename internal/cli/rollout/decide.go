package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
)

// wish is a verb that says what is wanted of a rollout.
type wish struct {
	use, short, long, done string
	intent                 v1alpha1.RolloutIntent
}

var pause = wish{
	use: "pause", short: "Move no further cluster", done: "paused", intent: v1alpha1.IntentPause,
	long: "Move no further cluster. Those that were moved carry on, and keep the release.",
}

var abort = wish{
	use: "abort", short: "End a rollout where it is", done: "aborted", intent: v1alpha1.IntentAbort,
	long: "End a rollout for good where it is: every cluster keeps what it was told. The next release of the package begins\n" +
		"another one, `umbel rollout resume` the same release from the start, and `umbel rollout back` goes back.",
}

func (w wish) command(f *client.Factory) *cobra.Command {
	return deciding(f, &cobra.Command{
		Use: w.use + " PACKAGE", Short: w.short, Long: w.long, Example: "  umbel rollout " + w.use + " shop",
	}, func() decision {
		return func(r *v1alpha1.Rollout) (string, error) {
			if r.Spec.Intent == w.intent {
				return "", errAlreadySo
			}
			r.Spec.Intent = w.intent
			return w.done, nil
		}
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
		return func(r *v1alpha1.Rollout) (string, error) { return resume(r, excuse) }
	})
	cmd.Flags().BoolVar(&excuse, "excuse", false, "go on without the clusters that failed")
	return cmd
}

func resume(r *v1alpha1.Rollout, excuse bool) (string, error) {
	if r.Spec.Kubernetes != nil && r.Status.Phase == v1alpha1.RolloutAborted {
		return "", fmt.Errorf("%s was aborted, and is over: `umbel cluster upgrade --clusters` begins another", r.Name)
	}
	before := r.Spec.DeepCopy()
	if excuse {
		for _, failure := range r.Status.Failures {
			if !slices.Contains(r.Spec.Excused, failure.Cluster) {
				r.Spec.Excused = append(r.Spec.Excused, failure.Cluster)
			}
		}
	}
	stopped := r.Status.Phase == v1alpha1.RolloutHalted || r.Status.Phase == v1alpha1.RolloutAborted
	returned := r.Spec.Purpose == v1alpha1.RolloutBack && r.Status.Completed != nil
	if stopped || returned || r.Spec.Intent == v1alpha1.IntentBack {
		r.Spec.Attempt++
	}
	r.Spec.Intent = v1alpha1.IntentRun
	if before.Intent == r.Spec.Intent && before.Attempt == r.Spec.Attempt && len(before.Excused) == len(r.Spec.Excused) {
		return "", errAlreadySo
	}
	return "resumed", nil
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
		return func(r *v1alpha1.Rollout) (string, error) {
			if r.Spec.Kubernetes != nil {
				return "", fmt.Errorf("%s brings clusters to Kubernetes %s, which does not go back: `umbel rollout pause rollout/%s` or abort has no further cluster moved", r.Name, r.Spec.Release, r.Name)
			}
			if r.Spec.Intent == v1alpha1.IntentBack && r.Spec.BackTo == to {
				return "", errAlreadySo
			}
			aim := to
			if aim == "" {
				aim = r.Spec.Previous
			}
			if aim == "" || aim == r.Spec.Release {
				return "", fmt.Errorf("%s brings the clusters to %s, and no earlier release is known to be good: name one with --to", r.Name, r.Spec.Release)
			}
			r.Spec.Intent, r.Spec.BackTo = v1alpha1.IntentBack, to
			return "goes back to " + aim, nil
		}
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
		return func(r *v1alpha1.Rollout) (string, error) { return approve(r, stage, point) }
	})
	cmd.Flags().StringVar(&stage, "stage", "", "`STAGE` to approve (default: the one whose turn it is)")
	cmd.Flags().StringVar(&point, "point", "", "`POINT` of it: Before or After (default: the first that is not approved)")
	return cmd
}

func approve(r *v1alpha1.Rollout, stage, point string) (string, error) {
	if r.Spec.Purpose == v1alpha1.RolloutBack {
		return "", fmt.Errorf("%s brings the clusters back to %s, and waits for no approval: the next release begins a rollout that does", r.Name, r.Spec.Release)
	}
	itsTurn := stage == ""
	if itsTurn {
		at := current(r)
		if at == nil && len(r.Status.Stages) == 0 {
			return "", fmt.Errorf("%s has just been made, and is at no stage yet: try again in a moment, or name one with --stage", r.Name)
		}
		if at == nil {
			return "", fmt.Errorf("%s waits for no approval: every stage is done", r.Name)
		}
		stage = at.Name
	}
	if !slices.Contains(stages(r), stage) {
		return "", exit.Usagef("--stage: %s has no stage %q: its stages are %s", r.Name, stage, strings.Join(stages(r), ", "))
	}
	for _, wanted := range []v1alpha1.ApprovalPoint{v1alpha1.ApproveBefore, v1alpha1.ApproveAfter} {
		agreed := v1alpha1.RolloutApproval{Stage: stage, Point: wanted}
		asked := slices.Contains(r.Spec.Strategy.Stage(stage).Approvals, wanted) && (point == "" || point == string(wanted))
		if !asked || slices.Contains(r.Spec.Approvals, agreed) {
			continue
		}
		r.Spec.Approvals = append(r.Spec.Approvals, agreed)
		return fmt.Sprintf("approved: %s stage %s", strings.ToLower(string(wanted)), stage), nil
	}
	if point != "" && point != string(v1alpha1.ApproveBefore) && point != string(v1alpha1.ApproveAfter) {
		return "", exit.Usagef("--point is Before or After, not %q", point)
	}
	if ahead := awaited(r); itsTurn && ahead.Stage != "" {
		return "", fmt.Errorf("stage %s of %s waits for no approval; `--stage %s --point %s` approves ahead of time", stage, r.Name, ahead.Stage, ahead.Point)
	}
	return "", errAlreadySo
}

// awaited is the first approval that the rollout will wait for, and has not got; empty when there is none.
func awaited(r *v1alpha1.Rollout) v1alpha1.RolloutApproval {
	for _, stage := range r.Status.Stages {
		for _, point := range r.Spec.Strategy.Stage(stage.Name).Approvals {
			agreed := v1alpha1.RolloutApproval{Stage: stage.Name, Point: point}
			if stage.Step != v1alpha1.StageDone && !slices.Contains(r.Spec.Approvals, agreed) {
				return agreed
			}
		}
	}
	return v1alpha1.RolloutApproval{}
}

// stages are the names of the rollout's stages: those that it has set for itself, or will, when it has just been made.
func stages(r *v1alpha1.Rollout) []string {
	var names []string
	for _, stage := range r.Status.Stages {
		names = append(names, stage.Name)
	}
	if len(names) == 0 {
		for _, stage := range r.Spec.Strategy.Stages {
			names = append(names, stage.Name)
		}
	}
	return names
}

func newPromoteCmd(f *client.Factory) *cobra.Command {
	stage, all := "", false
	cmd := deciding(f, &cobra.Command{
		Use:   "promote PACKAGE",
		Short: "Go past what a stage waits for",
		Long: "Let a stage wait for nothing but its clusters: no approval, window, canary or bake time. No more of them than\n" +
			"maxUnavailable are down for that.",
		Example: "  # the stage whose turn it is\n  umbel rollout promote shop\n\n  # all that are not done\n  umbel rollout promote shop --all",
	}, func() decision {
		return func(r *v1alpha1.Rollout) (string, error) { return promote(r, stage, all) }
	})
	cmd.Flags().StringVar(&stage, "stage", "", "`STAGE` to promote (default: the one whose turn it is)")
	cmd.Flags().BoolVar(&all, "all", false, "every stage that is not done")
	return cmd
}

func promote(r *v1alpha1.Rollout, stage string, all bool) (string, error) {
	if stage != "" && all {
		return "", exit.Usagef("--stage names one, and --all means every stage: give one of them")
	}
	var names []string
	for _, s := range r.Status.Stages {
		if s.Name == stage || stage == "" && s.Step != v1alpha1.StageDone && (all || len(names) == 0) {
			names = append(names, s.Name)
		}
	}
	if len(r.Status.Stages) == 0 && slices.Contains(stages(r), stage) {
		names = []string{stage}
	}
	if len(names) == 0 && stage != "" {
		return "", exit.Usagef("--stage: %s has no stage %q", r.Name, stage)
	}
	before := len(r.Spec.Promoted)
	for _, name := range names {
		if !slices.Contains(r.Spec.Promoted, name) {
			r.Spec.Promoted = append(r.Spec.Promoted, name)
		}
	}
	if len(r.Spec.Promoted) == before {
		return "", errAlreadySo
	}
	return "promoted: " + strings.Join(names, ", "), nil
}
