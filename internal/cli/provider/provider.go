// Package provider answers: which providers of Cluster API does the hub run? It holds `umbel provider add`, `umbel provider
// list` and `umbel provider remove`.
//
// A Provider is an object of the hub's API, with a folder on the hub's machine in which its program and its project's manifests
// lie (internal/lifecycle/capi, which runs it). add writes both, list and remove need the object alone.
package provider

import (
	"cmp"
	"context"
	"slices"

	"github.com/spf13/cobra"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
)

// NewCmd returns the command `umbel provider`.
func NewCmd(f *client.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "provider",
		Short: "Providers of Cluster API that the hub runs",
		Long: "Providers of Cluster API that the hub runs, each as a process of its own.\n\n" +
			"The first one has the hub run Cluster API itself as well, which is listed as " + v1alpha1.CoreProvider + ". Without any the hub runs nothing of it.",
	}
	cmd.AddCommand(newAddCmd(f), newListCmd(f), newRemoveCmd(f), newServeCmd(f))
	return cmd
}

// list returns the Providers of the hub, by name.
func list(ctx context.Context, hub *client.Hub) ([]v1alpha1.Provider, error) {
	var all v1alpha1.ProviderList
	if err := hub.List(ctx, &all); err != nil {
		return nil, err
	}
	slices.SortFunc(all.Items, func(a, b v1alpha1.Provider) int { return cmp.Compare(a.Name, b.Name) })
	return all.Items, nil
}

// complete completes the name of a Provider.
func complete(f *client.Factory) cobra.CompletionFunc {
	return client.CompleteListed(f, list, func(p v1alpha1.Provider) string { return p.Name })
}

// checkName says what is wrong with the name of a Provider.
func checkName(name string) error {
	if len(name) > v1alpha1.MaxProviderName || !v1alpha1.ValidClusterName(v1alpha1.ClusterName(name)) {
		return exit.Usagef("%q is no name of a provider: lower case letters, digits and '-', at most %d characters", name, v1alpha1.MaxProviderName)
	}
	return nil
}
