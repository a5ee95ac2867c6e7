package token

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
)

func newRevokeCmd(f *client.Factory) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "Take a token back: it lets in nobody any more",
		Long: "Take a token back: it lets in nobody any more. Clusters that it let in stay, and those that wait for approval go on\n" +
			"waiting; `umbel revoke CLUSTER` takes the key of one away.",
		Example: `  # somebody saw the token who should not have
  umbel token revoke edge`,
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkName(args[0]); err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return revoke(ctx, f, hub, args[0]) })
		},
	}
}

func revoke(ctx context.Context, f *client.Factory, hub *client.Hub, name string) error {
	err := hub.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenPrefix + name,
	}})
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("there is no token %q: `umbel token list` lists them", name)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(f.Out, "token/%s revoked\n", name)
	return nil
}
