package cluster

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
)

func newProtectCmd(f *client.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "protect NAME",
		Short: "Keep a cluster from being deleted",
		Long: "Keep a cluster from being deleted: the hub's API refuses that, whoever asks and by whatever tool, until `umbel cluster unprotect`.\n" +
			"Its machines are replaced, and its pools scaled, as before.",
		Example:           "  umbel cluster protect dev",
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return protect(ctx, f, hub, args[0]) })
		},
	}
	f.AddNamespaceFlag(cmd)
	return cmd
}

func newUnprotectCmd(f *client.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "unprotect NAME",
		Short:             "Let a cluster be deleted again",
		Long:              "Let a cluster be deleted that `umbel cluster protect`, or `umbel cluster create --protect`, has kept from it. Nothing is deleted by this.",
		Example:           "  umbel cluster unprotect dev",
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return unprotect(ctx, f, hub, args[0]) })
		},
	}
	f.AddNamespaceFlag(cmd)
	return cmd
}

func protect(ctx context.Context, f *client.Factory, hub *client.Hub, name string) error {
	cluster, err := find(ctx, hub, kube.ObjectKey{Namespace: f.Namespace, Name: name})
	if err != nil {
		return err
	}
	if cluster.GetDeletionTimestamp() != nil {
		return fmt.Errorf("cluster %s is being deleted since %s: that cannot be taken back", name, cluster.GetDeletionTimestamp().UTC().Format("15:04:05 MST"))
	}
	if err := whenServed(ctx, func() error { return hub.Patch(ctx, cluster, annotate(`"true"`)) }); err != nil {
		return fmt.Errorf("protecting cluster %s: %w", name, err)
	}
	fmt.Fprintf(f.Out, "cluster %s is protected: it cannot be deleted\n", name)
	return nil
}

func unprotect(ctx context.Context, f *client.Factory, hub *client.Hub, name string) error {
	cluster, err := find(ctx, hub, kube.ObjectKey{Namespace: f.Namespace, Name: name})
	if err != nil {
		return err
	}
	if err := whenServed(ctx, func() error { return hub.Patch(ctx, cluster, annotate("null")) }); err != nil {
		return fmt.Errorf("taking the protection of cluster %s away: %w", name, err)
	}
	fmt.Fprintf(f.Out, "cluster %s is not protected any more\n", name)
	return nil
}

// annotate writes whether a cluster is protected, as JSON.
func annotate(value string) kube.Patch {
	return mergePatch(fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, v1alpha1.ProtectedAnnotation, value))
}
