package local

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/lifecycle/local"
)

const createExamples = `  # a cluster with a Ready node, in about five seconds (as root)
  umbel local create dev

  # one with three nodes; umbel local scale changes that later
  umbel local create dev --nodes=3

  # a control plane alone, which needs no root
  umbel local create dev --nodes=0`

// SpecOptions are the arguments of `umbel local create` and `umbel local scale`.
type SpecOptions struct {
	*client.Factory
	Spec local.Spec
	// Timeout is how long the whole may take.
	Timeout time.Duration
}

// NewCreateCmd returns the command `umbel local create`; runF replaces what it runs, for tests.
func NewCreateCmd(f *client.Factory, runF func(context.Context, *SpecOptions) error) *cobra.Command {
	if runF == nil {
		runF = runCreate
	}
	o := &SpecOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a cluster, or heal one",
		Long: "Make a cluster on this computer, and return when its API serves and its nodes are Ready.\n\n" +
			"A cluster that is there already is healed: what does not run is started, after a reboot too.",
		Example:           createExamples,
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Spec.Name = args[0]
			if err := o.Spec.Validate(); err != nil {
				return exit.Usage(err)
			}
			return runF(cmd.Context(), o)
		},
	}
	cmd.Flags().IntVar(&o.Spec.Nodes, "nodes", 1, fmt.Sprintf("`NUMBER` of nodes, at most %d, or 0 for a control plane alone", local.MaxNodes))
	o.Timeout = 3 * time.Minute
	span.Var(cmd.Flags(), &o.Timeout, "timeout", "`DURATION` that it may take")
	return cmd
}

func runCreate(ctx context.Context, o *SpecOptions) error { return o.bring(ctx, (*local.Local).Create) }

// bring brings the cluster to what is asked for.
func (o *SpecOptions) bring(ctx context.Context, up func(*local.Local, context.Context, local.Spec, local.Progress) (local.Cluster, error)) error {
	return bring(ctx, o.Factory, o.Spec.Name, o.Timeout,
		func(ctx context.Context, clusters *local.Local, progress local.Progress) (local.Cluster, error) {
			return up(clusters, ctx, o.Spec, progress)
		})
}

// bring brings a cluster up, showing how, and says how to use it.
func bring(ctx context.Context, f *client.Factory, name string, timeout time.Duration,
	up func(context.Context, *local.Local, local.Progress) (local.Cluster, error),
) error {
	clusters, err := Open(f)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var cluster local.Cluster
	err = showing(f, name, func(progress local.Progress) (err error) {
		cluster, err = up(ctx, clusters, progress)
		return err
	})
	if err != nil {
		return err
	}
	f.Note("Its kubeconfig is %s", cluster.Kubeconfig)
	return nil
}
