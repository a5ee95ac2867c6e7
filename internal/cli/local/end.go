package local

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/lifecycle/local"
)

// NamesOptions are the arguments of the verbs that take clusters by their names.
type NamesOptions struct {
	*client.Factory
	Names []string
}

// NewDeleteCmd returns the command `umbel local delete`; runF replaces what it runs, for tests.
func NewDeleteCmd(f *client.Factory, runF func(context.Context, *NamesOptions) error) *cobra.Command {
	if runF == nil {
		runF = func(ctx context.Context, o *NamesOptions) error {
			return o.each("delete", func(clusters *local.Local, name string) error { return clusters.DeleteOwn(ctx, name) })
		}
	}
	cmd := newNamesCmd(f, runF)
	cmd.Use = "delete NAME..."
	cmd.Short = "Delete clusters, and all that is in them"
	cmd.Long = "Delete clusters at once, and everything that belongs to them: processes, data, network, cgroups.\n\n" +
		"A cluster that is a member of a fleet stays listed there: take it out first, with `umbel leave NAME`."
	cmd.Example = "  umbel local delete dev"
	return cmd
}

// NewStopCmd returns the command `umbel local stop`; runF replaces what it runs, for tests.
func NewStopCmd(f *client.Factory, runF func(context.Context, *NamesOptions) error) *cobra.Command {
	if runF == nil {
		runF = func(ctx context.Context, o *NamesOptions) error {
			return o.each("stop", func(clusters *local.Local, name string) error { return clusters.Stop(ctx, name) })
		}
	}
	cmd := newNamesCmd(f, runF)
	cmd.Use = "stop NAME..."
	cmd.Short = "Stop clusters, and keep their data"
	cmd.Example = "  umbel local stop dev\n  umbel local start dev"
	return cmd
}

// NewStartCmd returns the command `umbel local start`; runF replaces what it runs, for tests.
func NewStartCmd(f *client.Factory, runF func(context.Context, *NamesOptions) error) *cobra.Command {
	timeout := 3 * time.Minute
	if runF == nil {
		runF = func(ctx context.Context, o *NamesOptions) error {
			for _, name := range o.Names {
				err := bring(ctx, o.Factory, name, timeout,
					func(ctx context.Context, clusters *local.Local, progress local.Progress) (local.Cluster, error) {
						return clusters.Start(ctx, name, progress)
					})
				if err != nil {
					return err
				}
			}
			return nil
		}
	}
	cmd := newNamesCmd(f, runF)
	cmd.Use = "start NAME..."
	cmd.Short = "Start clusters that were stopped, or that a reboot ended"
	cmd.Example = "  umbel local start dev"
	span.Var(cmd.Flags(), &timeout, "timeout", "`DURATION` that each may take")
	return cmd
}

func newNamesCmd(f *client.Factory, runF func(context.Context, *NamesOptions) error) *cobra.Command {
	o := &NamesOptions{Factory: f}
	return &cobra.Command{
		Args:              exit.TakesSome("NAME"),
		ValidArgsFunction: completeNames(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Names = args
			return runF(cmd.Context(), o)
		},
	}
}

// each does verb to every cluster that is named; one that cannot be done does not keep the others from it.
func (o *NamesOptions) each(verb string, do func(*local.Local, string) error) error {
	clusters, err := Open(o.Factory)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range o.Names {
		failed = append(failed, showing(o.Factory, name, func(progress local.Progress) error {
			done := progress(verb)
			err := do(clusters, name)
			done(err)
			return err
		}))
	}
	return errors.Join(failed...)
}
