package provider

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
)

func newRemoveCmd(f *client.Factory) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Have the hub end a provider, once nothing needs it",
		Long: "Have the hub end a provider, once no object of its kinds is left: until then it runs on, as nobody else could end what it made.\n" +
			"Then its webhooks, its kinds and its folder on the hub's machine go. " + v1alpha1.CoreProvider + " goes when it is the last.",
		Example: `  # what does it wait for?
  umbel provider remove dev
  umbel provider list -o wide`,
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkName(args[0]); err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return remove(ctx, f, hub, args[0]) })
		},
	}
}

func remove(ctx context.Context, f *client.Factory, hub *client.Hub, name string) error {
	err := hub.Delete(ctx, &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: name}})
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("there is no provider %q: `umbel provider list` lists them", name)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(f.Out, "provider/%s goes when nothing needs it; `umbel provider list -o wide` says what does\n", name)
	return nil
}
