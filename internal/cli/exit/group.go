package exit

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Adopt makes cmd and every command below it end as this package says where cobra would not: a flag that is missing, or does not
// go with another one, is a misuse, and so is, for a command that only holds others, a word that is none of them. Without a word
// such a command prints help.
func Adopt(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		Adopt(sub)
	}
	if cmd.Runnable() {
		cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
			for _, check := range []func() error{cmd.ValidateRequiredFlags, cmd.ValidateFlagGroups} {
				if err := check(); err != nil {
					return Flags(cmd, err)
				}
			}
			return nil
		}
		return
	}
	if !cmd.HasSubCommands() {
		return
	}
	cmd.SuggestionsMinimumDistance = 2 // cobra sets it only where it looks for commands itself
	cmd.Args = Unknown
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// Unknown is the misuse of a word after a command that only holds others: it is none of them. Where a command takes
// arguments itself nothing is.
func Unknown(cmd *cobra.Command, args []string) error {
	return Args(func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 || !cmd.HasSubCommands() {
			return nil
		}
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return fmt.Errorf("there is no command %q, did you mean %s?", args[0], strings.Join(near, " or "))
		}
		return fmt.Errorf("there is no command %q", args[0])
	})(cmd, args)
}

// Execute runs the command line. Help for a command that there is not is a misuse, where cobra prints what there is and is
// content.
func Execute(ctx context.Context, root *cobra.Command) error {
	var wrong error
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if wrong = Unknown(cmd, cmd.Flags().Args()); wrong == nil {
			help(cmd, args)
		}
	})
	if err := root.ExecuteContext(ctx); err != nil {
		return err
	}
	return wrong
}
