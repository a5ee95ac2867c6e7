package rollout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
	"umbel.dev/umbel/internal/cli/word"
)

type status struct {
	*client.Factory
	watch  bool
	format output.Format
}

func newStatusCmd(f *client.Factory) *cobra.Command {
	o := &status{Factory: f}
	cmd := &cobra.Command{
		Use:   "status PACKAGE",
		Short: "Show how far a release is, and what it waits for",
		Long: "Show how far the newest rollout of a package is: its stages, what it waits for, which clusters failed, and which wait for something else, and why.\n\n" +
			"With --watch it goes on until the rollout is complete, or fails when it stops for somebody to decide.",
		Example:           "  umbel rollout status shop\n\n  # which clusters are where\n  umbel rollout status shop -o wide\n\n  # until it is done\n  umbel rollout status shop --watch",
		Args:              exit.Takes("PACKAGE"),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return o.run(ctx, hub, args[0]) })
		},
	}
	f.AddNamespaceFlag(cmd)
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "go on until it is complete, or stops for somebody to decide")
	output.AddFlag(cmd, &o.format, output.JSON, output.YAML, output.Wide)
	return cmd
}

func (o *status) run(ctx context.Context, hub *client.Hub, arg string) error {
	machine := o.format == output.JSON || o.format == output.YAML
	if o.watch && machine {
		return exit.Usagef("-o %s shows one state: leave --watch out; kubectl watches Rollouts on the hub's API: `kubectl get rollouts.umbel.dev -n %s --watch -o %s`",
			o.format, o.Namespace, o.format)
	}
	r, err := find(ctx, hub, o.Namespace, arg)
	if err != nil {
		return err
	}
	if machine {
		r.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Rollout"))
		r.ManagedFields = nil
		return output.Encode(o.Out, o.format, r)
	}
	if err := o.print(r); err != nil || !o.watch {
		return err
	}
	return o.follow(ctx, hub, arg, r)
}

// follow writes a line with each change.
func (o *status) follow(ctx context.Context, hub *client.Hub, arg string, r *v1alpha1.Rollout) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := line(r)
	for {
		if ends, err := ended(r); ends || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil // whoever watches ends it, which is no failure
		case <-tick.C:
		}
		var err error
		if r, err = find(ctx, hub, o.Namespace, arg); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if now := line(r); now != said {
			said = now
			fmt.Fprintf(o.Out, "%s  %s\n", o.Now().Format("15:04:05"), now)
		}
	}
}

// ended says whether there is nothing more to watch; the error says for whom it waits.
func ended(r *v1alpha1.Rollout) (bool, error) {
	switch {
	case r.Status.Successor != "":
		return false, nil
	case r.Status.Phase == v1alpha1.RolloutCompleted:
		return true, nil
	case r.Status.Phase == v1alpha1.RolloutHalted, r.Status.Phase == v1alpha1.RolloutAborted:
		return true, errors.New(view.RolloutMessage(r))
	}
	return false, nil
}

func line(r *v1alpha1.Rollout) string {
	return fmt.Sprintf("%s %s: %d/%d moved, %d healthy: %s", r.Name, view.RolloutState(r), r.Status.Moved, r.Status.Clusters, r.Status.Available, view.RolloutMessage(r))
}

// print shows a rollout for people.
func (o *status) print(r *v1alpha1.Rollout) error {
	s := &r.Status
	fmt.Fprintf(o.Out, "%-10s %s/%s\n", "Package:", r.Namespace, r.About())
	fmt.Fprintf(o.Out, "Rollout:   %s\n", r.Name)
	fmt.Fprintf(o.Out, "Release:   %s\n", release(r))
	fmt.Fprintf(o.Out, "State:     %s: %s\n", view.RolloutState(r), view.RolloutMessage(r))
	if s.Phase == "" {
		return nil
	}
	fmt.Fprintf(o.Out, "Clusters:  %s\n", view.RolloutCounts(r))
	if s.Began != nil {
		fmt.Fprintf(o.Out, "Began:     %s\n", output.Ago(s.Began.Time, o.Now()))
	}
	fmt.Fprintln(o.Out)
	table := output.Table{Headers: []string{"STAGE", "STEP", "PROGRESS", "MOVED"}, Palette: o.Palette(o.Out)}
	var rows [][]output.Cell
	for i := range s.Stages {
		stage := &s.Stages[i]
		rows = append(rows, output.Cells(stage.Name, step(r, stage), bar(stage), fmt.Sprintf("%d/%d", stage.Done, stage.Clusters)))
	}
	if err := table.Write(o.Out, rows); err != nil {
		return err
	}
	if err := o.failures(s); err != nil {
		return err
	}
	if err := o.blocked(r); err != nil || o.format != output.Wide {
		return err
	}
	return o.clusters(r)
}

func release(r *v1alpha1.Rollout) string {
	text := r.Spec.Release
	switch {
	case r.Spec.Purpose == v1alpha1.RolloutBack:
		text += ", on the way back from " + r.Spec.Newest
	case r.Spec.Previous != "":
		text += ", after " + r.Spec.Previous
	}
	return text
}

// step says where a stage is, and what it waits for.
func step(r *v1alpha1.Rollout, stage *v1alpha1.StageStatus) string {
	text := string(stage.Step)
	c := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionProgressing)
	at := word.Current(r)
	if c == nil || at == nil || at.Name != stage.Name {
		return text
	}
	switch c.Reason {
	case v1alpha1.ReasonBaking, v1alpha1.ReasonAwaitingApproval, v1alpha1.ReasonOutsideWindow, v1alpha1.ReasonAwaitingClusters,
		v1alpha1.ReasonHalted, v1alpha1.ReasonPaused, v1alpha1.ReasonEmptyStage, v1alpha1.ReasonInvalidWindow,
		v1alpha1.ReasonAwaitingGate:
		text += ", " + c.Reason
	}
	return text
}

// bar is a picture of how many clusters of a stage were moved.
func bar(stage *v1alpha1.StageStatus) string {
	const width = 20
	full := width
	if stage.Clusters > 0 {
		full = int(stage.Done) * width / int(stage.Clusters)
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}

func (o *status) failures(s *v1alpha1.RolloutStatus) error {
	if len(s.Failures) == 0 {
		return nil
	}
	fmt.Fprintln(o.Out)
	table := output.Table{Headers: []string{"FAILED", "MESSAGE"}, Palette: o.Palette(o.Out)}
	var rows [][]output.Cell
	for _, failure := range s.Failures {
		rows = append(rows, output.Cells(string(failure.Cluster), failure.Message))
	}
	if err := table.Write(o.Out, rows); err != nil {
		return err
	}
	if more := int(s.Failed) - len(s.Failures); more > 0 {
		fmt.Fprintf(o.Out, "and %d more\n", more)
	}
	return nil
}

// blocked shows which clusters would not take the release now, and why.
func (o *status) blocked(r *v1alpha1.Rollout) error {
	rows := view.RolloutBlocked(r, o.format == output.Wide)
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintln(o.Out)
	table := output.Table{Headers: view.RolloutBlockedHeaders, Palette: o.Palette(o.Out)}
	return table.Write(o.Out, rows)
}

// clusters shows which clusters are where.
func (o *status) clusters(r *v1alpha1.Rollout) error {
	orders, working := r.Orders(), map[v1alpha1.ClusterName]bool{}
	for _, group := range r.Status.Moving {
		for _, name := range group.Clusters {
			working[name] = true
		}
	}
	var rows [][]output.Cell
	for _, stage := range r.Status.Stages {
		for _, name := range stage.Moved {
			state := "moved"
			if working[name] {
				state = "not healthy"
			}
			rows = append(rows, output.Cells(string(name), stage.Name, state, orders.For(name)))
		}
		for _, name := range stage.Waiting {
			state := "waiting"
			if r.Status.BlockedBy(name) != "" {
				state = "blocked"
			}
			rows = append(rows, output.Cells(string(name), stage.Name, state, orders.For(name)))
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if _, err := io.WriteString(o.Out, "\n"); err != nil {
		return err
	}
	table := output.Table{Headers: []string{"CLUSTER", "STAGE", "STATE", "TOLD"}, Palette: o.Palette(o.Out)}
	return table.Write(o.Out, rows)
}
