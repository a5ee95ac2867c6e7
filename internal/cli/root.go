// Package cli is the umbel command: a folder per noun or verb, wired together here.
package cli

import (
	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/describe"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/get"
	"umbel.dev/umbel/internal/cli/hub"
	"umbel.dev/umbel/internal/cli/join"
	"umbel.dev/umbel/internal/cli/kubectl"
	"umbel.dev/umbel/internal/cli/label"
	"umbel.dev/umbel/internal/cli/leave"
	"umbel.dev/umbel/internal/cli/local"
	"umbel.dev/umbel/internal/cli/refresh"
	"umbel.dev/umbel/internal/cli/up"
	"umbel.dev/umbel/internal/version"
)

// The groups of `umbel --help`.
const (
	fleetGroup   = "fleet"
	memberGroup  = "members"
	machineGroup = "machine"
)

// NewRoot returns the umbel command.
func NewRoot(f *client.Factory) *cobra.Command {
	root := &cobra.Command{
		Use:   "umbel",
		Short: "A control plane of Kubernetes control planes",
		Long: "A control plane of Kubernetes control planes: say once what every cluster should hold, and it does.\n\n" +
			"`umbel up` starts a whole fleet on this computer.",
		Version:       version.Version,
		SilenceUsage:  true,
		SilenceErrors: true, // main prints them
	}
	root.SetFlagErrorFunc(exit.Flags)
	root.AddGroup(
		&cobra.Group{ID: fleetGroup, Title: "The fleet:"},
		&cobra.Group{ID: memberGroup, Title: "Its members:"},
		&cobra.Group{ID: machineGroup, Title: "On this computer:"},
	)
	f.AddFlags(root.PersistentFlags())
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(fleetGroup, get.NewCmd(f), describe.NewCmd(f), refresh.NewCmd(f))
	add(memberGroup, join.NewCmd(f), leave.NewCmd(f), label.NewCmd(f), kubectl.NewCmd(f))
	add(machineGroup, up.NewCmd(f), up.NewDownCmd(f), hub.NewCmd(f), local.NewCmd(f))
	exit.Groups(root)
	return root
}
