// Package consent answers: how do people decide which clusters take part in the fleet? It holds the verbs `umbel approve`,
// `umbel deny`, `umbel suspend`, `umbel resume` and `umbel revoke`.
//
// Each is one change of MemberCluster.spec (admission, revokedKeys), on what was read just before; the hub does the rest.
// A verb that finds what it wants already says so and is no error.
package consent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/word"
)

// decision is one verb.
type decision struct {
	use, short, long, examples string
	// done is what the verb says when it changed something, already what the member is when there is nothing to change.
	done, already string
	// change makes the change. It returns word.ErrAlreadySo when there is none to make, and otherwise an error that says why the
	// verb does not fit the member.
	change func(*v1alpha1.MemberCluster) error
}

// NewCmds returns the verbs. approved is what else can be approved beside clusters.
func NewCmds(f *client.Factory, approved ...*cobra.Command) []*cobra.Command {
	var cmds []*cobra.Command
	for _, d := range []decision{approve, deny, suspend, resume, revoke} {
		cmds = append(cmds, d.command(f))
	}
	cmds[0].AddCommand(approved...)
	return cmds
}

func (d decision) command(f *client.Factory) *cobra.Command {
	return &cobra.Command{
		Use:               d.use + " NAME",
		Short:             d.short,
		Long:              d.long,
		Example:           d.examples,
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: f.CompleteName(kinds.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := kinds.Clusters.NameOf(args[0])
			if err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error {
				return d.run(ctx, f, hub, v1alpha1.ClusterName(name))
			})
		},
	}
}

func (d decision) run(ctx context.Context, f *client.Factory, hub kube.Client, name v1alpha1.ClusterName) error {
	member := &v1alpha1.MemberCluster{}
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := hub.Get(ctx, kube.ObjectKey{Name: string(name)}, member); err != nil {
			return err
		}
		before := member.DeepCopy()
		if err := d.change(member); err != nil {
			return err
		}
		return hub.Patch(ctx, member, kube.MergeFromWithOptions(before, kube.MergeFromWithOptimisticLock{}))
	})
	if errors.Is(err, word.ErrAlreadySo) {
		fmt.Fprintf(f.Out, "cluster/%s is %s already\n", name, d.already)
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(f.Out, "cluster/%s %s%s\n", name, d.done, keyOf(member))
	return nil
}

// keyOf shows which key a decision was about.
func keyOf(member *v1alpha1.MemberCluster) string {
	if member.Status.Identity == nil {
		return ""
	}
	return fmt.Sprintf(" (key sha256:%.12s…)", member.Status.Identity.KeyFingerprint)
}

var approve = decision{
	use: "approve", short: "Let a cluster in that registered itself", done: "approved", already: "admitted",
	long: "Let a cluster in that registered itself with a token that asks for approval, or that was denied. (Deletes of a package\n" +
		"that wait for a word are `umbel approve deletes`; a cluster of that name is `umbel approve cluster/deletes`.)\n\n" +
		"`umbel describe cluster NAME` shows the fingerprint of its key: compare it with what the agent's log says there.",
	examples: `  # which clusters wait for approval
  umbel get clusters -o wide

  # let one in; its agent comes within half a minute
  umbel approve edge-1

  # deletes of a package that wait for a word
  umbel approve deletes shop`,
	change: word.Admit,
}

var deny = decision{
	use: "deny", short: "Refuse a cluster that waits for approval", done: "denied", already: "denied",
	long: "Refuse a cluster that registered itself and waits for approval. It is remembered, with its key, until `umbel leave NAME`;\n" +
		"also then its token does not bring that key back.",
	examples: `  # refuse a cluster that nobody knows
  umbel deny edge-13

  # and forget it
  umbel leave edge-13`,
	change: word.Deny,
}

var suspend = decision{
	use: "suspend", short: "Keep a member out for a while", done: "suspended", already: "suspended",
	long: "Keep a member out for a while: its session is ended and it gets nothing new. What it holds stays, and its agent goes on\n" +
		"repairing it. Placements go on selecting it; `umbel resume` lets it in again, and it catches up.",
	examples: `  # while somebody works on the cluster
  umbel suspend prod-eu

  # and back again
  umbel resume prod-eu`,
	change: word.Suspend,
}

var resume = decision{
	use: "resume", short: "Let a suspended member in again", done: "resumed", already: "admitted",
	long: "Let a suspended member in again. Its agent comes within half a minute and catches up.",
	examples: `  # end a suspension
  umbel resume prod-eu`,
	change: word.Readmit,
}

var revoke = decision{
	use: "revoke", short: "Take a member's key away, at once and for good", done: "key revoked", already: "without its key",
	long: "Take a member's key away, at once and for good: its session is ended, and certificates of that key are refused from now on.\n\n" +
		"What it holds stays and is repaired there. Only a new token lets the cluster in again, with a new key: `umbel join NAME`.",
	examples: `  # the key of a member was stolen
  umbel revoke prod-eu

  # let the cluster in again: its agent makes a new key
  umbel join prod-eu --kubeconfig ~/.kube/prod-eu.yaml`,
	change: func(member *v1alpha1.MemberCluster) error {
		id := member.Status.Identity
		switch {
		case id == nil && len(member.Spec.RevokedKeys) > 0:
			return word.ErrAlreadySo
		case id == nil:
			return fmt.Errorf("cluster %q has no key yet: `umbel leave %s` forgets it", member.Name, member.Name)
		case slices.Contains(member.Spec.RevokedKeys, id.KeyFingerprint):
			return word.ErrAlreadySo
		case len(member.Spec.RevokedKeys) >= v1alpha1.MaxRevokedKeys:
			return fmt.Errorf("cluster %q has %d revoked keys, which is as many as are kept: `umbel leave %s --force`, then join it again",
				member.Name, v1alpha1.MaxRevokedKeys, member.Name)
		}
		member.Spec.RevokedKeys = append(member.Spec.RevokedKeys, id.KeyFingerprint)
		return nil
	},
}
