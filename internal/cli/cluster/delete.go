package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/cli/span"
)

// deleteOptions are the arguments of `umbel cluster delete`.
type deleteOptions struct {
	*client.Factory
	name    string
	yes     bool
	timeout time.Duration
}

func newDeleteCmd(f *client.Factory) *cobra.Command {
	o := &deleteOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "End a cluster that the hub made, and all that is in it",
		Long: "End a cluster that the hub made: its machines, its control plane, all data in it, and its place in the fleet. It returns when nothing is\n" +
			"left, and says meanwhile what it waits for. A cluster that is attached only is not touched: `umbel leave` takes it out of the fleet.",
		Example:           "  umbel cluster delete dev",
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	f.AddNamespaceFlag(cmd)
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	o.timeout = 5 * time.Minute
	span.Var(cmd.Flags(), &o.timeout, "timeout", "`DURATION` to wait for its end")
	return cmd
}

func (o *deleteOptions) run(ctx context.Context, hub *client.Hub) error {
	cluster, err := find(ctx, hub, kube.ObjectKey{Namespace: o.Namespace, Name: o.name})
	if err != nil {
		return err
	}
	if err := o.consent(ctx, hub, cluster); err != nil {
		return err
	}
	if err := kube.IgnoreNotFound(hub.Delete(ctx, cluster, kube.Preconditions{UID: new(cluster.GetUID())})); err != nil {
		return fmt.Errorf("deleting cluster %s: %w", o.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	view := progress.On(o.Streams, o.Now)
	defer view.Close()
	err = view.Run(o.name+": ended", func(step *progress.Step) error {
		return until(ctx, func(ctx context.Context) (bool, string, error) {
			now := &unstructured.Unstructured{}
			now.SetGroupVersionKind(kind("Cluster"))
			err := hub.Get(ctx, kube.ObjectKeyFromObject(cluster), now)
			if apierrors.IsNotFound(err) || err == nil && now.GetUID() != cluster.GetUID() {
				return true, "", nil
			}
			if err != nil {
				return false, "", err
			}
			said := blocked(now)
			step.Note("%s", said)
			return false, said, nil
		})
	})
	if err != nil {
		return fmt.Errorf("cluster %s has not ended: %w; it goes on ending, and `umbel cluster describe %s -n %s` shows what is left", o.name, err, o.name, o.Namespace)
	}
	return nil
}

// blocked says what the end of a cluster waits for.
func blocked(cluster *unstructured.Unstructured) string {
	if c := conditionOf(cluster, "Deleting"); c.status == "True" && c.message != "" {
		return c.message
	}
	return "it waits for " + strings.Join(cluster.GetFinalizers(), ", ")
}
