// Package leave is `umbel leave`: it takes a cluster out of the fleet. It deletes the MemberCluster; the hub then asks the
// agent to go, and the agent removes itself.
package leave

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/route"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/gateway/members"
)

const examples = `  # take a cluster out of the fleet; what was delivered to it stays and is not looked after any more
  umbel leave dev

  # and delete what was delivered to it
  umbel leave dev --prune

  # forget a cluster that does not exist any more
  umbel leave dev --force`

// Options are the arguments of `umbel leave`.
type Options struct {
	*client.Factory
	Name v1alpha1.ClusterName
	// Prune deletes what was delivered before the agent goes.
	Prune bool
	// Force forgets the cluster without its agent's word.
	Force bool
	// Timeout is how long the agent has.
	Timeout time.Duration
}

// NewCmd returns the command `umbel leave`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:   "leave NAME",
		Short: "Take a cluster out of the fleet",
		Long: "Take a cluster out of the fleet: its agent removes itself, and its key is worth nothing any more.\n\n" +
			"What was delivered to the cluster stays there, unless --prune is given.",
		Example:           examples,
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: f.CompleteName(kinds.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := kinds.Clusters.NameOf(args[0])
			if err != nil {
				return err
			}
			o.Name = v1alpha1.ClusterName(name)
			if o.Prune && o.Force {
				return exit.Usagef("--force does not wait for the agent, which is who would prune: give one of the two")
			}
			hub, err := f.Connect()
			if err != nil {
				return err
			}
			return hub.Explain(Run(cmd.Context(), o, hub))
		},
	}
	cmd.Flags().BoolVar(&o.Prune, "prune", false, "delete what was delivered to the cluster")
	cmd.Flags().BoolVar(&o.Force, "force", false, "forget the cluster without waiting for its agent")
	o.Timeout = 2 * time.Minute
	span.Var(cmd.Flags(), &o.Timeout, "timeout", "`DURATION` to wait for the agent")
	return cmd
}

// Run takes the cluster out of the fleet and waits until it is.
func Run(ctx context.Context, o *Options, hub *client.Hub) error {
	member := &v1alpha1.MemberCluster{}
	if err := hub.Get(ctx, kube.ObjectKey{Name: string(o.Name)}, member); err != nil {
		return err
	}
	connected := route.AgentIsThere(member)
	waits := member.Spec.Admission == v1alpha1.AdmissionPending || member.Spec.Admission == v1alpha1.AdmissionDenied
	if member.Spec.Admission == v1alpha1.AdmissionSuspended && !o.Force {
		return fmt.Errorf("cluster %q is suspended, so its agent cannot be told to go: "+
			"`umbel resume %s` lets it in, or forget it with --force (its agent then stays until somebody removes it)", o.Name, o.Name)
	}
	if member.Spec.Observed() && o.Prune {
		return fmt.Errorf("cluster %q is observed, so that nothing is deleted there: leave it without --prune, or `umbel level %s attached` first", o.Name, o.Name)
	}
	if member.Status.Identity != nil && !waits && !connected && !o.Force {
		return fmt.Errorf("cluster %q is not connected, so its agent cannot be told to go: "+
			"wait until it is back, or forget it with --force (its agent then stays until somebody removes it)", o.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	watching, err := hub.Watch(ctx, &v1alpha1.MemberClusterList{}, kube.MatchingFields{"metadata.name": string(o.Name)})
	if err != nil {
		return err
	}
	defer watching.Stop()
	if err := o.instruct(ctx, hub, member); err != nil {
		return err
	}
	// One that is leaving already may be gone by now.
	if err := kube.IgnoreNotFound(hub.Delete(ctx, member)); err != nil {
		return err
	}
	return o.await(ctx, watching)
}

// instruct writes into the MemberCluster how it is to leave.
func (o *Options) instruct(ctx context.Context, hub kube.Client, member *v1alpha1.MemberCluster) error {
	patch := kube.MergeFrom(member.DeepCopy())
	switch {
	case o.Prune:
		member.Spec.DeletionPolicy = v1alpha1.DeletionPrune
	case o.Force:
		metav1.SetMetaDataAnnotation(&member.ObjectMeta, members.ForceDetachAnnotation, "true")
	default:
		return nil
	}
	return hub.Patch(ctx, member, patch)
}

func (o *Options) await(ctx context.Context, watching watch.Interface) error {
	last := ""
	for {
		select {
		case event, open := <-watching.ResultChan():
			if !open && ctx.Err() == nil {
				return errors.New("the hub ended the watch: is it still running? `umbel leave` may be run again")
			}
			if event.Type == watch.Deleted {
				fmt.Fprintf(o.Out, "cluster %s left the fleet\n", o.Name)
				return nil
			}
			if mc, ok := event.Object.(*v1alpha1.MemberCluster); ok {
				if ready := meta.FindStatusCondition(mc.Status.Conditions, v1alpha1.ConditionReady); ready != nil && ready.Status != metav1.ConditionTrue {
					last = ready.Message
				}
			}
		case <-ctx.Done():
			return fmt.Errorf("cluster %q has not left within %s: %s; it goes on leaving, `umbel describe cluster %s` shows how far it is",
				o.Name, o.Timeout, last, o.Name)
		}
	}
}
