// Package level is `umbel level`: it says how far the hub goes on a cluster. It is one change of MemberCluster.spec.level; the hub and
// the cluster's agent do the rest.
package level

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/word"
)

const long = `Say how far the hub goes on a cluster.

  observed   It is looked at: it can be read through the hub, measured, and selected by nothing anew. Nothing is written there but what
             the agent itself needs. What packages put there before stays as it is: it is neither changed, nor repaired, nor deleted.
  attached   Packages are delivered there and repaired, and people may change things through the hub. What has changed for the
             cluster while it was observed is done now: releases, and removals, within their budgets.

Clusters that the hub makes are managed; they can be observed, too. The rights that the agent has on the cluster are those of the level
with which ` + "`umbel join`" + ` installed it: one that was installed to observe can write nothing there before it is joined again, with
--level attached, by somebody who may give it that.`

const examples = `  # nothing is to be changed on prod-eu for now
  umbel level prod-eu observed

  # and again, with what has changed meanwhile
  umbel level prod-eu attached`

// NewCmd returns the command ` + "`umbel level`" + `.
func NewCmd(f *client.Factory) *cobra.Command {
	return &cobra.Command{
		Use:     "level NAME observed|attached",
		Short:   "Say how far the hub goes on a cluster",
		Long:    long,
		Example: examples,
		Args:    exit.Takes("NAME", "LEVEL"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []string{"observed", "attached"}, cobra.ShellCompDirectiveNoFileComp
			}
			return f.CompleteName(kinds.Clusters)(cmd, args, toComplete)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := kinds.Clusters.NameOf(args[0])
			if err != nil {
				return err
			}
			level, err := word.ParseLevel(args[1])
			if err != nil {
				return exit.Usagef("%w", err)
			}
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return run(ctx, f, hub, name, level) })
		},
	}
}

func run(ctx context.Context, f *client.Factory, hub kube.Client, name string, level v1alpha1.Level) error {
	said := strings.ToLower(string(level))
	member := &v1alpha1.MemberCluster{}
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := hub.Get(ctx, kube.ObjectKey{Name: name}, member); err != nil {
			return err
		}
		before := member.DeepCopy()
		if err := word.SetLevel(member, level); err != nil {
			return err
		}
		return hub.Patch(ctx, member, kube.MergeFromWithOptions(before, kube.MergeFromWithOptimisticLock{}))
	})
	if errors.Is(err, word.ErrAlreadySo) {
		fmt.Fprintf(f.Out, "cluster/%s is %s already\n", name, said)
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(f.Out, "cluster/%s is %s\n", name, said)
	if level == v1alpha1.LevelAttached {
		f.Note("where the agent was installed to observe, `umbel join %s --kubeconfig FILE` gives it the rights to write", name)
	}
	return nil
}
