// Package cli is the umbel command: a folder per noun or verb, wired together here.
package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/cli/adopt"
	"umbel.dev/umbel/internal/cli/audit"
	"umbel.dev/umbel/internal/cli/backup"
	"umbel.dev/umbel/internal/cli/ca"
	"umbel.dev/umbel/internal/cli/capacity"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/cluster"
	"umbel.dev/umbel/internal/cli/consent"
	"umbel.dev/umbel/internal/cli/deletes"
	"umbel.dev/umbel/internal/cli/describe"
	"umbel.dev/umbel/internal/cli/drift"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/explain"
	"umbel.dev/umbel/internal/cli/get"
	"umbel.dev/umbel/internal/cli/hub"
	"umbel.dev/umbel/internal/cli/intake"
	"umbel.dev/umbel/internal/cli/join"
	"umbel.dev/umbel/internal/cli/kubeconfig"
	"umbel.dev/umbel/internal/cli/kubectl"
	"umbel.dev/umbel/internal/cli/label"
	"umbel.dev/umbel/internal/cli/leave"
	"umbel.dev/umbel/internal/cli/level"
	"umbel.dev/umbel/internal/cli/local"
	"umbel.dev/umbel/internal/cli/login"
	"umbel.dev/umbel/internal/cli/logs"
	"umbel.dev/umbel/internal/cli/plan"
	"umbel.dev/umbel/internal/cli/provider"
	"umbel.dev/umbel/internal/cli/refresh"
	"umbel.dev/umbel/internal/cli/restore"
	"umbel.dev/umbel/internal/cli/rollout"
	"umbel.dev/umbel/internal/cli/scope"
	"umbel.dev/umbel/internal/cli/secrets"
	"umbel.dev/umbel/internal/cli/status"
	"umbel.dev/umbel/internal/cli/taint"
	"umbel.dev/umbel/internal/cli/token"
	"umbel.dev/umbel/internal/cli/top"
	"umbel.dev/umbel/internal/cli/up"
	"umbel.dev/umbel/internal/cli/upgrade"
	"umbel.dev/umbel/internal/cli/whoami"
	"umbel.dev/umbel/internal/version"
)

// The groups of `umbel --help`.
const (
	fleetGroup   = "fleet"
	memberGroup  = "members"
	machineGroup = "machine"
	selfGroup    = "self"
)

// NewRoot returns the umbel command.
func NewRoot(f *client.Factory) *cobra.Command {
	root := &cobra.Command{
		Use:   "umbel",
		Short: "A control plane of Kubernetes control planes",
		Long: "A control plane of Kubernetes control planes: say once what every cluster should hold, and it does.\n\n" +
			"`umbel up` starts a whole fleet on this computer.\n\n" + client.Environment + "\n\n" + exit.Meaning,
		Example: "  # a fleet on this computer; then what it is, what is wrong in it, and why\n" +
			"  umbel up\n  umbel get clusters -o wide\n  umbel status\n  umbel describe package shop",
		Version:       version.Version,
		SilenceUsage:  true,
		SilenceErrors: true, // main prints them
	}
	root.SetFlagErrorFunc(exit.Flags)
	root.AddGroup(
		&cobra.Group{ID: fleetGroup, Title: "The fleet:"},
		&cobra.Group{ID: memberGroup, Title: "Its members:"},
		&cobra.Group{ID: machineGroup, Title: "On this computer:"},
		&cobra.Group{ID: selfGroup, Title: "You, and the command itself:"},
	)
	f.AddFlags(root.PersistentFlags())
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(fleetGroup, status.NewCmd(f), get.NewCmd(f), describe.NewCmd(f), explain.NewCmd(f), plan.NewCmd(f), refresh.NewCmd(f))
	add(memberGroup, cluster.NewCmd(f), join.NewCmd(f), intake.NewCmd(f), leave.NewCmd(f), level.NewCmd(f), label.NewCmd(f), taint.NewCmd(f), kubectl.NewCmd(f), kubeconfig.NewCmd(f))
	add(memberGroup, consent.NewCmds(f, deletes.NewApproveCmd(f))...)
	add(fleetGroup, deletes.NewUndoCmd(f))
	add(fleetGroup, rollout.NewCmd(f), audit.NewCmd(f), drift.NewCmd(f), secrets.NewCmd(f), top.NewCmd(f), capacity.NewCmd(f), logs.NewCmd(f))
	add(memberGroup, adopt.NewCmd(f))
	add(memberGroup, token.NewCmd(f), ca.NewCmd(f), scope.NewCmd(f), upgrade.NewCmd(f))
	add(machineGroup, up.NewCmd(f), up.NewDownCmd(f), hub.NewCmd(f), local.NewCmd(f), provider.NewCmd(f))
	add(machineGroup, backup.NewCmd(f), restore.NewCmd(f))
	add(selfGroup, versionCmd(f))
	add(selfGroup, login.NewCmd(f), login.NewLogoutCmd(f), whoami.NewCmd(f), login.NewCredentialCmd(f))
	helpCmd(root)
	completion(root)
	exit.Adopt(root)
	return root
}

// versionCmd is what --version is, for those who look for a verb.
func versionCmd(f *client.Factory) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which umbel this is", Example: "  umbel version",
		Args: exit.Takes(), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(f.Out, "umbel version %s\n", cmd.Root().Version)
			return err
		},
	}
}

// helpCmd adds cobra's command for help, which ends as every other does when there is no such command.
func helpCmd(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, err := root.Find([]string{"help"})
	if err != nil {
		panic(err) // it was added in the line before
	}
	help.Example = "  umbel help upgrade agents"
	help.Run = nil
	help.RunE = func(cmd *cobra.Command, args []string) error {
		about, rest, err := root.Find(args)
		if err != nil {
			return exit.Usage(err)
		}
		if err := exit.Unknown(about, rest); err != nil {
			return err
		}
		about.InitDefaultHelpFlag()
		return about.Help()
	}
}

// completion adds cobra's command for shells, with an example for each of them.
func completion(root *cobra.Command) {
	root.SetHelpCommandGroupID(selfGroup)
	root.SetCompletionCommandGroupID(selfGroup)
	root.InitDefaultCompletionCmd()
	examples := map[string]string{
		"bash": "source <(umbel completion bash)", "zsh": "source <(umbel completion zsh)",
		"fish": "umbel completion fish | source", "powershell": "umbel completion powershell | Out-String | Invoke-Expression",
	}
	for _, cmd := range root.Commands() {
		for _, shell := range cmd.Commands() {
			if example, ok := examples[shell.Name()]; ok && cmd.Name() == "completion" {
				shell.Example = "  # complete in this shell, until it ends\n  " + example
			}
		}
	}
}
