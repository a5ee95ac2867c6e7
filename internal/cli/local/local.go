// Package local is `umbel local`: real clusters on this computer. What they are and how they come to be is decided in
// package lifecycle/local; here are its words on the command line.
package local

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/lifecycle/local"
)

// NewCmd returns the command `umbel local`.
func NewCmd(f *client.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "local",
		Short: "Make and delete real clusters on this computer",
		Long: "Make and delete real Kubernetes clusters on this computer.\n\n" +
			"Each has its own control plane and, as root, nodes: machines with containerd and kubelet in namespaces of their own.",
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return f.Here(cmd) },
	}
	cmd.AddCommand(
		NewCreateCmd(f, nil), NewListCmd(f, nil), NewStartCmd(f, nil), NewStopCmd(f, nil), NewScaleCmd(f, nil), NewDeleteCmd(f, nil),
		newInitCmd(), newRunCmd(),
	)
	return cmd
}

// Open returns the clusters of the data folder.
func Open(f *client.Factory) (*local.Local, error) {
	programs, err := client.Programs()
	if err != nil {
		return nil, err
	}
	registries, err := hubRegistries(f.Home)
	if err != nil {
		return nil, err
	}
	return local.New(local.Needs{
		Home:       f.Home,
		Binaries:   local.BinariesIn(programs),
		Registries: registries,
	})
}

// hubRegistries returns the registry of the hub in the data folder, if there is one.
func hubRegistries(home string) ([]local.Registry, error) {
	state, err := hub.ReadState(home)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if state.Address == "" || state.CAFile == "" {
		return nil, nil
	}
	return []local.Registry{{Host: state.Address, CAFile: state.CAFile}}, nil
}

// showing runs f with a Progress that people see on the error stream. The name of the cluster stands before each step.
func showing(f *client.Factory, name string, run func(local.Progress) error) error {
	view := progress.On(f.Streams, f.Now)
	defer view.Close()
	return run(func(step string) func(error) {
		shown := view.Start(name + ": " + step)
		return func(err error) { _ = shown.End(err) } // returned by what failed, too
	})
}

// completeNames completes the names of local clusters.
func completeNames(f *client.Factory) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		clusters, err := Open(f)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		list, err := clusters.List(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for _, cluster := range list {
			if !slices.Contains(args, cluster.Name) {
				names = append(names, cluster.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
