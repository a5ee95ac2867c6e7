package scope

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
	"umbel.dev/umbel/internal/cli/span"
)

const deleteExamples = `  # take back what a scope gave
  umbel scope delete shop

  # a cluster is away: do not wait for it, it gives up the bindings when it is back
  umbel scope delete shop --force`

// deleteOptions are the arguments of `umbel scope delete`.
type deleteOptions struct {
	*client.Factory
	name    string
	force   bool
	timeout time.Duration
}

func newDeleteCmd(f *client.Factory) *cobra.Command {
	o := &deleteOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Take back what a scope gave, on every cluster",
		Long: "Take back what a scope gave. The hub lets nobody through any more for its sake, at once; then the command waits until the clusters\n" +
			"have given up the bindings.\n\n" +
			"With --force the scope goes before clusters that are away. Nothing is forgotten: they give up the bindings when they are back.",
		Example:           deleteExamples,
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: f.CompleteName(kinds.Scopes),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if o.name, err = kinds.Scopes.NameOf(args[0]); err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	cmd.Flags().BoolVar(&o.force, "force", false, "do not wait for clusters that are away")
	o.timeout = 2 * time.Minute
	span.Var(cmd.Flags(), &o.timeout, "timeout", "`DURATION` to wait for the clusters")
	return cmd
}

func (o *deleteOptions) run(ctx context.Context, hub *client.Hub) error {
	scope := &v1alpha1.Scope{}
	if err := hub.Get(ctx, kube.ObjectKey{Name: o.name}, scope); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	watching, err := hub.Watch(ctx, &v1alpha1.ScopeList{}, kube.MatchingFields{"metadata.name": o.name})
	if err != nil {
		return err
	}
	defer watching.Stop()
	if o.force {
		patch := kube.MergeFrom(scope.DeepCopy())
		metav1.SetMetaDataAnnotation(&scope.ObjectMeta, v1alpha1.ForceDeleteAnnotation, "true")
		if err := hub.Patch(ctx, scope, patch); err != nil {
			return err
		}
	}
	// One that is being deleted already may be gone by now.
	if err := kube.IgnoreNotFound(hub.Delete(ctx, scope)); err != nil {
		return err
	}
	return o.await(ctx, watching)
}

func (o *deleteOptions) await(ctx context.Context, watching watch.Interface) error {
	last := "the hub has not said for whom it waits: is it running?"
	for {
		select {
		case event, open := <-watching.ResultChan():
			if !open && ctx.Err() == nil {
				return errors.New("the hub ended the watch: is it still running? `umbel scope delete` may be run again")
			}
			if event.Type == watch.Deleted {
				fmt.Fprintf(o.Out, "scope/%s deleted\n", o.name)
				return nil
			}
			if scope, ok := event.Object.(*v1alpha1.Scope); ok {
				delivered := meta.FindStatusCondition(scope.Status.Conditions, v1alpha1.ConditionDelivered)
				if delivered != nil && delivered.Reason == v1alpha1.ReasonDeleting {
					last = delivered.Message
				}
			}
		case <-ctx.Done():
			return fmt.Errorf("scope %q is not taken back everywhere after %s: %s; it goes on, `umbel describe scope %s` shows how far it is, and --force does not wait for clusters that are away",
				o.name, o.timeout, last, o.name)
		}
	}
}
